"""Steps at a rate, as a sensor asks for them, with real sleeps in between: caches and clocks go cold, and it counts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgekit.profile.grades import MEASURED
from edgekit.profile.spread import Histogram, Spread
from edgekit.profile.stimulus import Array


@dataclass(frozen=True)
class Paced:
    """What became of `deadlines` at `rate_hz`: `late` is how long after its deadline a step was started, `step` how
    long it took, both in µs.

    `misses` are steps that ended after the next deadline, and those that were never started because the ones before
    took all the time. `preempted` is how often the system took the processor away, sleeps aside.
    """

    rate_hz: float
    how: str
    deadlines: int
    steps: int
    misses: int
    late: Spread
    step: Spread
    histogram: Histogram
    preempted: int | None = None
    grade: str = MEASURED

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def paced_of(
    rate_hz: float, how: str, deadlines: int, late_ns: Array, step_ns: Array, *, preempted: int | None = None
) -> Paced:
    """What some steps at a rate, at least one, say; `late_ns` and `step_ns` have an entry for each."""
    period_ns = 1e9 / rate_hz
    late, step = np.asarray(late_ns, np.float64), np.asarray(step_ns, np.float64)
    missed = int(np.count_nonzero(late + step > period_ns)) + deadlines - len(step)
    histogram = Histogram.counted(step / 1e3, np.ones(len(step), np.int64))
    return Paced(
        rate_hz, how, deadlines, len(step), missed, Spread.of(late / 1e3), Spread.of(step / 1e3), histogram, preempted
    )
