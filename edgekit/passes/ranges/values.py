"""Intervals of arrays, and the results that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgekit.ir import DType, Tensor

Array = npt.NDArray[Any]
Method = Literal["l1 gain", "invariant", "interval", "bounded function", "saturates", "spike"]


@dataclass(frozen=True, eq=False)
class Interval:
    """Lowest and highest value of each element: float64 arrays, exact for integers of up to 53 bits."""

    lo: Array
    hi: Array

    @classmethod
    def of(cls, lo: npt.ArrayLike, hi: npt.ArrayLike | None = None) -> Interval:
        """Bounds as given, `hi` = `lo` for a point."""
        low = np.asarray(lo, np.float64)
        return cls(low, low if hi is None else np.asarray(hi, np.float64))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.lo.shape

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
    """The ends of a dtype's range."""
    return (0.0, 1.0) if dtype.numpy.kind == "b" else (float(dtype.limits[0]), float(dtype.limits[1]))


def whole_range(tensor: Tensor) -> Interval:
    """All that a tensor's dtype can hold."""
    low, high = limits(tensor.dtype)
    return Interval(np.full(tensor.shape, low), np.full(tensor.shape, high))


def outside(bounds: Interval, dtype: DType) -> Array:
    """Per element, whether bounds leave the range of a dtype."""
    low, high = limits(dtype)
    return np.asarray((bounds.lo < low) | (bounds.hi > high))


@dataclass(frozen=True)
class Overflow:
    """An op whose exact result may lie outside its dtype: `lo` to `hi` over all elements."""

    op: int  # its place in the step
    kind: str
    tensor: str
    lo: float
    hi: float
    dtype: str


@dataclass(frozen=True, eq=False)
class StateProof:
    """The bounds of a state in stored units, how they were found, and what rounding can do to it, in LSB.

    `rounding` bounds the distance from the same recurrence in exact arithmetic that is fed with the same integers.
    `residue` bounds what silence leaves: a state that nothing is added to ends no further from zero. None where no
    bound is derived.
    """

    state: str
    lo: Array
    hi: Array
    method: Method
    note: str
    rounding: Array | None = None
    residue: Array | None = None


@dataclass(frozen=True, eq=False)
class Ranges:
    """What a step computes, bounded: every value and state, and the ops whose results may not fit.

    The bounds are those after a reset. `from_any_state`: nothing wraps from any state at all, as a restored one may be.
    """

    values: Mapping[str, Interval]
    states: Mapping[str, StateProof]
    overflows: list[Overflow]
    saturations: list[Overflow]
    from_any_state: bool
