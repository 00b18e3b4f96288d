"""From samples to steps, in three ways: as they come, interpolated between slower ones, averaged over faster ones."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from edgekit.streaming.counters import Counters
from edgekit.streaming.rates import Pace
from edgekit.streaming.sample import Floats, Tick

PHASE_GAIN, PERIOD_GAIN = 0.1, 0.005  # of an alpha-beta tracker
DRIFT = 0.1  # of a period, the most that a source's clock is taken to be wrong
NOISE = 1e-6  # of a period: what floating point makes of equal times


class Follower(Protocol):
    """Makes steps of samples whose times grow; what follows a gap is a follower of its own."""

    def add(self, time: float, values: Floats) -> list[Tick]:
        """Take a sample and give the steps that it completes."""


class AsTheyCome:
    """Every sample is a step, its values untouched. A tracker predicts when the next is due, and so tells jitter from
    a lost sample, which is interpolated, and from a second one of the same step, which is left out.
    """

    def __init__(self, period: float, pace: Pace | None, counters: Counters) -> None:
        self._nominal, self._counters = period, counters
        self._period = pace.measured if pace else period
        self._due = pace.due if pace else None  # when the last step was due, by the tracker; before any, the first
        self._last: Floats | None = None

    def add(self, time: float, values: Floats) -> list[Tick]:
        """Take a sample and give the steps that it completes."""
        if self._last is None or self._due is None:
            self._due, self._last = time if self._due is None else self._due, values
            return [Tick(time, values)]
        count = math.floor((time - self._due) / self._period + 0.5)
        if count < 1:
            self._counters.extra += 1
            return []
        ticks = []
        for lost in range(1, count):
            share = lost / count
            ticks.append(Tick(self._due + lost * self._period, (1 - share) * self._last + share * values))
        self._counters.filled += count - 1
        wrong = time - (self._due + count * self._period)
        self._due = time - (1 - PHASE_GAIN) * wrong
        lowest, highest = (1 - DRIFT) * self._nominal, (1 + DRIFT) * self._nominal
        self._period = min(max(self._period + PERIOD_GAIN * wrong / count, lowest), highest)
        self._last = values
        ticks.append(Tick(time, values))
        return ticks


class Interpolated:
    """Steps on a line between the two samples around them: for samples that come more slowly than the program steps."""

    def __init__(self, period: float, source_period: float, counters: Counters) -> None:
        self._period, self._source, self._counters = period, source_period, counters
        self._origin: float | None = None
        self._number = 0
        self._time, self._last = 0.0, np.zeros(0)

    def add(self, time: float, values: Floats) -> list[Tick]:
        """Take a sample and give the steps that it completes."""
        ticks: list[Tick] = []
        if self._origin is None:
            self._origin, self._time, self._last = time, time, values
        self._counters.filled += _lost(time - self._time, self._source)
        while (due := self._origin + self._number * self._period) <= time + NOISE * self._period:
            span = time - self._time
            share = min((due - self._time) / span, 1.0) if span else 1.0
            ticks.append(Tick(due, values if share == 1.0 else (1 - share) * self._last + share * values))
            self._number += 1
        self._time, self._last = time, values
        return ticks


class Averaged:
    """The mean over each period around a step, of the line through the samples: for samples that come faster.

    The mean keeps what is faster than the program's rate from appearing as something slower.
    """

    def __init__(self, period: float, source_period: float, counters: Counters) -> None:
        self._period, self._source, self._counters = period, source_period, counters
        self._origin: float | None = None
        self._number = 0
        self._time, self._last = 0.0, np.zeros(0)
        self._sum: Floats = np.zeros(0)

    def add(self, time: float, values: Floats) -> list[Tick]:
        """Take a sample and give the steps that it completes."""
        if self._origin is None:
            self._origin, self._time, self._last, self._sum = time, time, values, np.zeros_like(values)
            return []
        self._counters.filled += _lost(time - self._time, self._source)
        ticks = []
        began, before, span = self._time, self._last, time - self._time
        while (end := self._origin + (self._number + 1) * self._period) <= time + NOISE * self._period:
            share = min((end - began) / span, 1.0)
            at = values if share == 1.0 else (1 - share) * before + share * values
            total = self._sum + (end - self._time) * (self._last + at) / 2
            ticks.append(Tick(end - self._period / 2, total / self._period))
            self._sum, self._time, self._last = np.zeros_like(values), end, at
            self._number += 1
        rest = time - self._time
        if rest > 0:
            self._sum = self._sum + rest * (self._last + values) / 2
        self._time, self._last = max(time, self._time), values
        return ticks


def _lost(span: float, source_period: float) -> int:
    """How many samples are missing between two that are so far apart."""
    return max(0, math.floor(span / source_period + 0.5) - 1)


def follower(period: float, source_period: float, pace: Pace | None, counters: Counters) -> Follower:
    """The follower for samples of one period and a program of another, in s; `pace` is theirs where it was measured."""
    if source_period == period:
        return AsTheyCome(period, pace, counters)
    if source_period > period:
        return Interpolated(period, source_period, counters)
    return Averaged(period, source_period, counters)
