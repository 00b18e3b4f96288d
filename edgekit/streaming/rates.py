"""At what rate samples come, read off their times."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

FITS = 0.05  # of a rate, within which samples are taken as they come
CHANGED = 0.10  # of a rate, beyond which it has become another one
FIRST = 21  # samples that say it first
WATCHED = 33
EVERY = 16
LOST = 1.8  # periods between two samples, of which jitter alone makes less


@dataclass(frozen=True)
class Pace:
    """At what `period`, in s, samples are taken to come: the program's own, exactly, where they fit it. `measured` is
    that of their own clock, and `due` when the first of them should have come, jitter aside.
    """

    period: float
    measured: float
    due: float


def _slope(times: Sequence[float]) -> float:
    """The period by least squares, which jitter moves least."""
    numbers = np.arange(len(times)) - (len(times) - 1) / 2
    return float(numbers @ (np.asarray(times, np.float64) - times[0]) / (numbers @ numbers))


def _median(times: Sequence[float]) -> float:
    """The middle one of the intervals, which losses move least."""
    return float(median(np.diff(times).tolist()))


def _near(times: Sequence[float], period: float, tolerance: float) -> bool:
    return any(abs(found(times) / period - 1) <= tolerance for found in (_slope, _median))


def pace_of(times: Sequence[float], period: float) -> Pace:
    """The pace of samples at these growing times, for a program of a period, in s."""
    if len(times) < 3:
        return Pace(period, period, times[0])
    if not _near(times, period, FITS):
        found = _median(times)
        return Pace(found, found, times[0])
    slope = _slope(times)
    if abs(slope / period - 1) > FITS or float(np.diff(times).max()) > LOST * period:
        return Pace(period, period, times[0])
    late = np.asarray(times, np.float64) - times[0] - slope * np.arange(len(times))
    return Pace(period, slope, times[0] + float(late.max() + late.min()) / 2)  # the least that the worst is off by


class RateWatch:
    """Notices when samples have come at another rate for a while."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=WATCHED)
        self._since = 0

    def forget(self) -> None:
        """Start again."""
        self._times.clear()
        self._since = 0

    def changed(self, time: float, period: float) -> list[float] | None:
        """The last times when they are no longer of this period, None while they are."""
        self._times.append(time)
        self._since += 1
        if self._since < EVERY or len(self._times) < WATCHED:
            return None
        self._since = 0
        times = list(self._times)
        return None if _near(times, period, CHANGED) else times
