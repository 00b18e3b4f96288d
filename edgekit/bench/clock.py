"""The clock of a turn: it is read in the process that runs the steps, so that no pipe and no other Python is in it."""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter_ns

WARM_STEPS = 8  # untimed, at least: the subject before has filled the caches, often from another process
WARM_SHARE = 4  # and at least one step for so many timed ones


@dataclass(frozen=True)
class Turn:
    """How long the steps of one turn took, and whether the system gave the processor to somebody else meanwhile."""

    nanoseconds: int
    interrupted: bool


def clock(spin: Callable[[int], None], steps: int) -> Turn:
    """Run some steps unwatched, then `steps` steps by the wall clock."""
    spin(max(WARM_STEPS, steps // WARM_SHARE))
    interruptions = _interruptions()
    start = perf_counter_ns()
    spin(steps)
    spent = perf_counter_ns() - start
    return Turn(spent, _interruptions() != interruptions)


def _interruptions() -> int:
    """How often the system has taken the processor away from this thread."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw
