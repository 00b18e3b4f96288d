"""How each state is bounded: by the first of the methods that fits it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgekit.passes.ranges.forward import Known, propagate
from edgekit.passes.ranges.gain import Gains
from edgekit.passes.ranges.invariant import Recurrence
from edgekit.passes.ranges.leak import Leak, leak_of
from edgekit.passes.ranges.linear import is_linear, system_of
from edgekit.passes.ranges.nodes import BOUNDED, Node, Step, moves
from edgekit.passes.ranges.paths import Group, between, elementwise_way
from edgekit.passes.ranges.transfer import SATURATING
from edgekit.passes.ranges.values import Array, Interval, Method, Overflow, StateProof, limits, outside, whole_range
from edgekit.passes.ranges.widen import widened

Proofs = dict[str, StateProof]
NAMED = 3  # values that a note lists


@dataclass(frozen=True, eq=False)
class Proven:
    """The proofs of a group, and bounds of exact results on its way that are tighter than intervals alone give."""

    states: Proofs
    exact: Known = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Gain:
    """What the L1 gain of a linear recurrence says: `why` it proves nothing, or bounds that nothing on its way clips.

    `rounding` holds as long as nothing saturates; None where nothing is known.
    """

    why: str
    text: str = ""
    bounds: Known = field(default_factory=dict)
    exact: Known = field(default_factory=dict)
    rounding: Mapping[str, Array] | None = None


class Prover:
    """Bounds of one group of states, given sound bounds of every value (`known`, whole ranges at worst)."""

    def __init__(self, step: Step, known: Known, gains: Gains, elsewhere: Collection[str] = ()) -> None:
        self.step, self.known, self.gains, self.elsewhere = step, known, gains, elsewhere
        self.init = {s.tensor: Interval.of(s.init) for s in step.graph.states}

    def prove(self, group: Group) -> Proven:
        """Bounds of the group's states at all times."""
        first = group.states[0]
        if any(s in self.elsewhere for s in group.states):
            return Proven({s: self._anything(s) for s in group.states})
        if all(limits(self.step.tensors[s].dtype) == (0.0, 1.0) for s in group.states):
            return Proven({s: self._spike(s) for s in group.states})
        if not group.recurs:
            return Proven({first: self._carried(first)})
        if len(group.states) == 1:
            way = elementwise_way(self.step, first)
            if way is not None:
                return self._invariant(first, way)
        if is_linear(self.step, group.nodes, group.states):
            return self._linear(group)
        return self._interval(group, "no closed form", None)

    # --- no recurrence ---

    def _anything(self, state: str) -> StateProof:
        whole = whole_range(self.step.tensors[state])
        return StateProof(state, whole.lo, whole.hi, "interval", "what learning makes of it")

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
        name = self.step.entry.updates.get(state, state)
        via: Method = "interval"
        node = self.step.made.get(name)
        while node is not None and moves(node.kind) and len(node.inputs) == 1:
            name, node = node.inputs[0], self.step.made.get(node.inputs[0])
        if node is not None and node.kind in BOUNDED:
            via = "bounded function"
        note = f"written by {node.kind} in each step" if node is not None else f"holds {name}"
        return StateProof(state, bounds.lo, bounds.hi, via, note)

    # --- elementwise recurrences ---

    def _invariant(self, state: str, way: list[Node]) -> Proven:
        recurrence = Recurrence(self.step, state, way, self.known)
        bounds = recurrence.least(self.init[state])
        image = recurrence.image(bounds)
        leak = leak_of(self.step, state, way)
        text = leak.text if leak is not None else "carried by elementwise ops"
        if recurrence.splits:
            text += ", reset where it fires"
        method: Method = "invariant"
        rounding = None
        if leak is not None and leak.is_whole and not recurrence.splits:
            method, rounding = "l1 gain", leak.residue
        wrapping = [n for n in image.clipped if not saturating(self.step, n)]
        if wrapping:
            method, text, rounding = "interval", f"{text}: {_listed(wrapping)} may wrap", None
        elif image.clipped:
            if method == "l1 gain":
                text += f", {self._gain((state,), way).why}"
            method, text = "saturates", f"{text}: {_saturate(image.clipped)}"
        proof = StateProof(state, bounds.lo, bounds.hi, method, text, rounding, _residue(leak))
        return Proven({state: proof}, image.exact)

    # --- linear recurrences ---

    def _linear(self, group: Group) -> Proven:
        """By L1 gain; else of the loop cut open where it saturates; else whatever saturation leaves."""
        whole = self._gain(group.states, group.nodes)
        if not whole.why:
            return self._proven(whole, "l1 gain", whole.text)
        cuts, nodes = self._cut(group)
        if not cuts:
            return self._interval(group, whole.why, whole.rounding)
        part = self._gain(group.states, nodes)
        if part.why:
            return self._interval(group, f"closed loop with {whole.why}", whole.rounding)
        note = f"closed loop with {whole.why}: {_saturate(cuts)}; {part.text}"
        return self._proven(part, "saturates", note)

    def _proven(self, gain: _Gain, method: Method, note: str) -> Proven:
        proofs = {}
        for state, bounds in gain.bounds.items():
            rounding = None if gain.rounding is None else gain.rounding[state]
            proofs[state] = StateProof(state, bounds.lo, bounds.hi, method, note, rounding, rounding)
        return Proven(proofs, gain.exact)

    def _gain(self, states: Sequence[str], nodes: list[Node]) -> _Gain:
        step = self.step
        system = system_of(step, states, nodes, self.known)
        if system is None:
            return _Gain("recurrence too large to be written out")
        init = np.concatenate([self.init[s].lo.reshape(-1) for s in states])
        found = self.gains.reach(system, init)
        if found is None:
            return _Gain(f"no contraction found ({self.gains.text(system)})")
        bounds, rounding = self._split(states, found.states), self._parts(states, found.rounding)
        if any(outside(b, step.tensors[s].dtype).any() for s, b in bounds.items()):
            times = max((b.largest() / limits(step.tensors[s].dtype)[1]).max() for s, b in bounds.items())
            return _Gain(f"L1 gain {times:.3g} x the range", rounding=rounding)
        made = {n.output for n in nodes}  # what is known of other values is what they are after they wrapped
        exact = {step.entry.updates[s]: b for s, b in bounds.items() if step.entry.updates[s] in made}
        faults = self._faults(nodes, bounds, exact)
        if faults:  # intervals may say less of values on the way than gains
            seen = [n.output for n in nodes if n.output not in exact]
            more = system_of(step, states, nodes, self.known, seen)
            reached = self.gains.reach(more, init) if more is not None else None
            if reached is not None:
                exact |= {n: self._whole(n, b) for n, b in reached.observed.items()}
                faults = self._faults(nodes, bounds, exact)
        if faults:
            return _Gain(f"an L1 gain that {_listed([f.tensor for f in faults])} does not hold", rounding=rounding)
        text = f"{self.gains.text(system)}, {found.steps} steps summed"
        return _Gain("", text, bounds, exact, rounding)

    def _split(self, states: Sequence[str], bounds: Interval) -> Known:
        ends = zip(
            states, self._parts(states, bounds.lo).values(), self._parts(states, bounds.hi).values(), strict=True
        )
        return {state: self._whole(state, Interval(lo, hi)) for state, lo, hi in ends}

    def _parts(self, states: Sequence[str], joined: Array) -> dict[str, Array]:
        parts, at = {}, 0
        for state in states:
            tensor = self.step.tensors[state]
            parts[state] = joined[at : at + tensor.size].reshape(tensor.shape)
            at += tensor.size
        return parts

    def _whole(self, name: str, bounds: Interval) -> Interval:
        """The whole numbers within real bounds, in the shape of a value."""
        shape = self.step.tensors[name].shape
        return Interval(np.ceil(bounds.lo).reshape(shape), np.floor(bounds.hi).reshape(shape))

    def _faults(self, nodes: Sequence[Node], bounds: Known, exact: Known) -> list[Overflow]:
        """Values on the way that may not fit, if the states keep within bounds."""
        _, overflows, saturations = propagate(self.step, nodes, {**self.known, **bounds}, exact)
        return [*overflows, *saturations]

    def _cut(self, group: Group) -> tuple[list[str], list[Node]]:
        """Values in a loop that saturate, other than the states themselves, and the nodes left without them."""
        step = self.step
        ends = {step.entry.updates[s] for s in group.states}
        for node in reversed(group.nodes):  # what only moves a saturated value into the state is no cut
            if node.output in ends and moves(node.kind):
                ends.update(node.inputs)
        whole = {s: whole_range(step.tensors[s]) for s in group.states}
        faults = [f.tensor for f in self._faults(group.nodes, whole, {})]
        cuts = [f for f in faults if f not in ends and saturating(step, f)]

        def operands(node: Node) -> tuple[str, ...]:
            return () if node.output in cuts else step.growing_operands(node)

        return cuts, between(step, group.states, [step.entry.updates[s] for s in group.states], operands)

    # --- whatever else ---

    def _interval(self, group: Group, why: str, rounding: Mapping[str, Array] | None) -> Proven:
        found, proofs = widened(self.step, group, self.known, self.init), {}
        for state, at in found.bounds.items():
            text, left = why, None
            method: Method = "interval"
            if found.overflows:
                text += f"; {_listed(found.overflows)} may wrap"
            elif found.saturations:
                method, text = "saturates", f"{why}; {_saturate(found.saturations)}"
                left = None if rounding is None else rounding[state]
            proofs[state] = StateProof(state, at.lo, at.hi, method, text, None, left)
        return Proven(proofs)


def saturating(step: Step, name: str) -> bool:
    """Whether a value that does not fit is clipped, not wrapped."""
    node = step.made[name]
    return node.kind in SATURATING or bool(node.attrs.get("saturate", False))


def _residue(leak: Leak | None) -> Array | None:
    return leak.residue if leak is not None and np.isfinite(leak.residue).all() else None


def _saturate(names: Sequence[str]) -> str:
    return f"{_listed(names)} saturate{'s' if len(names) == 1 else ''}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"
