"""How a real value is held by integers: real = scale · (stored - zero)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.ir import DTYPES, DType
from edgekit.ir.quant import QuantParams

Array = npt.NDArray[Any]

TOP32 = 2**30  # what an int32 value is scaled to: one bit is left for sums on their way


def whole(bits: int) -> DType:
    """The signed integer dtype of so many bits."""
    return DTYPES[f"int{bits}"]


def largest_of(dtype: DType) -> int:
    """The largest magnitude that a symmetric scale uses: -2^(bits-1) is left out."""
    return dtype.limits[1]


def finest_scale(weights: Array, largest: int, levels: int | None = None) -> Array:
    """The finest scale per output at which weights [out, in] are whole numbers of magnitude `largest` at most.

    With `levels` all outputs share the scale at which they are of that magnitude at most.
    """
    reach = np.abs(weights).max(axis=1)
    return np.asarray(reach / largest if levels is None else np.full(reach.shape, reach.max() / min(levels, largest)))


@dataclass(frozen=True, eq=False)
class Spec:
    """The integers chosen for a value, before it is computed: dtype, scale (scalar or of the value's shape), zero.

    `sums` is the scale per output in which spikes add weights, where it differs from the value's own; where they are
    `stepped`, weights of few bits are whole multiples of a step in it. `bound` is the largest magnitude expected,
    `reason` where that comes from.
    """

    dtype: DType
    scale: Array
    zero: int = 0
    sums: Array | None = None
    bound: float = 0.0
    reason: str = ""
    stepped: bool = False

    @property
    def uniform(self) -> bool:
        return self.scale.ndim == 0


@dataclass(frozen=True, eq=False)
class Stored:
    """A value of the integer graph; a spike has scale 1."""

    name: str
    dtype: DType
    scale: Array
    zero: int = 0

    @property
    def limit(self) -> int:
        """The largest magnitude that the dtype can hold."""
        return 1 if not self.dtype.is_integer else -self.dtype.limits[0]


@dataclass(frozen=True, eq=False)
class Rounded:
    """How a matrix [out, in] was rounded: to whole multiples of `unit`, of magnitude `largest` at most.

    With `levels`, ascending, to the nearest of those multiples alone, the upper one of two that are as near. The
    integers of the program are `step` times those multiples.
    """

    unit: Array
    largest: int
    levels: tuple[int, ...] | None = None
    step: int = 1


def tidy(scale: Array) -> Array:
    """A scale as float64; a scalar where all are equal."""
    scale = np.asarray(scale, np.float64)
    return scale.reshape(-1)[0].reshape(()) if scale.size and np.all(scale == scale.flat[0]) else scale


def one_axis(scale: Array, shape: tuple[int, ...]) -> tuple[Array, int | None] | None:
    """The scale as one value, or one per slice along an axis; None where it varies along several."""
    scale = tidy(scale)
    if scale.ndim == 0:
        return scale.reshape(1), None
    full = np.broadcast_to(scale, shape)
    for axis in range(len(shape)):
        first = np.moveaxis(full, axis, 0).reshape(shape[axis], -1)
        if (first == first[:, :1]).all():
            return first[:, 0].copy(), axis
    return None


def quant_params(dtype: DType, scale: Array, zero: int, shape: tuple[int, ...]) -> QuantParams | None:
    """QuantParams of a scale that varies along one axis at most; None for another."""
    found = one_axis(scale, shape)
    if found is None:
        return None
    values, axis = found
    return QuantParams(values, np.full(values.size, zero, np.int32), axis, *dtype.limits)
