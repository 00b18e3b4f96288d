"""A time for every sample, and its place in the order: duplicates and late ones stay out."""

from __future__ import annotations

import math

from edgekit.errors import UsageError
from edgekit.streaming.counters import Counters
from edgekit.streaming.events import RESTART, Event
from edgekit.streaming.sample import Sample

ENOUGH = 5  # samples in a row of the other kind, with times or without, after which those before were strays


class Clock:
    """Times that only grow. The first sample says whether samples carry times; without, they are counted at `rate`.

    Without a rate either, the time of a sample is its number. ENOUGH samples in a row of the other kind say it anew.
    """

    def __init__(self, rate: float | None, longest: float, counters: Counters) -> None:
        self._rate, self._longest, self._counters = rate, longest, counters
        self.timed: bool | None = None  # whether samples carry times; None before the first one
        self._number, self._others = -1, 0
        self._last = -math.inf

    def shown(self, time: float) -> float | None:
        """A time for people: None where it is only a number of a sample."""
        return time if self.timed or self._rate is not None else None

    def place(self, sample: Sample) -> tuple[float | None, Event | None]:
        """The time of a sample, None when it is left out; and an event when the clock went back."""
        if self.timed is None:
            self._settle(timed=sample.time is not None)
        time = sample.time
        if time is not None and not math.isfinite(time):
            self._counters.malformed += 1
            return None, None
        if self.timed != (time is not None):
            return self._other(time)
        self._others = 0
        if time is None:
            return self._counted(), None
        if time > self._last:
            self._last = time
            return time, None
        if time == self._last:
            self._counters.duplicates += 1
            return None, None
        back = self._last - time
        if back <= self._longest:
            self._counters.late += 1
            return None, None
        self._counters.restarts += 1
        self._last = time
        return time, Event(RESTART, time, f"the samples' clock went back by {back:.3g} s: it started anew")

    def _settle(self, *, timed: bool) -> None:
        if timed and self._rate is None:
            cause = "the samples carry times, and the program does not say at what rate it steps"
            raise UsageError("stream", cause, "give --rate")
        self.timed = timed

    def _counted(self) -> float:
        self._number += 1
        return self._number / (self._rate or 1.0)

    def _other(self, time: float | None) -> tuple[float | None, Event | None]:
        """A sample with a time among those without, or without among those with one: left out, until there were ENOUGH
        of them in a row.
        """
        self._others += 1
        if self._others < ENOUGH:
            self._counters.malformed += 1
            return None, None
        self._settle(timed=time is not None)
        self._counters.restarts += 1
        self._others = 0
        if time is None:
            self._number = -1
            time, text = self._counted(), "samples carry no times now, which the first did"
        else:
            self._last, text = time, "samples carry times now, which the first did not"
        return time, Event(RESTART, time, f"{text}: the stream started anew")
