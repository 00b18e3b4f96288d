"""When what comes in is no longer what came before: a task has ended, though nobody says so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.errors import DataError, UsageError


@dataclass
class DriftDetector:
    """Finds where novelty leaves the range in which it was.

    A number is unusual when it is more than `threshold` standard deviations above the mean of usual ones, both running
    with the rate 1 - `memory`; `patience` unusual ones in a row are a drift, and then the statistics start anew. The
    first `settle` numbers are never unusual. A deviation counts as at least `least`. UsageError for numbers that make
    no sense.
    """

    threshold: float = 4.0
    patience: int = 3
    memory: float = 0.95
    settle: int = 20
    least: float = 0.01

    def __post_init__(self) -> None:
        if not (self.threshold > 0 and self.patience >= 1 and 0 <= self.memory < 1 and self.settle >= 1):
            cause = f"cannot have threshold {self.threshold}, patience {self.patience}, memory {self.memory}"
            raise UsageError("drift detector", f"{cause}, settle {self.settle}")
        if not self.least > 0:
            raise UsageError("drift detector", f"cannot have a least deviation of {self.least}")
        self._start()

    def _start(self) -> None:
        self._seen, self._unusual, self._mean, self._variance = 0, 0, 0.0, 0.0

    @property
    def level(self) -> float:
        """Above which a number is unusual."""
        return float(self._mean + self.threshold * max(np.sqrt(self._variance), self.least))

    def see(self, novelty: float) -> bool:
        """Whether a drift ends with this number, which is not below zero; DataError for what is none."""
        value = float(novelty)
        if not (np.isfinite(value) and value >= 0):
            raise DataError("novelty", f"is {value}, not a number from 0 on")
        if self._seen >= self.settle and value > self.level:
            self._unusual += 1
            if self._unusual < self.patience:
                return False
            self._start()
            return True
        self._unusual = 0
        self._seen += 1
        rate = max(1 - self.memory, 1 / self._seen)
        change = value - self._mean
        self._mean += rate * change
        self._variance = (1 - rate) * (self._variance + rate * change**2)
        return False
