"""An interval that one step cannot leave, for a state that elementwise ops alone carry from step to step.

Leaky integrators and spiking membranes are of this kind. A comparison that reads the state splits the step in two
cases, fired and not, each with what the comparison says of its operand: that is what bounds a membrane whose reset is
a subtraction. The interval is searched, then proven by one step with exact endpoints: it holds the first value, and
its image lies within it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from edgekit.passes.ranges.forward import Known, apply
from edgekit.passes.ranges.nodes import Node, Step
from edgekit.passes.ranges.transfer import COMPARES
from edgekit.passes.ranges.values import Array, Interval, limits

MOST_SPLITS = 3
GROWTHS = 160  # doublings until an interval is given up: from far below one LSB to beyond any dtype
BISECTIONS = 60
HUGE = 1e30  # reals beyond this have no bound


@dataclass(frozen=True, eq=False)
class Split:
    """A comparison within the way of a state: which operand it narrows, against what."""

    node: Node
    operand: str
    against: str
    kind: str  # with the operand on the left

    def narrowed(self, x: Interval, y: Interval, fired: bool, whole: bool) -> Interval:
        """What is left of the operand if the comparison fired, or if it did not."""
        step = 1.0 if whole else 0.0
        kind = self.kind if fired else {"gt": "le", "ge": "lt", "lt": "ge", "le": "gt"}[self.kind]
        if kind == "gt":
            return Interval(np.maximum(x.lo, y.lo + step), x.hi)
        if kind == "ge":
            return Interval(np.maximum(x.lo, y.lo), x.hi)
        if kind == "lt":
            return Interval(x.lo, np.minimum(x.hi, y.hi - step))
        return Interval(x.lo, np.minimum(x.hi, y.hi))


class Recurrence:
    """How one state follows from itself, all else at most its present interval."""

    def __init__(self, step: Step, state: str, nodes: list[Node], known: Mapping[str, Interval]) -> None:
        self.step, self.state, self.nodes = step, state, nodes
        self.known = dict(known)
        self.value = step.entry.updates[state]
        tensor = step.tensors[state]
        self.shape, self.is_real = tensor.shape, tensor.dtype.is_float
        self.limits = limits(tensor.dtype)
        self.splits = self._splits()

    def _splits(self) -> list[Split]:
        made = {n.output for n in self.nodes} | {self.state}
        flipped = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge"}
        found = []
        for node in self.nodes:
            if node.kind not in COMPARES or node.kind not in flipped:
                continue
            x, y = node.inputs
            if x in made and y not in made and self.step.tensors[x].shape == self.shape:
                found.append(Split(node, x, y, node.kind))
            elif y in made and x not in made and self.step.tensors[y].shape == self.shape:
                found.append(Split(node, y, x, flipped[node.kind]))
        return found[:MOST_SPLITS]

    def image(self, at: Interval) -> tuple[Interval, list[str]]:
        """Where one step takes an interval, and which values on the way saturate or wrap."""
        hull: Interval | None = None
        clipped: list[str] = []
        for case in product((False, True), repeat=len(self.splits)):
            value, possible, faults = self._case(at, dict(zip([s.node.output for s in self.splits], case, strict=True)))
            clipped += [f for f in faults if f not in clipped]
            lo, hi = np.where(possible, value.lo, np.inf), np.where(possible, value.hi, -np.inf)
            hull = Interval(lo, hi) if hull is None else hull.hull(Interval(lo, hi))
        assert hull is not None
        return hull, clipped

    def _case(self, at: Interval, assumed: Mapping[str, bool]) -> tuple[Interval, Array, list[str]]:
        values: Known = {**self.known, self.state: at}
        possible = np.ones(self.shape, bool)
        faults: list[str] = []
        possible &= self._narrow(self.state, values, assumed)
        for node in self.nodes:
            if node.output in assumed:
                fired = np.full(self.step.tensors[node.output].shape, float(assumed[node.output]))
                values[node.output] = Interval(fired, fired)
                continue
            result = apply(self.step, node, values)
            values[node.output] = result.value
            if result.exact is not None:
                low, high = limits(self.step.tensors[node.output].dtype)
                outside = np.broadcast_to((result.exact.lo < low) | (result.exact.hi > high), self.shape)
                if (outside & possible).any():
                    faults.append(node.output)
            possible &= self._narrow(node.output, values, assumed)
        return values[self.value].broadcast(self.shape), possible, faults

    def _narrow(self, name: str, values: Known, assumed: Mapping[str, bool]) -> Array:
        """Narrow a value by what the comparisons of it are assumed to say; False where nothing is left of it."""
        possible = np.ones(self.shape, bool)
        for split in self.splits:
            if split.operand == name:
                x = values[name].broadcast(self.shape)
                whole = not self.step.tensors[name].dtype.is_float
                y = values[split.against]
                narrowed = split.narrowed(x, y, assumed[split.node.output], whole)
                empty = narrowed.lo > narrowed.hi
                # an impossible element keeps its interval, so that no op sees ends in the wrong order
                values[name] = Interval(np.where(empty, x.lo, narrowed.lo), np.where(empty, x.hi, narrowed.hi))
                possible &= ~empty
        return possible

    # --- the search ---

    def closed(self, at: Interval) -> Array:
        """Per element, whether one step cannot leave the interval."""
        return at.holds(self.image(at)[0])

    def least(self, init: Interval) -> Interval:
        """A small interval that holds the first value and that no step leaves; infinite where there is none."""
        inner = init
        for _ in range(4):  # every one of these lies within the least such interval
            inner = inner.hull(self.image(inner)[0])
        outer = self._grown(inner)
        return self._shrunk(inner, outer)

    def _grown(self, at: Interval) -> Interval:
        unit = 1.0 if not self.is_real else np.maximum(np.maximum(at.largest(), 1e-12) * 1e-9, 1e-20)
        low, high = self.limits
        below, above = np.zeros(self.shape), np.zeros(self.shape)
        lo, hi = at.lo, at.hi
        for _ in range(GROWTHS):
            image, _ = self.image(Interval(lo, hi))
            down, up = image.lo < lo, image.hi > hi
            if not down.any() and not up.any():
                break
            below = np.where(down, np.maximum(2 * below, unit), below)
            above = np.where(up, np.maximum(2 * above, unit), above)
            lo = np.maximum(np.where(down, np.minimum(at.lo - below, lo), lo), low)
            hi = np.minimum(np.where(up, np.maximum(at.hi + above, hi), hi), high)
            if self.is_real:
                lo, hi = np.where(lo < -HUGE, -np.inf, lo), np.where(hi > HUGE, np.inf, hi)
        else:
            lo, hi = np.full(self.shape, low), np.full(self.shape, high)
        return Interval(lo, hi)

    def _shrunk(self, inner: Interval, outer: Interval) -> Interval:
        """Between an interval within the least closed one and a closed one, by halving either side."""
        lo, hi = outer.lo, outer.hi
        for side in self._turns():
            short = inner.hi if side else inner.lo
            far = hi if side else lo
            near = short
            done = self.closed(Interval(lo, short) if side else Interval(short, hi))
            far = np.where(done, short, far)
            for _ in range(BISECTIONS):
                middle = (near + far) / 2
                middle = middle if self.is_real else (np.ceil(middle) if side else np.floor(middle))
                middle = np.where(np.isfinite(middle), middle, far)
                trial = Interval(lo, middle) if side else Interval(middle, hi)
                good = self.closed(trial)
                if bool((middle == far).all()) and bool(good.all()):
                    break
                # every element by itself: none of them reads another one's interval
                moved = good & (middle != far)
                far = np.where(moved, middle, far)
                near = np.where(moved, near, middle) if self.is_real else np.where(good, near, middle)
                if bool((np.abs(far - near) <= (1e-9 * np.abs(far) if self.is_real else 1)).all()):
                    break
            lo, hi = (lo, far) if side else (far, hi)
        return Interval(lo, hi)

    def _turns(self) -> Iterator[bool]:
        """Upper and lower side in turn: a lower upper bound may allow a higher lower one."""
        yield from (True, False, True, False)
