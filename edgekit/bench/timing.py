"""Clocking the subjects in turns, A B C A B C …, so that a drift of the machine hits all of them alike.

Times are those of the wall clock. A turn in which the system gave the processor to somebody else is taken again.
"""

from __future__ import annotations

import time
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.bench.subject import Timed
from edgekit.errors import EdgekitError

MAX_TRIES = 4  # of a turn; the last one counts even if it was interrupted
_FIRST_STEPS = 16
_MOST_STEPS = 2**30


@dataclass(frozen=True)
class Schedule:
    """How many rounds, and how long a subject's turn lasts in each, seconds; many short ones, which often pass
    uninterrupted on a busy computer, and of which a median ignores the others. `rest_s` passes between two turns:
    threads of a subject that go on looking for work are then asleep.
    """

    rounds: int
    turn_s: float
    rest_s: float = 0.0


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


def time_in_turns(
    subjects: Sequence[Timed], schedule: Schedule, faults: MutableMapping[str, str] | None = None
) -> npt.NDArray[np.float64]:
    """Microseconds per step [rounds, subjects]; every round starts with another subject.

    A subject that fails is left out from then on: its times are NaN and its reason is in `faults`, by name. Without
    `faults` its error is raised.
    """
    failed: MutableMapping[str, str] = {} if faults is None else faults
    micros = np.full((schedule.rounds, len(subjects)), np.nan)
    steps = [0] * len(subjects)

    def attempt(at: int, turn: int | None) -> None:
        subject = subjects[at]
        if subject.name in failed:
            return
        try:
            if turn is None:
                steps[at] = _steps_for(subject, schedule.turn_s)
            else:
                micros[turn, at] = _turn_ns(subject, steps[at]) / steps[at] / 1e3
        except EdgekitError as error:
            if faults is None:
                raise
            faults[subject.name] = str(error)
            micros[:, at] = np.nan
        if schedule.rest_s:
            time.sleep(schedule.rest_s)

    for at in range(len(subjects)):
        attempt(at, None)
    for turn in range(schedule.rounds):
        for offset in range(len(subjects)):
            attempt((turn + offset) % len(subjects), turn)
    return micros


def _steps_for(subject: Timed, seconds: float) -> int:
    """How many steps take about so long."""
    steps = _FIRST_STEPS
    while (spent := subject.turn(steps).nanoseconds) < seconds / 8 * 1e9 and steps < _MOST_STEPS:
        steps *= 2
    return max(1, round(steps * seconds * 1e9 / max(1, spent)))


def _turn_ns(subject: Timed, steps: int) -> int:
    for _ in range(MAX_TRIES):
        turn = subject.turn(steps)
        if not turn.interrupted:
            break
    return turn.nanoseconds
