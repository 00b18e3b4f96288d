"""States that grow without end: after enough steps they overflow, and outputs are then NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgekit.ir.dtypes import FLOAT32
from edgekit.ir.graph import Graph
from edgekit.reference.interpreter import Interpreter

STEPS = 256
STREAMS = 2
START = 1e6  # so large that what saturates or is bounded no longer counts
LARGEST = 1e150  # of a float64 state, where the run stops
DOUBLED = 2.0  # how much a state must have grown in half of the run: a bounded memory does not, nor does an integrator


@dataclass(frozen=True)
class Growth:
    """A state that grows by `factor` a step when it is left alone; from 1, float32 overflows after `steps` steps."""

    state: str
    factor: float

    @property
    def steps(self) -> int:
        return math.ceil(math.log(np.finfo(np.float32).max) / math.log(self.factor))

    def __str__(self) -> str:
        return (
            f"state {self.state!r} is unstable: left alone it grows by a factor of {self.factor:.4g} a step, so that "
            f"after about {self.steps} steps without a reset it overflows and outputs become NaN"
        )


def growing_states(graph: Graph) -> list[Growth]:
    """Float states that grow without end although every input is zero.

    The step runs in float64 from large random states, so that only what is linear at that size is seen: x' = A x with a
    spectral radius above 1 grows, tanh and spikes do not. A growth below about half a percent a step is not found.
    """
    step = graph.entries["step"]
    watched = [s for s in graph.states if s.tensor in step.updates and graph.tensors[s.tensor].dtype is FLOAT32]
    watched = [s for s in watched if s.reset == "reset"]
    interpreter, rng = Interpreter(graph, np.float64), np.random.default_rng(0)
    state = interpreter.initial_state(STREAMS)
    state |= {s.tensor: rng.normal(scale=START, size=state[s.tensor].shape) for s in watched}
    silence = {n: np.zeros((STREAMS, *graph.tensors[n].shape), np.float32) for n in step.inputs}
    sizes: dict[str, list[float]] = {s.tensor: [] for s in watched}
    for _ in range(STEPS if watched else 0):
        _, state = interpreter.execute(silence, state)
        for name, found in sizes.items():
            found.append(float(np.abs(state[name]).max(initial=0.0)))
        if not all(found[-1] <= LARGEST for found in sizes.values()):
            break
    return _growths(sizes)


def _growths(sizes: Mapping[str, list[float]]) -> list[Growth]:
    """Whoever is much larger in the last quarter of the run than in the second."""
    growths = []
    for name, found in sizes.items():
        steps = len(found)
        early, late = max(found[steps // 4 : steps // 2], default=0.0), max(found[-max(1, steps // 4) :])
        if early > 0 and late > DOUBLED * early and math.isfinite(late):
            growths.append(Growth(name, (late / early) ** (2 / steps)))
    return growths
