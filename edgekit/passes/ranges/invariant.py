"""An interval that one step cannot leave, for a state that elementwise ops alone carry from step to step.

Leaky integrators and spiking membranes are of this kind. A comparison that reads the state splits the step in two
cases, fired and not, each with what the comparison says of its operand: that is what bounds a membrane whose reset is
a subtraction. The interval is searched, then proven by one step with exact endpoints: it holds the first value, and
its image lies within it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from edgekit.passes.ranges.forward import Known, apply
from edgekit.passes.ranges.nodes import Node, Step
from edgekit.passes.ranges.values import Array, Interval, limits, outside

MOST_SPLITS = 3
FIRST_STEPS = 4
GROWTHS = 80  # both sides may be doubled in turn from one LSB to the ends of int32, and then some
TURNS = (True, False, True, False)  # upper and lower side: a lower upper bound may allow a higher lower one
FLIPPED = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge"}
OPPOSITE = {"gt": "le", "ge": "lt", "lt": "ge", "le": "gt"}


@dataclass(frozen=True, eq=False)
class Split:
    """A comparison within the way of a state: which operand it narrows, against what."""

    node: Node
    operand: str
    against: str
    kind: str  # with the operand on the left

    def narrowed(self, x: Interval, y: Interval, fired: bool) -> Interval:
        """What is left of the operand if the comparison fired, or if it did not."""
        kind = self.kind if fired else OPPOSITE[self.kind]
        if kind in ("gt", "ge"):
            return Interval(np.maximum(x.lo, y.lo + (kind == "gt")), x.hi)
        return Interval(x.lo, np.minimum(x.hi, y.hi - (kind == "lt")))


@dataclass(frozen=True, eq=False)
class Image:
    """Where one step takes an interval; exact results on the way; and which of them saturate or wrap."""

    state: Interval
    exact: Known
    clipped: list[str]


@dataclass(frozen=True, eq=False)
class _Case:
    """The same if the comparisons say what is assumed, which only the possible elements allow."""

    state: Interval
    exact: Known
    clipped: list[str]
    possible: Array

    def only(self, x: Interval) -> Interval:
        """Bounds of the possible elements, nothing for the others."""
        return Interval(np.where(self.possible, x.lo, np.inf), np.where(self.possible, x.hi, -np.inf))


class Recurrence:
    """How one state follows from itself, all else within what is known of it."""

    def __init__(self, step: Step, state: str, nodes: list[Node], known: Mapping[str, Interval]) -> None:
        self.step, self.state, self.nodes, self.known = step, state, nodes, known
        self.value = step.entry.updates[state]
        self.shape, self.limits = step.tensors[state].shape, limits(step.tensors[state].dtype)
        self.splits = self._splits()

    def _splits(self) -> list[Split]:
        made, found = {n.output for n in self.nodes} | {self.state}, []
        for node in self.nodes:
            if node.kind not in FLIPPED:
                continue
            x, y = node.inputs
            if x in made and y not in made and self.step.tensors[x].shape == self.shape:
                found.append(Split(node, x, y, node.kind))
            elif y in made and x not in made and self.step.tensors[y].shape == self.shape:
                found.append(Split(node, y, x, FLIPPED[node.kind]))
        return found[:MOST_SPLITS]

    def image(self, at: Interval) -> Image:
        """One step from anywhere within an interval."""
        names = [s.node.output for s in self.splits]
        nothing = Interval(np.full(self.shape, np.inf), np.full(self.shape, -np.inf))
        exact, after, clipped = dict[str, Interval](), nothing, list[str]()
        for answers in product((False, True), repeat=len(names)):
            case = self._case(at, dict(zip(names, answers, strict=True)))
            clipped += [name for name in case.clipped if name not in clipped]
            after = after.hull(case.only(case.state))
            exact = {name: exact.get(name, nothing).hull(case.only(x)) for name, x in case.exact.items()}
        return Image(after, exact, clipped)

    def _case(self, at: Interval, assumed: Mapping[str, bool]) -> _Case:
        values: Known = {**self.known, self.state: at}
        possible = self._narrow(self.state, values, assumed)
        exact: Known = {}
        clipped: list[str] = []
        for node in self.nodes:
            if node.output in assumed:
                fired = np.full(self.shape, float(assumed[node.output]))
                values[node.output] = exact[node.output] = Interval(fired, fired)
                continue
            result = apply(self.step, node, values)
            values[node.output] = exact[node.output] = result.value
            if result.exact is not None:
                exact[node.output] = result.exact
                if (outside(result.exact, self.step.tensors[node.output].dtype) & possible).any():
                    clipped.append(node.output)
            possible = possible & self._narrow(node.output, values, assumed)
        return _Case(values[self.value].broadcast(self.shape), exact, clipped, possible)

    def _narrow(self, name: str, values: Known, assumed: Mapping[str, bool]) -> Array:
        """Narrow a value by what the comparisons of it are assumed to say; False where nothing is left of it."""
        possible = np.ones(self.shape, bool)
        for split in self.splits:
            if split.operand == name:
                x, y = values[name].broadcast(self.shape), values[split.against]
                narrowed = split.narrowed(x, y, assumed[split.node.output])
                empty = narrowed.lo > narrowed.hi
                # an impossible element keeps its interval, so that no op sees ends in the wrong order
                values[name] = Interval(np.where(empty, x.lo, narrowed.lo), np.where(empty, x.hi, narrowed.hi))
                possible &= ~empty
        return possible

    # --- the search ---

    def least(self, init: Interval) -> Interval:
        """A small interval that holds the first value and that no step leaves, found by search."""
        inner = init.broadcast(self.shape)
        for _ in range(FIRST_STEPS):  # every one of these lies within the least such interval
            inner = inner.hull(self.image(inner).state)
        return self._shrunk(inner, self._grown(inner))

    def _grown(self, at: Interval) -> Interval:
        low, high = self.limits
        below, above = np.zeros(self.shape), np.zeros(self.shape)
        lo, hi = at.lo, at.hi
        for _ in range(GROWTHS):
            image = self.image(Interval(lo, hi)).state
            down, up = image.lo < lo, image.hi > hi
            if not down.any() and not up.any():
                return Interval(lo, hi)
            below = np.where(down, np.maximum(2 * below, 1), below)
            above = np.where(up, np.maximum(2 * above, 1), above)
            lo, hi = np.maximum(at.lo - below, low), np.minimum(at.hi + above, high)
        return Interval(np.full(self.shape, low), np.full(self.shape, high))

    def _shrunk(self, inner: Interval, outer: Interval) -> Interval:
        """Between an interval within the least closed one and a closed one, by halving either side.

        Every element is searched by itself: none of them reads another one's interval.
        """
        lo, hi = outer.lo, outer.hi
        for upper in TURNS:
            near, far = (inner.hi, hi) if upper else (inner.lo, lo)
            while (near != far).any():
                middle = np.floor((near + far) / 2) if upper else np.ceil((near + far) / 2)
                trial = Interval(lo, middle) if upper else Interval(middle, hi)
                good = trial.holds(self.image(trial).state)
                far, near = np.where(good, middle, far), np.where(good, near, middle + (1 if upper else -1))
            lo, hi = (lo, far) if upper else (far, hi)
        return Interval(lo, hi)
