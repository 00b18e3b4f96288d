"""Readings over time as numbers, and what is wrong with them: a sensor that is stuck, gone, or goes backwards."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edgekit.profile.power.sensors import JOULES, Sensor, Source

Array: TypeAlias = npt.NDArray[np.float64]

GONE = (errno.ENOENT, errno.ENODEV, errno.ENXIO)
LEAST_READINGS = 3
LEAST_REPEATED = 20  # identical readings in a row below which nothing is said
REPEATED_SHARE = 0.25  # of the run, in which a reading may not stay the same
LOST_SHARE = 0.05  # of the readings that may fail, one here and one there
GAP_SHARE = 0.1  # of the run that may be without a reading
UNLIKELY = 20.0  # times the greatest power seen otherwise: a counter that was set back, not one that began again
MOST_WATTS = 2000.0  # of one processor package, where nothing else was seen


@dataclass(frozen=True)
class Sample:
    """One reading: when, in seconds of CLOCK_MONOTONIC, the texts, or why there are none."""

    seconds: float
    contents: tuple[str, ...] = ()
    fault: OSError | None = None


@dataclass(frozen=True)
class Lost:
    """A reading that failed, or that means nothing; `is_gone` when the sensor was not there at all."""

    seconds: float
    why: str
    is_gone: bool = False


@dataclass(frozen=True)
class Trace:
    """Readings of a sensor: `t` in seconds, `values` by time and rail, W or J; those of counters as they were read.

    `asked_hz` is the rate that was wanted, None of a file.
    """

    sensor: Source
    t: Array
    values: Array
    lost: tuple[Lost, ...] = ()
    asked_hz: float | None = None

    @cached_property
    def counted(self) -> Array:
        """Which rails make the total."""
        return np.array([rail.counted for rail in self.sensor.rails])

    @cached_property
    def is_counter(self) -> bool:
        """Whether the readings are of energy."""
        return self.sensor.unit == JOULES

    @cached_property
    def is_usable(self) -> bool:
        """Whether there are readings enough, in the order of time, to make numbers of."""
        return len(self.t) >= LEAST_READINGS and bool(np.all(np.diff(self.t) > 0))

    @cached_property
    def steps_back(self) -> tuple[float, ...]:
        """When a counter fell without having begun again."""
        if not self.is_counter or not self.is_usable:
            return ()
        raw, dt = np.diff(self.values, axis=0), np.diff(self.t)[:, None]
        forward = raw >= 0
        usual = np.max(np.where(forward, raw / dt, 0), axis=0)
        limit = np.where(usual > 0, UNLIKELY * usual, MOST_WATTS)
        wrapped = (raw + self._ranges) / dt
        bad = ~forward & (wrapped > limit)
        return tuple(self.t[1:][bad.any(axis=1)].tolist())

    @cached_property
    def _ranges(self) -> Array:
        return np.array([rail.wraps or 0.0 for rail in self.sensor.rails])

    @cached_property
    def joules(self) -> Array:
        """Energy of each rail since the first reading, by time and rail, J."""
        zero = np.zeros((1, self.values.shape[1]))
        if self.is_counter:
            raw = np.diff(self.values, axis=0)
            each = np.where(raw < 0, raw + self._ranges, raw)
        else:
            each = (self.values[1:] + self.values[:-1]) / 2 * np.diff(self.t)[:, None]
        return np.concatenate([zero, np.cumsum(each, axis=0)])

    @cached_property
    def watts(self) -> Array:
        """Power of the total at each reading: of a counter the mean since the reading before."""
        if not self.is_counter:
            return np.asarray(self.values[:, self.counted].sum(axis=1))
        total = self.joules[:, self.counted].sum(axis=1)
        each = np.diff(total) / np.diff(self.t)
        return np.concatenate([each[:1], each])

    def energy(self, at: Array) -> Array:
        """Energy of each rail from the first reading to the times `at`, J, by time and rail.

        Power is a straight line between two readings, and so is the reading of a counter.
        """
        i = np.clip(np.searchsorted(self.t, at, side="right") - 1, 0, len(self.t) - 2)
        after = (at - self.t[i])[:, None]
        whole = (self.t[i + 1] - self.t[i])[:, None]
        if self.is_counter:
            return np.asarray(self.joules[i] + (self.joules[i + 1] - self.joules[i]) * after / whole)
        slope = (self.values[i + 1] - self.values[i]) / whole
        return np.asarray(self.joules[i] + self.values[i] * after + slope * after**2 / 2)

    @cached_property
    def period(self) -> float:
        """Median time from one reading to the next, s."""
        return float(np.median(np.diff(self.t)))

    @cached_property
    def update(self) -> float:
        """Time in which a reading is renewed, s: the sensor's own, that of reading it, or that which the data shows."""
        changes = np.flatnonzero(np.any(np.diff(self.values, axis=0) != 0, axis=1)) + 1
        shown = float(np.median(np.diff(self.t[changes]))) if len(changes) > 2 else 0.0
        return max(self.period, self.sensor.update_s or 0.0, shown)

    @cached_property
    def step(self) -> float:
        """Least difference that tells two totals apart, W or J: as documented, else the least that was seen."""
        if self.sensor.step is not None:
            return self.sensor.step
        total = self.values[:, self.counted].sum(axis=1)
        differences = np.abs(np.diff(total))
        differences = differences[differences > 1e-12]
        return float(differences.min()) if len(differences) else 0.0

    def faults(self, start: float, end: float) -> list[str]:
        """What is wrong between two times, so that no number may be made of the readings; empty where nothing is."""
        inside = (self.t >= start) & (self.t <= end)
        t, values = self.t[inside], self.values[inside]
        lost = [one for one in self.lost if start <= one.seconds <= end]
        gone = [one for one in lost if one.is_gone]
        found = []
        if gone:
            found.append(
                f"the sensor disappeared {gone[0].seconds - start:.2f} s after the first window began: {gone[0].why}"
            )
        elif len(lost) > LOST_SHARE * max(1, len(t) + len(lost)):
            found.append(f"{len(lost)} of {len(t) + len(lost)} readings failed: {lost[0].why}")
        back = [at for at in self.steps_back if start <= at <= end]
        if back:
            found.append(f"the counter went backwards {back[0] - start:.2f} s after the first window began")
        if len(t) > 1 and bool(np.any(np.diff(t) <= 0)):
            found.append("times of readings do not increase")
        if len(t) < LEAST_READINGS:
            found.append(f"{len(t)} readings: too few")
        elif not values[:, self.counted].any():
            found.append("every reading is 0")
        return found

    def stuck(self, start: float, end: float) -> str | None:
        """How long a reading stayed the same between two times, where that is too long to be believed."""
        inside = (self.t >= start) & (self.t <= end)
        t, values = self.t[inside], self.values[inside]
        if len(t) < 2:
            return None
        changed = np.flatnonzero(np.any(np.diff(values, axis=0) != 0, axis=1)) + 1
        edges = np.concatenate([[0], changed, [len(t)]])
        longest = int(np.argmax(np.diff(edges)))
        first, last = int(edges[longest]), int(edges[longest + 1]) - 1
        count, lasted = last - first + 1, float(t[last] - t[first])
        if count < LEAST_REPEATED and not (len(changed) == 0 and count > 2):
            return None
        if lasted < REPEATED_SHARE * (end - start):
            return None
        return (
            f"the reading stayed the same for {lasted:.2f} s of {end - start:.2f} s ({count} readings): "
            "the sensor is stuck, or slower than the run is long"
        )

    def gap(self, start: float, end: float) -> str | None:
        """A stretch without readings between two times, where it is too long for a straight line across it."""
        inside = np.concatenate([[start], self.t[(self.t > start) & (self.t < end)], [end]])
        longest = float(np.max(np.diff(inside)))
        if longest <= max(5 * self.period, GAP_SHARE * (end - start)):
            return None
        return f"no reading for {longest:.2f} s of {end - start:.2f} s"


def trace_of(sensor: Sensor, samples: Sequence[Sample], asked_hz: float | None = None) -> Trace:
    """Make numbers of what was read, here or on a board; what cannot be is kept as lost."""
    t, values, lost = list[float](), list[tuple[float, ...]](), list[Lost]()
    for sample in samples:
        if sample.fault is not None:
            why = sample.fault.strerror or str(sample.fault)
            lost.append(Lost(sample.seconds, why, sample.fault.errno in GONE))
            continue
        try:
            values.append(sensor.parse(sample.contents))
        except (ValueError, IndexError) as error:
            lost.append(Lost(sample.seconds, str(error)))
        else:
            t.append(sample.seconds)
    table = np.array(values, np.float64).reshape(len(t), len(sensor.rails))
    return Trace(sensor, np.array(t, np.float64), table, tuple(lost), asked_hz)
