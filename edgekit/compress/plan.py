"""Which integers hold which value: dtype and scale of everything before any of it is computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit.compress.bounds import WASTE, Bounds
from edgekit.compress.calibrate import LARGEST as ENDLESS
from edgekit.compress.functions import FUNCTIONS, domain_of, range_of
from edgekit.compress.membranes import Membranes
from edgekit.compress.readers import MOVES, feeds_linears_only, is_hidden, slides, weights_on
from edgekit.compress.recipes import Recipe
from edgekit.compress.stored import TOP32, Spec, largest_of, one_axis, tidy, whole
from edgekit.compress.terms import Dot, Memory, Scaled, Sums, Switch, Term, spiking
from edgekit.compress.weights import SMALL, Weights
from edgekit.ir import INT8, INT16, Op
from edgekit.ir.ops import OPS

STEPS = ("floor", "round")
INT8_NOISE = 0.015  # of the root mean square of an operand that a state feeds: what rounding it to int8 may add
LEAST_OWN = 2.0**-6  # of the range of a value: the least that an element with a scale of its own has room for
FEW = 16  # elements or rows: with fewer, an int8 operand saves less than making it int8 costs


class Plan:
    """The `Spec` of each value, found on demand; sums are taken apart once."""

    def __init__(self, sums: Sums, bounds: Bounds, recipe: Recipe) -> None:
        self.sums, self.bounds, self.recipe = sums, bounds, recipe
        self.weights = Weights(sums, bounds, recipe)
        self._membranes = Membranes(sums, bounds, recipe, self.weights)
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
        if is_hidden(self.sums, name):
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
        bits = self.operand_bits(name) if feeds_linears_only(self.sums, name) else self.recipe.operand_bits
        seen = self.bounds.seen(name)
        if seen.whole and seen.largest <= largest_of(INT8):
            return Spec(INT8, np.ones(()), bound=seen.largest, reason="whole numbers")
        top = largest_of(whole(bits))
        if slides(self.sums, name):  # what windows see of each element differs
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

    def operand_bits(self, name: str) -> int:
        """Bits of a value as the operand of linears: `hidden_bits` where large matrices take it and no state feels it.

        A value that a state integrates, or is, needs few rare peaks, so that int8 hardly adds noise to it. A state as
        it is keeps its bits: what it feeds may be itself, and the noise would go round. What a relu makes comes out as
        int8 at no cost, however small the matrix.
        """
        if name in self.recipe.operands:
            return self.recipe.operands[name]
        size = self.sums.tensor(name).size
        weights = sum(self.sums.tensor(w).size for w in weights_on(self.sums, name))
        if not is_hidden(self.sums, name) and (weights <= SMALL or size < FEW or weights < FEW * size):
            return self.recipe.operand_bits
        if not self._integrates(name):
            return self.recipe.hidden_bits
        seen = self.bounds.seen(name)
        noise = seen.clip / largest_of(INT8) / np.sqrt(12)
        even = self.sums.view_of(name) not in self.sums.graph.state_names and noise < INT8_NOISE * seen.rms
        return self.recipe.hidden_bits if even else self.recipe.operand_bits

    def _integrates(self, name: str) -> bool:
        root = self.sums.view_of(name)
        if root in self.sums.step.inputs:
            return any(s.reset == "reset" for s in self.sums.graph.states)  # plastic weights integrate no input
        if root in self.sums.graph.state_names or self.sums.states_of(root):
            return True
        if not self.sums.is_sum(root):
            return False
        return any(isinstance(t, Scaled) and self._integrates(t.value) for t in self.terms(root))

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
        states = self.sums.states_of(root)
        if any(spiking(t, self.sums) for t in terms):
            return self._membranes.spec(root, terms, self._state_bits(states), self.decay(root))
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

    def bound(self, name: str) -> float:
        """The magnitude that there is room for."""
        return float(self.spec(name).bound)

    def reason(self, name: str) -> str:
        """Why a value is held as it is."""
        return self.notes.get(name, self.spec(name).reason)
