"""Clocking the subjects in turns, A B C A B C …, so that a drift of the machine hits all of them alike.

Times are those of the wall clock. A turn in which the system gave the processor to somebody else is taken again.
"""

from __future__ import annotations

import resource
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter_ns

import numpy as np
import numpy.typing as npt

from edgekit.bench.subject import Timed

WARM_STEPS = 8  # untimed, at the start of a turn: the subject before has filled the caches
MAX_TRIES = 4  # of a turn; the last one counts even if it was interrupted
_FIRST_STEPS = 16


@dataclass(frozen=True)
class Schedule:
    """How many rounds, and how long a subject's turn lasts in each, seconds; many short ones, which often pass
    uninterrupted on a busy computer, and of which a median ignores the others.
    """

    rounds: int
    turn_s: float


FULL, QUICK = Schedule(rounds=500, turn_s=0.001), Schedule(rounds=100, turn_s=0.001)


@dataclass(frozen=True)
class Spread:
    """Median, 10th and 90th percentile over the rounds."""

    median: float
    p10: float
    p90: float

    @classmethod
    def of(cls, values: npt.ArrayLike) -> Spread:
        median, p10, p90 = np.percentile(np.asarray(values, np.float64), (50, 10, 90))
        return cls(float(median), float(p10), float(p90))


def time_in_turns(subjects: Sequence[Timed], schedule: Schedule) -> npt.NDArray[np.float64]:
    """Microseconds per step [rounds, subjects]; every round starts with another subject."""
    steps = [_steps_for(subject, schedule.turn_s) for subject in subjects]
    micros = np.empty((schedule.rounds, len(subjects)))
    for turn in range(schedule.rounds):
        for offset in range(len(subjects)):
            at = (turn + offset) % len(subjects)
            micros[turn, at] = _turn_ns(subjects[at], steps[at]) / steps[at] / 1e3
    return micros


def _steps_for(subject: Timed, seconds: float) -> int:
    """How many steps take about so long."""
    steps = _FIRST_STEPS
    while (spent := _clock_ns(subject, steps)) < seconds / 8 * 1e9:
        steps *= 2
    return max(1, round(steps * seconds * 1e9 / spent))


def _turn_ns(subject: Timed, steps: int) -> int:
    for _ in range(MAX_TRIES):
        subject.spin(WARM_STEPS)
        before = _interruptions()
        spent = _clock_ns(subject, steps)
        if _interruptions() == before:
            break
    return spent


def _interruptions() -> int:
    """How often the system has taken the processor away from this thread."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


def _clock_ns(subject: Timed, steps: int) -> int:
    start = perf_counter_ns()
    subject.spin(steps)
    return perf_counter_ns() - start
