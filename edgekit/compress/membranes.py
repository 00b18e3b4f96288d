"""Sums that spikes drive, membranes and currents: on the scale of the weights that spikes add, or finer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, log2

import numpy as np

from edgekit.compress.bounds import Bounds
from edgekit.compress.recipes import Recipe
from edgekit.compress.stored import TOP32, Array, Spec, largest_of, tidy
from edgekit.compress.terms import Constant, Dot, Scaled, Sums, Term
from edgekit.compress.weights import Weights
from edgekit.ir import INT8, INT16, INT32, DType

SPIKE_ROUNDING = 0.025  # share of a threshold that the rounding of a membrane may add up to
MOST_FINER = 12  # bits below the scale of the weights that an int32 membrane gets


@dataclass(frozen=True, eq=False)
class _Driven:
    """A sum that spikes drive: the largest factor by which it takes over its own state, and the number that it is
    compared with (0: none), how far it goes, which is proven of each element or not, weights in steps or not.
    """

    root: str
    terms: Sequence[Term]
    decay: float
    threshold: float
    reach: float
    proven: Array | None
    stepped: bool = False


class Membranes:
    """The `Spec` of each sum that spikes drive."""

    def __init__(self, sums: Sums, bounds: Bounds, recipe: Recipe, weights: Weights) -> None:
        self.sums, self.bounds, self.recipe, self.weights = sums, bounds, recipe, weights

    def spec(self, root: str, terms: Sequence[Term], bits: int, decay: float) -> Spec:
        """A sum that spikes add weights to: on the scale of those weights, or 2^-k of it.

        `bits` are those of the states that it becomes, `decay` the largest factor by which it takes over its own.
        """
        threshold = self._threshold(root)
        proven = self._lif(terms, decay, threshold)
        reach = 2 * self.bounds.seen(root).largest if proven is None else float(proven.max())
        driven = _Driven(root, terms, decay, threshold, reach, proven)
        if bits == 16:
            found = self._in16(driven)
            apart = any(form.alone for form in self.weights.forms(self.weights.of_spikes(terms)))
            if (found is None or _is_finer(found) or apart) and self.weights.can_step(terms):
                found = self._in16(replace(driven, stepped=True)) or found
            if found is not None:
                return found
        scale = self._sums(driven, bits)
        if bits == 8:
            seen = max(self.bounds.seen(root).largest, threshold)
            coarse = np.asarray(seen / largest_of(INT8))
            if threshold:
                coarse = threshold / np.maximum(np.floor(threshold / coarse), 1)
            return Spec(INT8, coarse, sums=scale, bound=seen, reason="calibrated, saturates")
        bound = np.asarray(self.bounds.of(root, 1.0)[0]) if proven is None else proven
        finer = max(0, min(MOST_FINER, floor(log2(TOP32 / np.max(bound / scale)))))
        return self._finer(INT32, scale, finer, bound, "calibrated, 2 times" if proven is None else "proven")

    def _in16(self, driven: _Driven) -> Spec | None:
        """A sum of spikes in int16; None where that does not hold it, and what is rounded on the way into it."""
        scale = self._sums(driven, 16)
        finer = self._finer_bits(driven, scale)
        if (scale < _finest_in16(self.bounds.of(driven.root, 1.0)[0], finer)).any():
            return None
        held, reason = scale * largest_of(INT16) * 2.0**-finer, "saturates: a proof would waste bits"
        if driven.proven is not None and (driven.proven <= held).all():
            held, reason = driven.proven, "proven"
        return replace(self._finer(INT16, scale, finer, held, reason), stepped=driven.stepped)

    def _sums(self, driven: _Driven, bits: int) -> Array:
        """The scale in which spikes add weights: the pinned one, or the finest; where it can it meets the threshold."""
        known = self.weights.pinned(driven.terms, driven.stepped)
        if known is not None:
            return known
        scale = self.weights.scale(driven.terms, bits, driven.reach, driven.stepped)
        scale = _met_exactly(scale, driven.threshold)
        return self._not_needlessly_fine(driven, scale) if bits == 16 else scale

    def _not_needlessly_fine(self, driven: _Driven, scale: Array) -> Array:
        """The scale, where an int16 would not hold all of it raised to what it holds in the rows of small weights.

        A row keeps small weights alone where the others were pruned. What rounds them is then as small, against what
        the sum is compared with or reaches, as in half of the rows: a row is raised to their median at most.
        """
        least = _finest_in16(self.bounds.of(driven.root, 1.0)[0], self._finer_bits(driven, scale))
        return _met_exactly(np.maximum(scale, least), driven.threshold) if least <= np.median(scale) else scale

    def _finer_bits(self, driven: _Driven, scale: Array) -> int:
        """Bits below the scale of its weights that a sum of spikes needs for what is rounded on the way into it.

        The share of the threshold, or of the largest value seen, that rounding may add up to is SPIKE_ROUNDING of a
        threshold, where only the decay counts, and without one that of the recipe.
        """
        terms, decay = driven.terms, driven.decay
        threshold, seen = driven.threshold / scale, self.bounds.seen(driven.root).largest / np.max(scale)
        times = 1 / (1 - decay) if decay < 1 else 0.0  # at 1 nothing is rounded
        apart = sum(form.alone for form in self.weights.forms(self.weights.of_spikes(terms), driven.stepped))
        if threshold.min() > 0:
            stays, may = 0.5 * times * ((decay > 0) + apart), SPIKE_ROUNDING * threshold.min()
        else:
            rounded = [t for t in terms if isinstance(t, Scaled)]
            others = any(isinstance(t, Constant) for t in terms) + any(
                isinstance(t, Dot) and not self.sums.is_spike(t.x) for t in terms
            )
            stays, may = 0.5 * times * (len(rounded) + others + apart), self.recipe.rounding * max(seen, 1.0)
        return min(ceil(log2(stays / may)), MOST_FINER) if 0 < may < stays else 0

    def _finer(self, dtype: DType, scale: Array, finer: int, bound: Array, reason: str) -> Spec:
        return Spec(dtype, tidy(scale * 2.0**-finer), sums=tidy(scale), bound=float(bound.max()), reason=reason)

    def _threshold(self, root: str) -> float:
        """The number that a membrane is compared with, 0 where there is not one positive number."""
        found = []
        for name in (root, *self.sums.states_of(root)):
            for op in self.sums.readers.get(name, []):
                if op.kind in ("gt", "ge") and op.inputs[0] == name:
                    data = self.sums.data(op.inputs[1])
                    found.append(float(data.flat[0]) if data is not None and np.unique(data).size == 1 else 0.0)
        return found[0] if found and min(found) > 0 and len(set(found)) == 1 else 0.0

    def _lif(self, terms: Sequence[Term], decay: float, threshold: float) -> Array | None:
        """A bound of a leaky membrane with subtractive reset, whatever it is fed; None for anything else."""
        if not 0 < decay < 1:
            return None
        up, down = self.bounds.input_sums(terms)
        high = np.maximum(decay * threshold + up, (up - threshold) / (1 - decay))
        reach = np.maximum(high, (down + threshold) / (1 - decay))
        return reach if np.isfinite(reach).all() else None


def _is_finer(spec: Spec) -> bool:
    return spec.sums is not None and not np.array_equal(spec.sums, spec.scale)


def _met_exactly(scale: Array, threshold: float) -> Array:
    """A scale of which a threshold is a whole multiple, where it is at least 16 times it: it is then met exactly."""
    steps = np.floor(threshold / scale)
    return np.asarray(threshold / steps if threshold and steps.min() >= 16 else scale)


def _finest_in16(bound: float | Array, finer: int) -> float:
    """The finest scale at which an int16 that is so many bits finer holds a bound, with a bit to spare in that case."""
    return float(bound / largest_of(INT16) * 2.0 ** (finer + (finer > 0)))
