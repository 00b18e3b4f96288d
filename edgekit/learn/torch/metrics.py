"""The accuracy matrix of tasks learned one after another, and what it says of memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.errors import UsageError


@dataclass(frozen=True, eq=False)
class AccuracyMatrix:
    """a[i, j], the accuracy (0 … 1) on task j after training on task i; NaN where it was not evaluated.

    ACC is the mean of the last row; BWT the mean over earlier tasks of a[last, j] - a[j, j]; forgetting the mean over
    earlier tasks of the best accuracy once had, less that of the last row. Lopez-Paz and Ranzato, 2017.
    """

    values: npt.NDArray[np.float64]

    @classmethod
    def of(cls, rows: Sequence[Sequence[float]]) -> AccuracyMatrix:
        """The matrix of rows that are one longer each, [a00], [a10, a11], …"""
        if not rows or any(len(row) != at for at, row in enumerate(rows, 1)):
            raise UsageError("accuracy rows", "are not of the lengths 1, 2, 3, …")
        values = np.full((len(rows), len(rows)), np.nan)
        for at, row in enumerate(rows):
            values[at, : at + 1] = row
        return cls(values)

    @property
    def acc(self) -> float:
        """Mean accuracy over all tasks after the last."""
        return float(self.values[-1].mean())

    @property
    def bwt(self) -> float:
        """Backward transfer: below zero where later tasks cost earlier ones accuracy; 0 for one task."""
        last = self.values[-1, :-1]
        return float((last - self.values.diagonal()[:-1]).mean()) if last.size else 0.0

    @property
    def forgetting(self) -> float:
        """How far, on average, earlier tasks have fallen from their best; 0 for one task."""
        last = self.values[-1, :-1]
        return float((np.nanmax(self.values[:, :-1], axis=0) - last).mean()) if last.size else 0.0

    def lines(self) -> list[str]:
        """One line a row, in per cent."""
        return [
            " ".join(f"{value * 100:6.2f}" for value in row[: at + 1]) for at, row in enumerate(self.values.tolist())
        ]
