"""What families with a state share: rebuilding from a configuration, stepping, tracing, deciding over a window."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from edgekit.models.settings import check_keys

State = dict[str, Tensor]


class Recurrent(nn.Module):
    """A family whose time step is `values(x, state)`; a window's scores are the sum, last or mean of its step outputs.

    `readouts` maps the values of config["readout"] to one of these three; `names` are the states, in order.
    """

    family: ClassVar[str]
    config_keys: ClassVar[tuple[str, ...]]
    required_keys: ClassVar[tuple[str, ...]]
    readouts: ClassVar[Mapping[str, str]] = {"last": "last", "mean": "mean"}

    config: dict[str, Any]
    io: dict[str, Any] | None
    names: tuple[str, ...]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Recurrent:
        """The module that `config` describes; a ModelError lists keys that are unknown, then those that are missing."""
        check_keys(f"{cls.family} config", config, cls.config_keys, required=cls.required_keys)
        return cls(**config)

    @abstractmethod
    def init_state(self, batch: int) -> State:
        """The state of `batch` independent samples after reset, each [batch, ...]."""

    @abstractmethod
    def values(self, x: Tensor, state: Mapping[str, Tensor]) -> State:
        """Everything of one step worth looking at: the next states, intermediate values and the output `y`."""

    def step(self, x: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, State]:
        """x [batch, inputs], state -> (y [batch, outputs], next state); pure."""
        values = self.values(x, state)
        return values["y"], {name: values[name] for name in self.names}

    def trace(self, x: Tensor) -> State:
        """Run `step` over x [batch, T, inputs] from reset: all `values` of every step, each [batch, T, ...]."""
        state, steps = self.init_state(len(x)), []
        for x_t in x.unbind(1):
            state = self.values(x_t, state)
            steps.append(state)
        return {name: torch.stack([values[name] for values in steps], 1) for name in steps[0]}

    @property
    def decision(self) -> str:
        """How the step outputs of a window become scores: their `sum`, `last` or `mean`."""
        return self.readouts[self.config["readout"]]

    def decide(self, ys: Tensor) -> Tensor:
        """The class of each window of step outputs ys [batch, T, outputs]: argmax of their sum, last or mean."""
        return torch.argmax(self.scores(ys), dim=-1)

    def scores(self, ys: Tensor) -> Tensor:
        """Step outputs [batch, T, outputs] -> scores of the window [batch, outputs]."""
        how = self.decision
        return ys[:, -1] if how == "last" else ys.sum(1) if how == "sum" else ys.mean(1)
