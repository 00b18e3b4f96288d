"""What is timed: anything that can replay a stimulus from reset and go round it without being watched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Protocol

import numpy as np

from edgekit.bench.cases import Case
from edgekit.bench.stimuli import Array
from edgekit.errors import ReplayError

TOLERANCE = 1e-4  # relative to the larger of 1 and the expected value; spikes are 0 and 1, so any flip exceeds it
MIN_EQUAL_STEPS = 32


class Timed(Protocol):
    """What takes a turn."""

    @property
    def name(self) -> str:
        """What the tables call it."""

    def spin(self, steps: int) -> None:
        """Run `steps` steps, from whatever the state is; this is what the clock sees."""


class Subject(Timed, Protocol):
    """One way to run a model: batch 1, one thread, one step per call round the stimulus, states carried."""

    @property
    def detail(self) -> str:
        """What executes, with its version."""

    def replay(self) -> Array:
        """Step outputs [T, outputs] over the stimulus from reset."""


@dataclass(frozen=True)
class PythonSubject:
    """A subject whose user calls it from Python: `rows` are the inputs in its own form, of which `spin` goes round the
    first `ring`; `step` carries the states.
    """

    name: str
    detail: str
    rows: Sequence[Any]
    ring: int
    reset: Callable[[], None]
    step: Callable[[Any], Any]

    def replay(self) -> Array:
        self.reset()
        return np.stack([np.asarray(self.step(row), np.float32).flatten() for row in self.rows])

    def spin(self, steps: int) -> None:
        step = self.step
        for row in islice(cycle(self.rows[: self.ring]), steps):
            step(row)


def compare(name: str, got: Array, case: Case) -> int:
    """How many of the case's steps from reset the outputs `got` equal the expected ones.

    A spiking net may part from its oracle where a membrane meets its threshold within rounding, and nothing after that
    can be compared; ReplayError when that happens in the first MIN_EQUAL_STEPS steps, since then it is another model.
    """
    error = np.abs(got - case.expected) / np.maximum(1.0, np.abs(case.expected))
    wrong = np.flatnonzero(~(error.max(axis=1) <= TOLERANCE))  # a NaN is wrong too
    equal = int(wrong[0]) if wrong.size else len(case.expected)
    if equal < MIN_EQUAL_STEPS:
        raise ReplayError(
            f"{name} on {case.name}",
            f"differs from {case.oracle} by {error[equal].max():.3g} at step {equal}",
            "it is not measured, because it computes something else",
        )
    return equal
