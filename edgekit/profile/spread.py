"""A spread: how a figure varied over its readings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
BINS = 48
NANOSECOND_US = 1e-3


@dataclass(frozen=True)
class Spread:
    """`n` readings: the least, percentiles, the most, the mean and the standard deviation, in the unit of the readings.

    A percentile is the reading that so many of a hundred do not exceed.
    """

    n: int
    min: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    mean: float
    std: float

    @classmethod
    def of(cls, values: npt.ArrayLike) -> Spread:
        """The spread of some readings, at least one."""
        readings = np.asarray(values, np.float64).reshape(-1)
        return cls.counted(readings, np.ones(len(readings), np.int64))

    @classmethod
    def counted(cls, values: Array, counts: Array) -> Spread:
        """The spread of readings of which each was taken so many times, at least one of them once."""
        order = np.argsort(values, kind="stable")
        readings, times = np.asarray(values, np.float64)[order], np.asarray(counts, np.int64)[order]
        upto, n = np.cumsum(times), int(times.sum())
        places = np.ceil(np.array([0.5, 0.9, 0.95, 0.99]) * n - 1e-9)
        p50, p90, p95, p99 = (float(readings[at]) for at in np.searchsorted(upto, np.maximum(places, 1)))
        seen = readings[times > 0]
        mean = float(np.dot(readings, times) / n)
        deviation = float(np.sqrt(np.dot((readings - mean) ** 2, times) / max(n - 1, 1)))
        return cls(n, float(seen[0]), p50, p90, p95, p99, float(seen[-1]), mean, deviation)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Histogram:
    """How many readings fell between one edge and the next; the edges are spaced by equal ratios, the last belongs to
    the last bin.
    """

    edges_us: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def counted(cls, microseconds: Array, counts: Array) -> Histogram:
        """The histogram of readings of which each was taken so many times; none is shorter than a nanosecond."""
        microseconds = np.maximum(microseconds, NANOSECOND_US)  # a coarse clock sees nothing of a short step
        seen = microseconds[counts > 0]
        low, high = float(seen.min()), float(seen.max())
        edges = np.geomspace(low, high, BINS + 1) if high > low else np.array([low, high])
        edges[0], edges[-1] = low, high
        found, _ = np.histogram(microseconds, edges, weights=counts)
        return cls(tuple(map(float, edges)), tuple(round(n) for n in found))
