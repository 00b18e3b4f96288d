"""torch.nn.RNN, LSTM and GRU as one time step: layers of a sequence module, run over a sequence of length one."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from edgekit.errors import UnsupportedError, UsageError


class Recurrent(nn.Module):
    """One step of a recurrent layer: x [N, features] -> (y, h) or (y, h, c), states [layers, N, hidden]."""

    def __init__(self, layers: nn.RNNBase) -> None:
        super().__init__()
        self.layers = layers

    @classmethod
    def of(cls, module: nn.RNNBase, args: tuple[Any, ...]) -> tuple[nn.Module, tuple[Any, ...]]:
        """The step of a layer and its arguments, from an example [N, features] or a sequence of length one.

        UnsupportedError for a layer that also runs backwards, UsageError for a longer sequence.
        """
        thing = f"module {type(module).__name__}"
        if module.bidirectional:
            raise UnsupportedError(
                thing, "runs backwards too, from the end of the sequence", "a stream has no end: use one direction"
            )
        x, *state = args
        if x.ndim == 3:
            axis = 1 if module.batch_first else 0
            if x.shape[axis] != 1:
                raise UsageError(
                    f"{thing}, example input",
                    f"is a sequence of {x.shape[axis]} steps",
                    "give the input of one time step, [batch, features]",
                )
            x = x.squeeze(axis)
        flat = [t for part in state for t in (part if isinstance(part, (tuple, list)) else (part,))]
        return cls(module), (x, *flat)

    def forward(self, x: Tensor, h: Tensor | None = None, c: Tensor | None = None) -> tuple[Tensor, ...]:
        """One step; states that are left out are zero."""
        axis = 1 if self.layers.batch_first else 0
        given = None if h is None else h if c is None else (h, c)
        y, state = self.layers(x.unsqueeze(axis), given)
        return (y.squeeze(axis), *(state if isinstance(state, tuple) else (state,)))
