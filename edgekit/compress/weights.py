"""In which integers matrices are held, and the scale that those share which spikes go through to the same sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgekit.compress.accumulate import ALIKE
from edgekit.compress.bounds import Bounds
from edgekit.compress.forms import WIDTHS, Form, levels_fault
from edgekit.compress.recipes import Recipe
from edgekit.compress.stored import Array, largest_of
from edgekit.compress.terms import Dot, Memory, Sums, Term, spiking
from edgekit.errors import UsageError
from edgekit.ir import INT16

SUMS16 = 32600  # what sums in int16 are scaled to, less than 32767 because of rounding
SMALL = 2048  # weights: a smaller matrix of reals is kept in int16, operand and all, where it costs next to nothing
STEPPED = WIDTHS[8].bits  # bits that steps are held in
STEPS = {4: 16}  # by which a sum is finer than weights of so few bits, which are added to it as int8
FINER_THAN_ALONE = 4.0  # times: a membrane all of whose weights are added up apart from it


class Weights:
    """The form of each matrix of a step, by a recipe."""

    def __init__(self, sums: Sums, bounds: Bounds, recipe: Recipe) -> None:
        self.sums, self.bounds, self.recipe = sums, bounds, recipe

    def bits(self, dot: Dot, feedback: bool = False) -> int:
        """Bits of a matrix: its own, those of a state's feedback, or those of the recipe."""
        if dot.tensor in self.recipe.weights:
            return self.recipe.weights[dot.tensor]
        if feedback:
            return self.recipe.memory_bits
        if not self.sums.is_spike(dot.x) and dot.weights.size <= SMALL:
            return 16
        return self.recipe.weight_bits

    def form(self, dot: Dot, feedback: bool = False) -> Form:
        """In which integers a matrix is held, apart from whether others of its sum have more bits."""
        recipe, name = self.recipe, dot.tensor
        levels, palette = recipe.levels.get(name), recipe.palettes.get(name)
        bits = self.bits(dot, feedback)
        if levels is not None and (fault := levels_fault(bits, levels)):  # of several rules, or of the precision
            raise UsageError(f"weights {name}", *fault)
        return Form(bits, levels, palette, recipe.units.get(name), alone=name in recipe.alone)

    def forms(self, dots: Sequence[Dot], stepped: bool = False) -> list[Form]:
        """Those of all matrices of a sum that spikes go through, few bits in steps. One with fewer bits than another is
        alone: on a common scale the other would lose its bits. Of those with more than 8 there are enough.
        """
        found = [self.form(dot) for dot in dots]
        if stepped:
            found = [replace(f, step=1 if f.alone else STEPS.get(f.bits, 1)) for f in found]
        bits = [f.bits if f.step == 1 else STEPPED for f in found]
        most = max((b for b, f in zip(bits, found, strict=True) if not f.is_fine), default=0)
        return [replace(f, alone=f.alone or b < most) for b, f in zip(bits, found, strict=True)]

    def can_step(self, terms: Sequence[Term]) -> bool:
        """Whether a sum of spikes has weights of few bits that lose none as int8 in steps, beside those of others."""
        rows = self.of_spikes(terms)
        forms = self.forms(rows, stepped=True)
        few = [(t, f) for t, f in zip(rows, forms, strict=True) if f.step > 1]
        others = [(t, f) for t, f in zip(rows, forms, strict=True) if f.step == 1 and not f.alone and not f.is_fine]
        most = min((np.median(self._finest(t, f)) for t, f in few), default=0.0)
        return bool(few) and all(np.median(self._finest(t, f)) <= ALIKE * most for t, f in others)

    def of_spikes(self, terms: Sequence[Term]) -> list[Dot]:
        """The products of a sum whose operands are spikes."""
        return [t for t in terms if isinstance(t, Dot) and self.sums.is_spike(t.x)]

    def scale(self, terms: Sequence[Term], bits: int, reach: float, stepped: bool = False) -> Array:
        """One scale per output that all weights of spikes share.

        Sums of int16 weights stay within int16, unless an int32 state asks for all of their bits; `reach` is how far
        the sum goes.
        """
        rows = self.of_spikes(terms)
        forms = self.forms(rows, stepped)
        scales = [self._finest(t, form) for t, form in zip(rows, forms, strict=True) if not form.alone]
        if forms and not scales:  # all of them are added up apart, and then rounded to a scale that is finer than any
            apart = [self._finest(t, form) for t, form in zip(rows, forms, strict=True)]
            scales = [np.minimum.reduce(apart) / FINER_THAN_ALONE]
        if bits < 32 and any(self.bits(t) == 16 for t in rows):
            up, down = (sum(np.maximum(s * t.weights, 0).sum(axis=1) for t in rows) for s in (1, -1))
            scales.append(np.maximum(up, down) / SUMS16)
        for m in (t for t in terms if isinstance(t, Memory) and spiking(t, self.sums)):
            both = np.abs(np.concatenate([m.a.weights, m.b.weights], axis=1))
            wide = both.max() / largest_of(INT16)
            scales.append(
                np.asarray(wide if bits == 32 else max(wide, both.sum(axis=1).max() / SUMS16, reach / SUMS16))
            )
        scale = np.maximum.reduce(np.broadcast_arrays(*scales)) if scales else np.ones(())
        positive = scale[scale > 0] if scale.ndim else scale.reshape(1)
        return np.where(scale > 0, scale, positive.max() if positive.size else 1.0)

    def pinned(self, terms: Sequence[Term], stepped: bool = False) -> Array | None:
        """The scale of sums of spikes whose weights are all whole numbers on scales that the recipe knows."""
        rows = self.of_spikes(terms)
        coarse = [(t, f) for t, f in zip(rows, self.forms(rows, stepped), strict=True) if not f.alone and not f.is_fine]
        found = [form.pinned(t.times, np.ones(1)) for t, form in coarse]
        scales = [scale for scale in found if scale is not None]
        memories = any(isinstance(t, Memory) and spiking(t, self.sums) for t in terms)
        return np.maximum.reduce(scales) if scales and len(scales) == len(found) and not memories else None

    def _finest(self, dot: Dot, form: Form) -> Array:
        moments = self.bounds.calibration.moments.get(dot.x)
        return form.finest(dot.weights, None if moments is None else np.diag(moments))
