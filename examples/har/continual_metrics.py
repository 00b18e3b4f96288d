"""What is kept of lessons learned one after another: accuracy matrix, ACC, BWT, forgetting, and what each one brought.

Definitions of Lopez-Paz and Ranzato (2017) for ACC and BWT, of Chaudhry et al. (2018) for forgetting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import UsageError


@dataclass(frozen=True, eq=False)
class Record:
    """a[t, j]: accuracy on lesson j, in per cent, after lesson t was learned; `before` [T] is that before any was.

    Lessons that could not be told yet (classes that did not exist) are NaN, in `before` too.
    """

    names: tuple[str, ...]
    before: NDArray[np.float64]
    a: NDArray[np.float64]

    def __post_init__(self) -> None:
        count = len(self.names)
        if not count or self.before.shape != (count,) or self.a.shape != (count, count):
            shapes = f"{count} names, before {self.before.shape}, a {self.a.shape}"
            raise UsageError("record of lessons", f"is of {shapes}: wants [T], [T] and [T, T] of at least one lesson")
        if np.isnan(self.a[np.tril_indices(count)]).any():
            raise UsageError("record of lessons", "lacks the accuracy on a lesson after it was learned")

    @property
    def acc(self) -> float:
        """ACC: the mean over all lessons in the end."""
        return float(self.a[-1].mean())

    @property
    def bwt(self) -> float:
        """BWT: by how many points earlier lessons rose, or where negative fell, from when they were learned to the end.

        0 where there is one lesson.
        """
        return _mean(self.a[-1, :-1] - np.diag(self.a)[:-1])

    @property
    def forgetting(self) -> float:
        """Points between the best that an earlier lesson ever had and what it has in the end; 0 for one lesson."""
        earlier = range(len(self.names) - 1)
        return _mean([np.nanmax(self.a[:-1, j]) - self.a[-1, j] for j in earlier])

    @property
    def learned(self) -> NDArray[np.float64]:
        """[T] accuracy on each lesson just after it."""
        return np.diag(self.a).copy()

    @property
    def risen(self) -> float:
        """Points by which learning a lesson raised the accuracy on it, on average; NaN where it could not be told."""
        just_before = [self.before[0], *(self.a[t - 1, t] for t in range(1, len(self.names)))]
        return float((self.learned - just_before).mean())

    @property
    def risen_since_delivery(self) -> float:
        """The same, from what the device could do before the first lesson."""
        return float((self.learned - self.before).mean())

    def table(self) -> list[str]:
        """The matrix as lines of text: what was learned last, and the accuracy on each lesson."""
        width = max(len("delivered"), *map(len, self.names))
        head = " " * width + "".join(f"{name:>{max(7, len(name) + 1)}}" for name in self.names)
        rows = [("delivered", self.before), *zip(self.names, self.a, strict=True)]
        return [head, *(f"{name:<{width}}" + self._cells(row) for name, row in rows)]

    def _cells(self, row: NDArray[np.float64]) -> str:
        cells = ("-" if np.isnan(value) else f"{value:.1f}" for value in row)
        return "".join(f"{cell:>{max(7, len(name) + 1)}}" for name, cell in zip(self.names, cells, strict=True))


def mean_record(records: Sequence[Record]) -> dict[str, float]:
    """ACC, BWT, forgetting and rises, averaged over records of the same lessons in different orders."""
    if not records:
        raise UsageError("records of lessons", "are none")
    figures = ("acc", "bwt", "forgetting", "risen", "risen_since_delivery")
    return {figure: float(np.mean([getattr(record, figure) for record in records])) for figure in figures}


def _mean(values: Sequence[float] | NDArray[np.float64]) -> float:
    return float(np.mean(values)) if len(values) else 0.0
