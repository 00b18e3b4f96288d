"""Which integers hold which value: dtype and scale of everything before any of it is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, log2

import numpy as np

from edgekit.compress.bounds import WASTE, Bounds
from edgekit.compress.calibrate import LARGEST as ENDLESS
from edgekit.compress.functions import FUNCTIONS, domain_of, range_of
from edgekit.compress.recipes import Recipe
from edgekit.compress.stored import Array, Spec, largest_of, one_axis, tidy, whole
from edgekit.compress.terms import Constant, Dot, Memory, Scaled, Sums, Switch, Term, spiking
from edgekit.compress.weights import SMALL, Weights
from edgekit.ir import INT8, INT16, INT32, DType, Op
from edgekit.ir.ops import OPS

MOVES = ("reshape", "transpose", "expand", "slice", "gather", "windows")
STEPS = ("floor", "round")
TOP32 = 2**30  # what an int32 state is scaled to: one bit is left for sums on their way
SPIKE_ROUNDING = 0.025  # share of a threshold that the rounding of a membrane may add up to
MOST_FINER = 12  # bits below the scale of the weights that an int32 membrane gets
INT8_NOISE = 0.015  # of the root mean square of an operand that a state feeds: what rounding it to int8 may add
LEAST_OWN = 2.0**-6  # of the range of a value: the least that an element with a scale of its own has room for
FEW = 16  # elements or rows: with fewer, an int8 operand saves less than making it int8 costs


@dataclass(frozen=True, eq=False)
class _Driven:
    """A sum that spikes drive: the number it is compared with (0: none), how far it goes, weights in steps or not."""

    root: str
    terms: Sequence[Term]
    threshold: float
    reach: float
    stepped: bool = False


class Plan:
    """The `Spec` of each value, found on demand; sums are taken apart once."""

    def __init__(self, sums: Sums, bounds: Bounds, recipe: Recipe) -> None:
        self.sums, self.bounds, self.recipe = sums, bounds, recipe
        self.weights = Weights(sums, bounds, recipe)
        self.notes: dict[str, str] = {}
        self._specs: dict[str, Spec] = {}
        self._terms: dict[str, list[Term]] = {}
        self._open: set[str] = set()

    def terms(self, root: str) -> list[Term]:
        """The terms of a value that is a sum."""
        if root not in self._terms:
            self._terms[root] = self.sums.terms(root)
        return self._terms[root]

    def spec(self, name: str) -> Spec:
        """How a value is held."""
        if name not in self._specs:
            if name in self._open:  # a value that depends on itself through states alone
                return self.generic(name)
            self._open.add(name)
            self._specs[name] = self._find(name)
            self._open.discard(name)
        return self._specs[name]

    def _find(self, name: str) -> Spec:
        sums = self.sums
        if name in sums.step.inputs:
            return self._input(name)
        if name in sums.graph.state_names:
            return self._state(name)
        data = sums.data(name)
        if data is not None:
            largest = max(float(np.abs(data).max(initial=0.0)), 1e-30)
            return Spec(INT16, np.asarray(largest / largest_of(INT16)), bound=largest, reason="constant")
        op = sums.made[name]
        if sums.is_spike(name):
            return Spec(INT8, np.ones(()), bound=1.0, reason="spike")
        if sums.is_sum(name):
            return self._sum(name)
        if op.kind in MOVES or (op.kind == "pad" and self._pads_within(op)):
            return self._moved(name)
        if op.kind in STEPS and self.bounds.of(name, 1.0)[0] <= largest_of(INT16):
            return Spec(INT16, np.ones(()), bound=self.bounds.of(name, 1.0)[0], reason="whole numbers")
        if self._is_hidden(name):
            return self._hidden(name)
        if op.kind in FUNCTIONS:
            top = range_of(op.kind)
            spec = self.generic(name, 16)
            return (
                Spec(INT16, np.asarray(top / largest_of(INT16)), bound=top, reason="bounded function") if top else spec
            )
        return self.generic(name)

    # --- values that no sum makes ---

    def generic(self, name: str, bits: int | None = None, least: float = 0.0) -> Spec:
        """A uniform symmetric scale from the bound of a value, with room for `least` in any case."""
        states = [name] if name in self.sums.graph.state_names else self.sums.states_of(name)
        if bits is None:
            bits = self._state_bits(states) if states else self.recipe.operand_bits
        bound, reason = self.bounds.of(name, 1.0 if bits == 8 else 2.0)
        if bound < least:
            bound, reason = least, "calibrated, of its parts"
        top = TOP32 if bits == 32 else largest_of(whole(bits))
        return Spec(whole(bits), np.asarray(bound / top), bound=bound, reason=reason)

    def _own_scales(self, name: str) -> Spec:
        """An int8 state: each element of the last axis on a scale of its own, as far as its range is not tiny."""
        uniform = self.generic(name, 8)
        seen = self.bounds.seen(name)
        largest = np.minimum(np.maximum(np.abs(seen.lo), np.abs(seen.hi)), uniform.bound)
        axes = tuple(range(largest.ndim - 1))
        own = np.maximum(largest.max(axis=axes, keepdims=True), uniform.bound * LEAST_OWN)
        scale = tidy(self.recipe.scales.get(name, np.broadcast_to(own / largest_of(INT8), largest.shape)))
        return Spec(INT8, scale, bound=uniform.bound, reason=uniform.reason)

    def _input(self, name: str) -> Spec:
        bits = self.operand_bits(name) if self._feeds_linears_only(name) else self.recipe.operand_bits
        seen = self.bounds.seen(name)
        if seen.whole and seen.largest <= largest_of(INT8):
            return Spec(INT8, np.ones(()), bound=seen.largest, reason="whole numbers")
        top = largest_of(whole(bits))
        if self.slides(name):  # what windows see of each element differs
            return Spec(
                whole(bits), np.asarray(max(seen.clip, 1e-30) / top), bound=seen.clip, reason="calibrated, clipped"
            )
        largest = np.minimum(np.maximum(np.abs(seen.lo), np.abs(seen.hi)), seen.clip)
        shape = self.sums.tensor(name).shape
        if one_axis(largest, shape) is None:
            largest = largest.max(axis=tuple(range(len(shape) - 1)), keepdims=True)
        largest = np.broadcast_to(np.maximum(largest, seen.clip * LEAST_OWN), shape)
        scale = tidy(self.recipe.scales.get(name, largest / top))
        return Spec(whole(bits), scale, bound=seen.clip, reason="calibrated, clipped")

    def _state(self, name: str) -> Spec:
        value = self.sums.step.updates.get(name)
        if value is None or value == name or self.sums.data(value) is not None:
            return self.generic(name)
        spec, shape = self.spec(value), self.sums.tensor(name).shape
        bits = self.recipe.states.get(name, spec.dtype.bits)
        first = next(s.init for s in self.sums.graph.states if s.tensor == name)
        fits = bool((np.abs(first) <= spec.scale * largest_of(spec.dtype) * 1.001).all())
        if spec.zero or one_axis(spec.scale, shape) is None or bits != spec.dtype.bits or not fits:
            return self.generic(name)
        return spec

    def _moved(self, name: str) -> Spec:
        op = self.sums.made[name]
        inner, shape = self.spec(op.inputs[0]), self.sums.tensor(op.inputs[0]).shape
        if inner.uniform:
            return Spec(inner.dtype, inner.scale, inner.zero, bound=inner.bound, reason=inner.reason)
        full = np.broadcast_to(inner.scale, shape)[None]
        moved = OPS[op.kind].evaluate([full], op.attrs, [self.sums.tensor(op.inputs[0])])[0][0]
        return Spec(inner.dtype, tidy(moved), inner.zero, bound=inner.bound, reason=inner.reason)

    def _pads_within(self, op: Op) -> bool:
        """Whether a border fits the integers of what it surrounds: zero, or what no value of those is below or above.

        Where the largest of windows is taken, a border is as low as a float can be; it then is the lowest integer.
        """
        inner, value = self.spec(op.inputs[0]), float(op.attrs.get("value", 0.0))
        return inner.uniform and (abs(value) <= float(inner.scale) * largest_of(inner.dtype) or abs(value) > ENDLESS)

    def slides(self, name: str) -> bool:
        """Whether windows slide over a value, as it is or moved."""
        found = [name]
        for value in found:  # grows while it is walked
            for op in self.sums.readers.get(value, []):
                if op.kind == "windows":
                    return True
                found += op.outputs if op.kind in (*MOVES, "pad") else ()
        return False

    def _feeds_linears_only(self, name: str) -> bool:
        leaves = name in self.sums.step.outputs or name in self.sums.step.updates.values()
        readers = self.sums.readers.get(name, [])
        return not leaves and all(op.kind == "linear" and op.inputs[2:] != (name,) for op in readers)

    def operand_bits(self, name: str) -> int:
        """Bits of a value as the operand of linears: `hidden_bits` where large matrices take it and no state feels it.

        A value that a state integrates, or is, needs few rare peaks, so that int8 hardly adds noise to it. A state as
        it is keeps its bits: what it feeds may be itself, and the noise would go round. What a relu makes comes out as
        int8 at no cost, however small the matrix.
        """
        if name in self.recipe.operands:
            return self.recipe.operands[name]
        size = self.sums.tensor(name).size
        weights = sum(self.sums.tensor(w).size for w in self._weights_on(name))
        if not self._is_hidden(name) and (weights <= SMALL or size < FEW or weights < FEW * size):
            return self.recipe.operand_bits
        if not self._integrates(name):
            return self.recipe.hidden_bits
        seen = self.bounds.seen(name)
        noise = seen.clip / largest_of(INT8) / np.sqrt(12)
        even = self.sums.view_of(name) not in self.sums.graph.state_names and noise < INT8_NOISE * seen.rms
        return self.recipe.hidden_bits if even else self.recipe.operand_bits

    def _weights_on(self, name: str) -> list[str]:
        """The matrices that a value or a view of it goes through."""
        views = {name, self.sums.view_of(name)}
        return [
            op.inputs[1]
            for op in self.sums.step.ops
            if op.kind == "linear" and (op.inputs[0] in views or self.sums.view_of(op.inputs[0]) in views)
        ]

    def _integrates(self, name: str) -> bool:
        root = self.sums.view_of(name)
        if root in self.sums.step.inputs:
            return any(s.reset == "reset" for s in self.sums.graph.states)  # plastic weights integrate no input
        if root in self.sums.graph.state_names or self.sums.states_of(root):
            return True
        if not self.sums.is_sum(root):
            return False
        return any(isinstance(t, Scaled) and self._integrates(t.value) for t in self.terms(root))

    def _is_hidden(self, name: str) -> bool:
        made = self.sums.made.get(name)
        plain = self._feeds_linears_only(name) and not self.sums.feeds_plastic(name)
        return made is not None and made.kind == "relu" and plain

    def _hidden(self, name: str) -> Spec:
        """A value that is never negative and feeds linears alone: all 256 values of an int8, its zero at -128."""
        if self.operand_bits(name) != 8:
            return self.generic(name, 16)
        bound, reason = self.bounds.of(name, 1.0)
        return Spec(INT8, np.asarray(bound / 255), -128, bound=bound, reason=reason)

    # --- sums ---

    def _state_bits(self, states: Sequence[str]) -> int:
        return max((self.recipe.states.get(s, self.recipe.state_bits) for s in states), default=16)

    def _sum(self, root: str) -> Spec:
        terms = self.terms(root)
        alone = terms[0]
        if len(terms) == 1 and isinstance(alone, Scaled) and self._decayed(alone):
            inner = self.spec(alone.value)  # it stays on the state's scale
            return Spec(inner.dtype, inner.scale, bound=inner.bound, reason=f"as {alone.value}")
        if any(spiking(t, self.sums) for t in terms):
            return self._spiking(root, terms)
        states = self.sums.states_of(root)
        if states:
            return self._integrator(root, states, terms)
        domain = self._function_domain(root)
        if domain is not None:
            bound = domain if domain <= WASTE * self.bounds.seen(root).clip else self.bounds.of(root, 2.0)[0]
            bound = max(bound, self._parts(root, terms))
            return Spec(INT16, np.asarray(bound / largest_of(INT16)), bound=bound, reason="domain of its function")
        return self.generic(root, 16, self._parts(root, terms))

    def _parts(self, root: str, terms: Sequence[Term]) -> float:
        """The largest magnitude of what a sum is added up from, each part of which saturates: parts may cancel out.

        Real products are one part. Of that only the sum and the other parts were seen, and what the weights allow.
        """
        known = [np.abs(t.factor).max() * self.bounds.seen(t.value).largest for t in terms if isinstance(t, Scaled)]
        known += [max(np.abs(t.on).max(), np.abs(t.off).max()) for t in terms if isinstance(t, Switch)]
        products = [t for t in terms if isinstance(t, Dot)]
        memories = [t for t in terms if isinstance(t, Memory)]
        unknown = [products] * bool(products) + [[m.a, m.b] for m in memories]
        if len(known) + len(unknown) < 2:
            return 0.0
        reach = [sum(self._reach(dot) for dot in dots) for dots in unknown]
        if len(reach) == 1:
            reach = [min(reach[0], self.bounds.seen(root).largest + sum(known))]
        return float(max([*known, *reach]))

    def _reach(self, dot: Dot) -> float:
        largest = 1.0 if self.sums.is_spike(dot.x) else self.bounds.seen(dot.x).largest
        return float(np.abs(dot.weights).sum(axis=1).max() * largest)

    def _decayed(self, term: Scaled) -> bool:
        return term.value in self.sums.graph.state_names and float(np.abs(term.factor).max()) <= 1

    def _function_domain(self, root: str) -> float | None:
        readers = self.sums.readers.get(root, [])
        leaves = root in self.sums.step.outputs or root in self.sums.step.updates.values()
        domains = [domain_of(op.kind) for op in readers]
        return max(d for d in domains if d) if domains and all(domains) and not leaves else None

    def decay(self, root: str) -> float:
        """The largest factor by which a sum takes over its own state, 0 where it does not."""
        states = self.sums.states_of(root)
        return max((self._factor_to(t.value, states) * np.abs(t.factor).max() for t in self._scaled(root)), default=0.0)

    def _scaled(self, root: str) -> list[Scaled]:
        return [t for t in self.terms(root) if isinstance(t, Scaled)]

    def _factor_to(self, name: str, states: Sequence[str]) -> float:
        if name in states:
            return 1.0
        if name in self.sums.made and self.sums.is_sum(name):
            inner = self.terms(name)
            if len(inner) == 1 and isinstance(inner[0], Scaled) and inner[0].value in states:
                return float(np.abs(inner[0].factor).max())
        return 0.0

    def _integrator(self, root: str, states: Sequence[str], terms: Sequence[Term]) -> Spec:
        bits, decay = self._state_bits(states), self.decay(root)
        known = any(s in self.recipe.states for s in states)
        roundings = sum(isinstance(t, Scaled) for t in terms) + any(isinstance(t, Dot | Memory) for t in terms)
        stays = 0.5 * roundings / (1 - decay) if decay < 1 else np.inf
        if bits == 16 and not known and stays > self.recipe.rounding * largest_of(INT16):
            self.notes[root] = f"decays by {decay:.5g} a step: rounding could stay at {stays:.0f} of 32767, so int32"
            bits = 32
        return self._own_scales(root) if bits == 8 else self.generic(root, bits, self._parts(root, terms))

    def _spiking(self, root: str, terms: Sequence[Term]) -> Spec:
        """A membrane or current that spikes add weights to: on the scale of those weights, or 2^-k of it."""
        states = self.sums.states_of(root)
        bits = self._state_bits(states) if states else 16
        threshold = self._threshold(root, states)
        proven = self._lif(root, terms, threshold)
        reach = 2 * self.bounds.seen(root).largest if proven is None else float(proven.max())
        driven = _Driven(root, terms, threshold, reach)
        if bits == 16:
            found = self._in16(driven, proven)
            apart = any(form.alone for form in self.weights.forms(self.weights.of_spikes(terms)))
            if (found is None or _is_finer(found) or apart) and self.weights.can_step(terms):
                found = self._in16(replace(driven, stepped=True), proven) or found
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

    def _in16(self, driven: _Driven, proven: Array | None) -> Spec | None:
        """A sum of spikes in int16; None where that does not hold it, and what is rounded on the way into it."""
        scale = self._sums(driven, 16)
        finer = self._finer_bits(driven, scale)
        if (scale < _finest_in16(self.bounds.of(driven.root, 1.0)[0], finer)).any():
            return None
        held, reason = scale * largest_of(INT16) * 2.0**-finer, "saturates: a proof would waste bits"
        if proven is not None and (proven <= held).all():
            held, reason = proven, "proven"
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
        terms, decay = driven.terms, self.decay(driven.root)
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

    def _threshold(self, root: str, states: Sequence[str]) -> float:
        """The number that a membrane is compared with, 0 where there is not one positive number."""
        found = []
        for name in (root, *states):
            for op in self.sums.readers.get(name, []):
                if op.kind in ("gt", "ge") and op.inputs[0] == name:
                    data = self.sums.data(op.inputs[1])
                    found.append(float(data.flat[0]) if data is not None and np.unique(data).size == 1 else 0.0)
        return found[0] if found and min(found) > 0 and len(set(found)) == 1 else 0.0

    def _lif(self, root: str, terms: Sequence[Term], threshold: float) -> Array | None:
        """A bound of a leaky membrane with subtractive reset, whatever it is fed; None for anything else."""
        decay = self.decay(root)
        if not 0 < decay < 1:
            return None
        up, down = self.bounds.input_sums(terms)
        high = np.maximum(decay * threshold + up, (up - threshold) / (1 - decay))
        reach = np.maximum(high, (down + threshold) / (1 - decay))
        return reach if np.isfinite(reach).all() else None

    def bound(self, name: str) -> float:
        """The magnitude that there is room for."""
        return float(self.spec(name).bound)

    def reason(self, name: str) -> str:
        """Why a value is held as it is."""
        return self.notes.get(name, self.spec(name).reason)


def _is_finer(spec: Spec) -> bool:
    return spec.sums is not None and not np.array_equal(spec.sums, spec.scale)


def _met_exactly(scale: Array, threshold: float) -> Array:
    """A scale of which a threshold is a whole multiple, where it is at least 16 times it: it is then met exactly."""
    steps = np.floor(threshold / scale)
    return np.asarray(threshold / steps if threshold and steps.min() >= 16 else scale)


def _finest_in16(bound: float | Array, finer: int) -> float:
    """The finest scale at which an int16 that is so many bits finer holds a bound, with a bit to spare in that case."""
    return float(bound / largest_of(INT16) * 2.0 ** (finer + (finer > 0)))
