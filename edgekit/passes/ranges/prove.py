"""How each state is bounded: by the first of the methods that fits it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from edgekit.passes.ranges.forward import Known, propagate
from edgekit.passes.ranges.gain import Reach, reach, spectral_radius
from edgekit.passes.ranges.invariant import Recurrence
from edgekit.passes.ranges.leak import leak_of
from edgekit.passes.ranges.linear import is_linear, system_of
from edgekit.passes.ranges.nodes import BOUNDED, Node, Step
from edgekit.passes.ranges.paths import Group, between, elementwise_way
from edgekit.passes.ranges.values import Array, Interval, StateProof, limits, whole_range
from edgekit.passes.ranges.widen import widened

Proofs = dict[str, StateProof]
MOVES = ("reshape", "transpose", "expand", "slice", "gather", "concat")


class Prover:
    """Bounds of one group of states, given sound bounds of every value (`known`, whole ranges at worst)."""

    def __init__(self, step: Step, known: Known) -> None:
        self.step, self.known = step, known
        self.init = {s.tensor: Interval.of(s.init) for s in step.graph.states}

    def prove(self, group: Group) -> tuple[Proofs, Known]:
        """The proofs of a group, and exact bounds of values on its way that intervals alone would not give."""
        first = group.states[0]
        if all(limits(self.step.tensors[s].dtype) == (0.0, 1.0) for s in group.states):
            return {s: self._spike(s) for s in group.states}, {}
        if not group.recurs:
            return {first: self._carried(first)}, {}
        if len(group.states) == 1:
            way = elementwise_way(self.step, first)
            if way is not None:
                return {first: self._invariant(first, way)}, {}
        loop = ""
        if is_linear(self.step, group.nodes, group.states):
            proofs, observed, loop = self._linear(group.states, group.nodes)
            if proofs is not None:
                return proofs, observed
            proofs, observed = self._cut(group, loop)
            if proofs is not None:
                return proofs, observed
        return self._interval(group, loop), {}

    # --- no recurrence ---

    def _spike(self, state: str) -> StateProof:
        value = self._next(state)
        return StateProof(state, value.lo, value.hi, "spike", "0 or 1")

    def _next(self, state: str) -> Interval:
        value = self.step.entry.updates.get(state, state)
        shape = self.step.tensors[state].shape
        if value == state:
            return self.init[state].broadcast(shape)
        return self.known[value].broadcast(shape).hull(self.init[state])

    def _carried(self, state: str) -> StateProof:
        """A state that does not follow from itself: what is written into it, or its first value."""
        bounds = self._next(state)
        name, via = self.step.entry.updates.get(state, state), "interval"
        node = self.step.made.get(name)
        while node is not None and node.kind in MOVES and len(node.inputs) == 1:
            name, node = node.inputs[0], self.step.made.get(node.inputs[0])
        if node is not None and node.kind in BOUNDED:
            via = "bounded function"
        note = f"written by {node.kind} in each step" if node is not None else f"holds {name}"
        if not bounds.is_finite:
            note += ", which has no bound"
        return StateProof(state, bounds.lo, bounds.hi, via, note)

    # --- elementwise recurrences ---

    def _invariant(self, state: str, way: list[Node]) -> StateProof:
        recurrence = Recurrence(self.step, state, way, self.known)
        bounds = recurrence.least(self.init[state])
        image, clipped = recurrence.image(bounds)
        closed = bool(bounds.holds(image).all() and bounds.holds(self.init[state]).all())
        leak = leak_of(self.step, state, way)
        rounding = leak.rounding if leak is not None else None
        text = leak.text if leak is not None else "carried by elementwise ops"
        if recurrence.splits:
            text += ", reset where it fires"
        if not closed:  # the search gave up: the whole range is closed by itself
            whole = whole_range(self.step.tensors[state])
            return StateProof(state, whole.lo, whole.hi, "interval", f"{text}: no closed interval found")
        if not bounds.is_finite:
            count = int((~np.isfinite(bounds.lo) | ~np.isfinite(bounds.hi)).sum())
            note = f"{text}: {count} of {bounds.lo.size} grow without bound and have to saturate"
            return StateProof(state, bounds.lo, bounds.hi, "saturates", note, None)
        if clipped:
            wraps = [n for n in clipped if not saturating(self.step, n)]
            note = f"{text}: {', '.join(wraps or clipped)} {'wraps' if wraps else 'saturates'}"
            return StateProof(state, bounds.lo, bounds.hi, "interval" if wraps else "saturates", note, None)
        linear = leak is not None and leak.is_whole and not recurrence.splits
        note = f"{text}; no step leaves the interval"
        return StateProof(state, bounds.lo, bounds.hi, "l1 gain" if linear else "invariant", note, rounding)

    # --- linear recurrences ---

    def _linear(self, states: Sequence[str], nodes: list[Node]) -> tuple[Proofs | None, Known, str]:
        """Proofs by L1 gain, or why there are none."""
        step = self.step
        observe = [n.output for n in nodes if n.kind in ("linear", "memory_update", "rescale")]
        system = system_of(step, states, nodes, self.known)
        if system is None:
            return None, {}, "too large to be written out"
        init = np.concatenate([np.broadcast_to(self.init[s].lo, step.tensors[s].shape).reshape(-1) for s in states])
        radius = spectral_radius(system.F)
        found = reach(system, init) if system.w.is_finite else None
        if found is None:
            why = "inputs without bounds" if not system.w.is_finite else "a recurrence that does not contract"
            return None, {}, f"{why} (spectral radius {radius:.4g})"
        bounds = self._split(states, found.states)
        exact = {step.entry.updates[s]: b for s, b in bounds.items()}
        faults = self._faults(nodes, bounds, exact)
        if faults and any(f in observe for f in faults):  # intervals may say less of values on the way than gains
            more = system_of(step, states, nodes, self.known, [f for f in faults if f not in exact])
            found = reach(more, init) if more is not None else found
            if found is not None:
                seen = {n: _shaped(step, n, b) for n, b in found.observed.items()}
                exact |= {n: self._whole(n, b) for n, b in seen.items()}
                faults = self._faults(nodes, bounds, exact)
        assert found is not None
        note = f"L1 gain over {found.steps} steps and the rest bounded; spectral radius {radius:.4g}"
        if faults:
            most = float(found.states.largest().max())
            return None, {}, f"its L1 gain allows {most:.4g}, and {', '.join(faults)} does not hold that"
        rounding = self._rounding(states, found)
        return {s: StateProof(s, b.lo, b.hi, "l1 gain", note, rounding[s]) for s, b in bounds.items()}, exact, ""

    def _split(self, states: Sequence[str], bounds: Interval) -> dict[str, Interval]:
        found, at = {}, 0
        for state in states:
            tensor = self.step.tensors[state]
            part = slice(at, at + tensor.size)
            shaped = Interval(bounds.lo[part].reshape(tensor.shape), bounds.hi[part].reshape(tensor.shape))
            found[state] = self._whole(state, shaped)
            at += tensor.size
        return found

    def _whole(self, name: str, bounds: Interval) -> Interval:
        """Integers lie on whole numbers within real bounds."""
        if self.step.tensors[name].dtype.is_float:
            return bounds
        return Interval(np.ceil(bounds.lo), np.floor(bounds.hi))

    def _rounding(self, states: Sequence[str], found: Reach) -> dict[str, Array | None]:
        parts, at = dict[str, Array | None](), 0
        for state in states:
            tensor = self.step.tensors[state]
            part = found.rounding[at : at + tensor.size].reshape(tensor.shape)
            parts[state] = None if tensor.dtype.is_float else part
            at += tensor.size
        return parts

    def _faults(self, nodes: Iterable[Node], bounds: dict[str, Interval], exact: Known) -> list[str]:
        """Values on the way that may not fit, if the states keep within bounds."""
        _, overflows, saturations = propagate(self.step, nodes, {**self.known, **bounds}, exact)
        return [f.tensor for f in (*overflows, *saturations)]

    def _cut(self, group: Group, why: str) -> tuple[Proofs | None, Known]:
        """A loop that does not hold by itself, cut at the values in it that saturate: these have bounds of their own."""
        step = self.step
        ends = {step.entry.updates[s] for s in group.states}
        for node in reversed(group.nodes):  # what only moves a saturated value into the state is no cut
            if node.output in ends and node.kind in MOVES:
                ends.update(node.inputs)
        whole = {s: whole_range(step.tensors[s]) for s in group.states}
        cuts = [f for f in self._faults(group.nodes, whole, {}) if f not in ends and saturating(step, f)]
        if not cuts:
            return None, {}

        def operands(node: Node) -> tuple[str, ...]:
            return () if node.output in cuts else step.growing_operands(node)

        nodes = between(step, group.states, [step.entry.updates[s] for s in group.states], operands)
        proofs, observed, _ = self._linear(group.states, nodes)
        if proofs is None:
            return None, {}
        text = f"closed loop with {why}; {', '.join(cuts)} saturates, and that bounds it"
        return {
            s: StateProof(s, p.lo, p.hi, "saturates", f"{text}: {p.note}", p.rounding) for s, p in proofs.items()
        }, observed

    # --- whatever else ---

    def _interval(self, group: Group, why: str) -> Proofs:
        bounds, saturations, overflows = widened(self.step, group, self.known, self.init)
        proofs = {}
        for state, at in bounds.items():
            method = "saturates" if (saturations or not at.is_finite) and not overflows else "interval"
            text = why or "no closed form"
            if overflows:
                text += f"; {', '.join(overflows)} may wrap"
            elif saturations:
                text += f"; {', '.join(saturations)} saturates"
            elif not at.is_finite:
                text += "; grows without bound and has to saturate"
            proofs[state] = StateProof(state, at.lo, at.hi, method, text)
        return proofs


def saturating(step: Step, name: str) -> bool:
    """Whether a value that does not fit is clipped, not wrapped."""
    node = step.made[name]
    return node.kind in ("rescale", "cast") or bool(node.attrs.get("saturate", False))


def _shaped(step: Step, name: str, bounds: Interval) -> Interval:
    shape = step.tensors[name].shape
    return Interval(bounds.lo.reshape(shape), bounds.hi.reshape(shape))
