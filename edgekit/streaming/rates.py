"""At what rate samples come, read off their times."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median

FITS = 0.05  # of a rate, within which samples are taken as they come
CHANGED = 0.10  # of a rate, beyond which it has become another one
FIRST = 17  # samples that say it first
WATCHED = 33
EVERY = 16


def _near(intervals: Sequence[float], period: float, tolerance: float) -> bool:
    """Whether intervals are those of a period: their median, which losses leave alone, or their mean, which jitter
    leaves alone.
    """
    return any(abs(found(intervals) / period - 1) <= tolerance for found in (median, fmean))


def source_period(times: Sequence[float], period: float) -> float:
    """The period of samples at these growing times, in s: the program's own where they fit it."""
    intervals = [after - before for before, after in pairwise(times)]
    if not intervals or _near(intervals, period, FITS):
        return period
    return median(intervals)


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
        if _near([after - before for before, after in pairwise(times)], period, CHANGED):
            return None
        return times
