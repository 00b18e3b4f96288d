"""In which integers a matrix is held: bits, one scale for all outputs, few levels, or the grid of a training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.compress.palette import best_levels
from edgekit.compress.stored import Array, finest_scale
from edgekit.ir import INT4, INT8, INT16, DType

WIDTHS = {2: INT4, 4: INT4, 8: INT8, 16: INT16}
SAME = 1e-6  # by which two scales may differ, relatively, that stand for one


def largest_of_bits(bits: int) -> int:
    """The largest magnitude of a weight of so many bits."""
    return int(2 ** (bits - 1) - 1)


def levels_fault(bits: int, levels: int) -> tuple[str, str] | None:
    """What is wrong with levels of a matrix of so many bits, and the remedy; None where nothing is."""
    if bits == 2:
        return f"levels = {levels} is not used with bits = 2: its outputs have scales of their own", "leave levels out"
    if levels > (most := largest_of_bits(bits)):
        return f"levels = {levels} is more than the {most} of {bits} bits", f"give at most {most}, or more bits"
    return None


@dataclass(frozen=True, eq=False)
class Form:
    """How the weights of a matrix [out, in] become integers.

    `bits` are 16, 8, 4, or 2 for -1, 0 and 1. With `levels` all outputs share a scale, at which no weight is larger.
    A `palette` says which integers there are, or how many are to be found. `unit` [out, 1] or [out, in] pins what 1
    stands for, as training had it. A matrix that is `alone` has accumulators that no other matrix adds to. With a
    `step` above 1 it is held in int8 as whole multiples of that: what it is added to is so much finer than its bits.
    """

    bits: int
    levels: int | None = None
    palette: int | tuple[int, ...] | None = None
    unit: Array | None = None
    alone: bool = False
    step: int = 1

    @property
    def dtype(self) -> DType:
        """The integers that hold it."""
        return WIDTHS[self.bits] if self.step == 1 else INT8

    @property
    def largest(self) -> int:
        """The largest magnitude of a weight, in steps."""
        largest = largest_of_bits(self.bits)
        return largest if self.levels is None else min(largest, self.levels)

    @property
    def is_fine(self) -> bool:
        """Whether it has bits to spare, so that any scale near that of others will do."""
        return self.bits > WIDTHS[8].bits

    def finest(self, weights: Array, power: Array | None = None) -> Array:
        """The scale per output that its bits want for weights [out, in] whose inputs have the power E[x²] each."""
        if self.bits == 2:
            return ternary_scale(weights, power) / self.step
        return finest_scale(weights, self.largest, self.levels) / self.step

    def chosen(self, weights: Array, power: Array | None = None) -> tuple[int, ...] | None:
        """The integers that there are for weights in units of a step; None for all up to the largest."""
        if self.palette is None or isinstance(self.palette, tuple):
            return self.palette
        return best_levels(weights, self.palette, self.largest, power)

    def pinned(self, times: Array, rows: Array) -> Array | None:
        """The scale per output that `unit` stands for, of weights `times` those of the tensor, on operands of scale
        `rows` [in]; None where there is none: not pinned, or the operand's scales have changed.
        """
        if self.unit is None or self.is_fine:
            return None
        scale = self.unit * np.reshape(times, (-1, 1)) * rows / self.step
        first = np.array(scale[:, 0])
        return first if bool((np.abs(scale - first[:, None]) <= SAME * np.abs(first[:, None])).all()) else None


def ternary_scale(weights: Array, power: Array | None = None) -> Array:
    """The α of each output with the least Σ p (w - α t)², t of -1, 0 and 1 (Li et al., 2016).

    Of the k largest |w| it is their mean, weighted by the power p of the inputs; the best k is looked for. t is then
    w / α rounded half up.
    """
    p = np.ones(weights.shape[1]) if power is None else np.maximum(power, 1e-12 * max(float(power.max()), 1e-30))
    order = np.argsort(-np.abs(weights), axis=1, kind="stable")
    mass = np.cumsum(p[order], axis=1)
    total = np.cumsum(p[order] * np.take_along_axis(np.abs(weights), order, axis=1), axis=1)
    best = np.argmax(total**2 / mass, axis=1)[:, None]
    return np.asarray((np.take_along_axis(total, best, axis=1) / np.take_along_axis(mass, best, axis=1))[:, 0])
