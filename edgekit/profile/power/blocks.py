"""How sure a mean power is: means of blocks, and Student's t (Law and Kelton, Simulation Modeling and Analysis, ch. 9).

Readings one after the other are alike, so that their own scatter says too little about that of their mean; means of
long blocks are nearly independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

from edgekit.profile.power.trace import Array, Trace

MOST, FEWEST = 30, 5  # blocks: more give no better interval, fewer none at all
HALVED = 10  # blocks from which on alike neighbours are still joined
ROUNDING = 1e-6  # of the mean, below which a slope is that of the arithmetic
UPDATES = (10, 4)  # of the sensor in a block: wanted, and the least


def student(p: float, dof: float) -> float:
    """Quantile of Student's t, four digits from 4 degrees of freedom on (Abramowitz and Stegun, 26.7.5)."""
    z = NormalDist().inv_cdf(p)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / dof ** (i + 1) for i, term in enumerate(terms))


@dataclass(frozen=True)
class Blocks:
    """Mean power of a window, W, and how sure it is.

    `variance` is that of the mean, W²; `scatter` that of one second of readings, W²·s, from which the variance over
    another time follows; `drift` how far the power went to one side over the window, W, where it did.
    """

    seconds: float
    watts: float
    count: int
    variance: float
    drift: float = 0.0
    correlation: float = 0.0

    @property
    def scatter(self) -> float:
        """Variance of a mean over one second, W²."""
        return self.variance * self.seconds

    @property
    def quantile(self) -> float:
        """Student's t of a 95 % interval."""
        return student(0.975, self.count - 1)


def blocks_of(trace: Trace, start: float, end: float) -> Blocks | None:
    """The blocks of a window; None where it is too short for an interval."""
    seconds = end - start
    count = next((n for n in (int(seconds / (trace.update * per)) for per in UPDATES) if n >= FEWEST), 0)
    if not count:
        return None
    count = min(count, MOST)
    while True:
        found = _blocks(trace, start, end, count)
        if found.correlation <= 2 / sqrt(count) or count < 2 * FEWEST or count < HALVED:
            return found
        count //= 2


def mean_watts(trace: Trace, start: float, end: float) -> float:
    """Mean power of the total in a window, W."""
    joules = trace.energy(np.array([start, end]))[:, trace.counted].sum(axis=1)
    return float(joules[1] - joules[0]) / (end - start)


def _blocks(trace: Trace, start: float, end: float, count: int) -> Blocks:
    edges = np.linspace(start, end, count + 1)
    means = np.diff(trace.energy(edges)[:, trace.counted].sum(axis=1)) / ((end - start) / count)
    slope, is_drift = _drift(means)
    rest = means - means.mean() - (slope * (np.arange(count) - (count - 1) / 2) if is_drift else 0)
    variance = float(rest @ rest) / (count - (2 if is_drift else 1))
    r = float(rest[1:] @ rest[:-1]) / float(rest @ rest) if rest.any() else 0.0
    # Neighbours that are alike even so: the variance of a mean of a first-order process.
    wider = (1 + r) / (1 - r) if r > 2 / sqrt(count) else 1.0
    drift = abs(slope) * (count - 1) if is_drift else 0.0
    return Blocks(end - start, float(means.mean()), count, variance / count * wider, drift, r)


def _drift(means: Array) -> tuple[float, bool]:
    """Slope of the means from one block to the next, W, and whether it is more than chance (1 %)."""
    at = np.arange(len(means)) - (len(means) - 1) / 2
    slope = float(at @ means) / float(at @ at)
    rest = means - means.mean() - slope * at
    error = sqrt(float(rest @ rest) / (len(means) - 2) / float(at @ at))
    is_more = abs(slope) > student(0.995, len(means) - 2) * error
    return slope, is_more and abs(slope) * len(means) > ROUNDING * abs(float(means.mean()))
