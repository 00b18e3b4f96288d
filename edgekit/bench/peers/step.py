"""The step of a case as exporters take it: (x, *states) -> (y, *next states), batch 1."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from edgekit.bench.cases import Case
from edgekit.bench.stimuli import Array


@cache
def _step_class() -> Any:
    import torch

    class Step(torch.nn.Module):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Any, *states: Any) -> Any:
            y, following = self.model.step(x, dict(zip(self.model.names, states, strict=True)))
            return (y, *(following[name] for name in self.model.names))

    return Step


def step_module(case: Case) -> Any:
    """The step as a torch module without a state of its own, in eval mode."""
    return _step_class()(case.module).eval()


def example(case: Case) -> tuple[Any, ...]:
    """Tensors to export with: a first input and the states after a reset."""
    import torch

    return (torch.from_numpy(case.stimulus[:1].copy()), *case.module.init_state(1).values())


def initial(case: Case) -> list[Array]:
    """The states after a reset, in the order of the module's names."""
    return [value.detach().numpy().copy() for value in case.module.init_state(1).values()]


def calibration(case: Case) -> Iterator[list[Array]]:
    """What the step is fed over the calibration windows: x [1, features] and the states of the float model."""
    import torch

    module = step_module(case)
    with torch.inference_mode():
        for window in case.calibrated_on:
            states = list(case.module.init_state(1).values())
            for x in np.asarray(window, np.float32)[:, None]:
                yield [x, *(state.numpy().copy() for state in states)]
                _, *states = module(torch.from_numpy(x), *states)
