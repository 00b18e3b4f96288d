"""A PyTorch module as an original: its own step beside the graph's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgekit.frontends.batch import Axis, drawn, in_front, placed
from edgekit.frontends.discover import Discovered
from edgekit.frontends.lower import complex_parts
from edgekit.frontends.original import CHUNK, Streams
from edgekit.frontends.slots import clone, leaves

Array = npt.NDArray[Any]


class TorchOriginal:
    """A discovered module; `native` streams are the untouched module, others its step with the states as arguments."""

    def __init__(self, found: Discovered) -> None:
        self.found = found

    @property
    def thing(self) -> str:
        return self.found.subject.thing

    @property
    def batch(self) -> int:
        return self.found.native_batch

    @property
    def most(self) -> int:
        return 1 if self.found.axes.single else CHUNK

    def draw(self, batch: int, random: np.random.Generator) -> list[Array] | None:
        examples = self.found.subject.examples
        if all(x.is_floating_point() for x in examples):
            return None
        seeded = torch.Generator().manual_seed(int(random.integers(2**31)))
        axis = self.found.axes.inputs
        rows = (in_front(drawn(x, batch, axis, seeded), axis) for x in examples)
        return [row.numpy().astype(np.float32) for row in rows]

    def start(self, batch: int, *, native: bool = False) -> Streams:
        return _Native(self.found, batch) if native else _Torch(self.found, batch)


class _Torch:
    """Streams of the step with the states as arguments; arrays have the batch axis in front."""

    def __init__(self, found: Discovered, batch: int) -> None:
        self.found, self._batch = found, batch
        self._states: Sequence[Tensor] = found.initial_states(batch)

    def states(self) -> Mapping[str, Array]:
        rows = zip(self.found.states, self._states, self.found.axes.states, strict=True)
        named = [(name, self._of_each(state, axis)) for name, state, axis in rows]
        parts = [part for n, t in named for part in (complex_parts(n, t) if t.is_complex() else ((n, t),))]
        return {name: tensor.numpy().copy() for name, tensor in parts}

    def _of_each(self, state: Tensor, axis: Axis) -> Tensor:
        """A state [N, *shape]; one without a batch axis is that of every stream."""
        rows = in_front(state, axis)
        return rows.expand(self._batch, *rows.shape[1:]) if axis is None else rows

    def step(self, inputs: Sequence[Array]) -> list[Array]:
        examples, axis = self.found.subject.examples, self.found.axes.inputs
        arrays = (torch.from_numpy(np.array(x, np.float32, order="C")) for x in inputs)
        given = [placed(x, axis).to(example.dtype) for x, example in zip(arrays, examples, strict=True)]
        with torch.no_grad():
            outputs = self._run(tuple(given))
        return [in_front(y, a).numpy().copy() for y, a in zip(outputs, self.found.axes.outputs, strict=True)]

    def _run(self, inputs: tuple[Tensor, ...]) -> Sequence[Tensor]:
        outputs, self._states = self.found.step(inputs, tuple(self._states))
        return outputs  # type: ignore[no-any-return]


class _Native(_Torch):
    """Streams of the module that keeps its own state."""

    def __init__(self, found: Discovered, batch: int) -> None:
        super().__init__(found, batch)
        self._module, self._passed = clone(found.subject.module), found.given_for(batch)

    def _run(self, inputs: tuple[Tensor, ...]) -> Sequence[Tensor]:
        outputs, self._passed = self.found.step.form.call(self._module, inputs, self._passed)
        held = [slot.tensor(self._module).detach().clone() for slot in self.found.step.slots]
        self._states = [*held, *(t for _, t in leaves(self._passed))]
        return [t for _, t in leaves(outputs)]
