"""What is timed: anything that can run windows from reset and go round a stimulus without being watched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Protocol

import numpy as np

from edgekit.bench.cases import Case
from edgekit.bench.clock import Turn, clock
from edgekit.bench.stimuli import Array
from edgekit.errors import ReplayError

TOLERANCE = 1e-4  # relative to the larger of 1 and the expected value; spikes are 0 and 1, so any flip exceeds it
MIN_EQUAL_STEPS = 32


class Timed(Protocol):
    """What takes a turn."""

    @property
    def name(self) -> str:
        """What the tables call it."""

    def turn(self, steps: int) -> Turn:
        """Run `steps` steps by the clock, from whatever the state is, after some unwatched."""


class Subject(Timed, Protocol):
    """One way to run a model: batch 1, one step per call round the stimulus, states carried."""

    @property
    def detail(self) -> str:
        """What executes, with its version."""

    def run(self, windows: Array) -> Array:
        """Step outputs [N, T, outputs] of windows [N, T, features], each from reset."""


@dataclass(frozen=True)
class PythonSubject:
    """A subject whose user calls it from Python: `prepare` puts an input [features] into its own form, outside the
    clock; `step` carries the states and gives the output. Turns go round the first rows of the case's stimulus.
    """

    name: str
    detail: str
    case: Case
    prepare: Callable[[Array], Any]
    reset: Callable[[], None]
    step: Callable[[Any], Any]

    def run(self, windows: Array) -> Array:
        return np.stack([self._window(window) for window in windows])

    def _window(self, window: Array) -> Array:
        self.reset()
        steps = [np.array(self.step(self.prepare(row)), np.float32).flatten() for row in window]
        return np.stack(steps)

    def turn(self, steps: int) -> Turn:
        rows = [self.prepare(row) for row in self.case.stimulus[: self.case.ring]]
        step = self.step

        def spin(count: int) -> None:
            for row in islice(cycle(rows), count):
                step(row)

        return clock(spin, steps)


def compare(name: str, got: Array, case: Case) -> int:
    """How many of the case's steps from reset the outputs `got` equal the expected ones.

    A spiking net may part from its oracle where a membrane meets its threshold within rounding, and nothing after that
    can be compared; ReplayError when that happens in the first MIN_EQUAL_STEPS steps, since then it is another model.
    """
    equal = equal_steps(got, case)
    if equal < min(MIN_EQUAL_STEPS, len(case.expected)):
        error = _errors(got, case)[equal]
        raise ReplayError(
            f"{name} on {case.name}",
            f"differs from {case.oracle} by {error.max():.3g} at step {equal}",
            "it is not measured, because it computes something else",
        )
    return equal


def equal_steps(got: Array, case: Case) -> int:
    """How many steps from reset are within TOLERANCE of the expected outputs."""
    wrong = np.flatnonzero(~(_errors(got, case).max(axis=1) <= TOLERANCE))  # a NaN is wrong too
    return int(wrong[0]) if wrong.size else len(case.expected)


def _errors(got: Array, case: Case) -> Array:
    return np.asarray(np.abs(got - case.expected) / np.maximum(1.0, np.abs(case.expected)))
