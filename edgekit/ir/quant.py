"""Quantisation parameters, and the one place where a real scale becomes an integer multiplier and shift."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import GraphError

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


def integer_multiplier(scale: float) -> tuple[int, int]:
    """Write a positive real as an integer multiplier and a right shift.

    scale ≈ multiplier · 2^-shift with 2^30 ≤ multiplier < 2^31 (Q31), multiplier rounded half up.

    Raises GraphError for a scale that is not positive and finite.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise GraphError("quantisation scale", f"{scale!r} is not a positive finite number")
    mantissa, exponent = math.frexp(scale)  # scale = mantissa · 2^exponent, 0.5 <= mantissa < 1
    multiplier = math.floor(mantissa * 2.0**31 + 0.5)
    if multiplier == 2**31:  # the mantissa rounded up to one
        multiplier, exponent = 2**30, exponent + 1
    return multiplier, 31 - exponent


@dataclass(frozen=True)
class QuantParams:
    """How stored integers stand for reals: real = scale · (stored - zero_point).

    `scale` and `zero_point` have one element (per tensor) or one per slice along `axis` (per channel).
    `multiplier` and `shift` express each scale in Q31; every integer backend takes them from here.
    """

    scale: FloatArray
    zero_point: IntArray
    axis: int | None
    qmin: int
    qmax: int
    multiplier: tuple[int, ...] = field(init=False)
    shift: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        scale = np.array(self.scale, dtype=np.float32).reshape(-1)
        zero_point = np.array(self.zero_point, dtype=np.int32).reshape(-1)
        if zero_point.size != scale.size:
            raise GraphError("quantisation", f"{scale.size} scales but {zero_point.size} zero points")
        if self.axis is None and scale.size != 1:
            raise GraphError("quantisation", f"{scale.size} scales without an axis")
        if self.qmin >= self.qmax:
            raise GraphError("quantisation", f"qmin {self.qmin} is not below qmax {self.qmax}")
        pairs = [integer_multiplier(float(s)) for s in scale]
        scale.flags.writeable = zero_point.flags.writeable = False
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "zero_point", zero_point)
        object.__setattr__(self, "multiplier", tuple(m for m, _ in pairs))
        object.__setattr__(self, "shift", tuple(s for _, s in pairs))

    def _along_axis(self, values: npt.NDArray[Any], rank: int) -> npt.NDArray[Any]:
        if self.axis is None:
            return values.reshape(())
        shape = [1] * rank
        shape[self.axis] = -1
        return values.reshape(shape)

    def dequantize(self, stored: npt.NDArray[np.generic]) -> FloatArray:
        """Real values of stored integers: scale · (stored - zero_point), in float32."""
        zero = self._along_axis(self.zero_point, stored.ndim)
        real = (stored.astype(np.int32) - zero).astype(np.float32) * self._along_axis(self.scale, stored.ndim)
        return np.asarray(real, dtype=np.float32)

    def quantize(self, real: npt.NDArray[np.floating]) -> npt.NDArray[np.int32]:
        """Stored integers of real values: clip(floor(real / scale + zero_point + 1/2), qmin, qmax)."""
        scale = self._along_axis(self.scale, real.ndim).astype(np.float64)
        zero = self._along_axis(self.zero_point, real.ndim)
        stored = np.floor(real.astype(np.float64) / scale + zero + 0.5)
        return np.asarray(np.clip(stored, self.qmin, self.qmax), dtype=np.int32)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, QuantParams)
            and (self.axis, self.qmin, self.qmax) == (other.axis, other.qmin, other.qmax)
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )

    __hash__ = None  # type: ignore[assignment]
