"""Intervals of arrays, and the results that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.ir import DType, Tensor

Array = npt.NDArray[Any]
METHODS = ("l1 gain", "invariant", "interval", "bounded function", "saturates", "spike")


@dataclass(frozen=True, eq=False)
class Interval:
    """Lowest and highest value of each element: float64 arrays, exact for integers of up to 53 bits."""

    lo: Array
    hi: Array

    @classmethod
    def of(cls, lo: npt.ArrayLike, hi: npt.ArrayLike | None = None) -> Interval:
        """Bounds as given, `hi` = `lo` for a point; what is not a number is unbounded."""
        low = np.asarray(lo, np.float64)
        high = low if hi is None else np.asarray(hi, np.float64)
        return cls(np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.lo.shape

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.lo).all() and np.isfinite(self.hi).all())

    def hull(self, other: Interval) -> Interval:
        """The least interval that holds both."""
        return Interval(np.minimum(self.lo, other.lo), np.maximum(self.hi, other.hi))

    def meet(self, other: Interval) -> Interval:
        """What both hold; the caller knows that it is not empty."""
        return Interval(np.maximum(self.lo, other.lo), np.minimum(self.hi, other.hi))

    def holds(self, other: Interval) -> Array:
        """Per element, whether the other one lies within."""
        return np.asarray((self.lo <= other.lo) & (other.hi <= self.hi))

    def broadcast(self, shape: tuple[int, ...]) -> Interval:
        """The same bounds as arrays of a larger shape."""
        return Interval(np.broadcast_to(self.lo, shape), np.broadcast_to(self.hi, shape))

    def largest(self) -> Array:
        """The largest magnitude of each element."""
        return np.asarray(np.maximum(np.abs(self.lo), np.abs(self.hi)))


def limits(dtype: DType) -> tuple[float, float]:
    """The ends of a dtype's range; those of reals are infinite."""
    if dtype.is_float:
        return -np.inf, np.inf
    return (0.0, 1.0) if dtype.numpy.kind == "b" else (float(dtype.limits[0]), float(dtype.limits[1]))


def whole_range(tensor: Tensor) -> Interval:
    """All that a tensor's dtype can hold."""
    low, high = limits(tensor.dtype)
    return Interval(np.full(tensor.shape, low), np.full(tensor.shape, high))


@dataclass(frozen=True)
class Overflow:
    """An op whose exact result may lie outside its dtype: `lo` to `hi` over all elements."""

    op: int  # its place in the step
    tensor: str
    lo: float
    hi: float
    dtype: str


@dataclass(frozen=True, eq=False)
class StateProof:
    """The bounds of a state in stored units, how they were found, and what rounding can do to it.

    `rounding` bounds the distance from the same recurrence in exact arithmetic, in LSB; None where no bound is derived.
    """

    state: str
    lo: Array
    hi: Array
    method: str
    note: str
    rounding: Array | None = None


@dataclass(frozen=True, eq=False)
class Ranges:
    """What a step computes, bounded: every value and state, and the ops whose results may not fit."""

    values: Mapping[str, Interval]
    states: Mapping[str, StateProof]
    overflows: list[Overflow]
    saturations: list[Overflow]
