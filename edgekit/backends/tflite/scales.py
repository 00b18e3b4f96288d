"""Which integers hold which value of an int8 model: one scale a tensor, as TFLite has it, from the plan of compress.

A value has 8 bits where the plan gives it 8, and 16 anywhere else: what states integrate needs them. A value, what it
is moved into, and the state it becomes share one scale, so that a state is read as it was written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgekit.backends.tflite.writer import Quant
from edgekit.compress.plan import Plan
from edgekit.compress.terms import Dot
from edgekit.ir import INT8, SPIKE, Graph

ALIKE = ("reshape", "transpose", "expand", "slice", "gather", "concat", "pad", "windows", "where", "amax", "flush")
FIXED = {"tanh": 1.0, "sigmoid": 1.0}  # the scale of their results is 2^-15 in every TFLite kernel
# As far, in log2, a scale keeps from powers of two: near those LiteRT takes a coarser way for tanh of int16.
POWERS = 0.01
HEADROOM = 2.0  # of 16 bits, over what calibration saw


@dataclass(frozen=True)
class Held:
    """How a value is held: bits, scale (a float32, as files have it) and zero point."""

    bits: int
    scale: float
    zero: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", float(np.float32(self.scale)))

    @property
    def dtype(self) -> str:
        """The TFLite type."""
        return f"INT{self.bits}"

    @property
    def quant(self) -> Quant:
        """The scales as a tensor has them."""
        return Quant((self.scale,), (self.zero,))

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the largest stored integer."""
        return -(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1


SPIKES = Held(8, 1.0)  # of a spike at a port: 0 or 1


class Scales:
    """How each value of a graph is held."""

    def __init__(self, graph: Graph, plan: Plan) -> None:
        self.graph, self.plan, self._parents = graph, plan, dict[str, str]()
        step = graph.entries["step"]
        for state, value in step.updates.items():
            self._join(state, value)
        for op in step.ops:
            if op.kind in ALIKE:
                for name in op.inputs:
                    self._join(op.outputs[0], name)
        members: dict[str, list[str]] = {}
        for name in self._parents:
            members.setdefault(self._root(name), []).append(name)
        self._held: dict[str, Held] = {}
        for group in members.values():
            held = self._of(group)
            self._held |= dict.fromkeys(group, held)

    def _real(self, name: str) -> bool:
        """Whether a value is a number that calibration has seen, and its scale is free."""
        tensor = self.graph.tensors[name]
        made = self.plan.sums.made.get(name)
        free = made is None or (made.kind not in FIXED and not self.plan.sums.is_spike(name))
        return tensor.dtype is not SPIKE and not tensor.is_const and free

    def _root(self, name: str) -> str:
        while self._parents.setdefault(name, name) != name:
            name = self._parents[name]
        return name

    def _join(self, a: str, b: str) -> None:
        if self._real(a) and self._real(b):
            self._parents[self._root(a)] = self._root(b)

    def held(self, name: str) -> Held:
        """How a value is held that is no constant; a spike that was cast as 0 and 1."""
        made = self.plan.sums.made.get(name)
        if made is not None and made.kind in FIXED:
            return Held(16, 2.0**-15)
        if self.plan.sums.is_spike(name):
            return Held(16, 1.0)
        if name not in self._held:
            self._held[name] = self._of([name])
        return self._held[name]

    def _of(self, names: list[str]) -> Held:
        specs = [self.plan.spec(n) for n in names]
        if all(spec.dtype is INT8 for spec in specs):
            bound = max(self.plan.bounds.of(n, 1.0)[0] for n in names)
            positive = all(spec.zero == INT8.limits[0] for spec in specs)
            return Held(8, bound / 255, -128) if positive else Held(8, bound / 127)
        scale = max(self.plan.bounds.of(n, HEADROOM)[0] for n in names) / 32767
        power = math.log2(scale)
        near = abs(power - round(power)) < POWERS
        return Held(16, scale * (1 + 2 * POWERS) if near else scale)

    def part(self, weights: np.ndarray, x: float, total: str, addend: str | None) -> Held:
        """How a product of weights and values up to `x` is held that is part of a sum: by what it can be."""
        reach = float(np.abs(weights).sum(axis=1).max()) * x
        if addend is not None:
            seen = self.plan.bounds
            reach = min(reach, seen.of(total, HEADROOM)[0] + seen.of(addend, HEADROOM)[0])
        return Held(16, max(reach, 1e-30) / 32767)

    def largest(self, name: str) -> float:
        """The largest magnitude of a value."""
        return 1.0 if self.plan.sums.is_spike(name) else self.plan.bounds.of(name, HEADROOM)[0]

    def feedback(self) -> frozenset[str]:
        """Weights by which a state feeds itself: every later step would feel their error."""
        sums, found = self.plan.sums, set[str]()
        for op in sums.step.ops:
            if op.kind == "memory_update":
                found.add(op.inputs[1])
        for value in sums.step.updates.values():
            root = sums.view_of(value)
            if sums.is_sum(root):
                dots = [t for t in self.plan.terms(root) if isinstance(t, Dot)]
                found |= {t.tensor for t in dots if sums.feeds_itself(root, t.x)}
        return frozenset(found)


def ports(scales: Scales) -> Mapping[str, Held]:
    """How inputs, outputs and states are held at the border: as inside, a spike as an int8 of 0 or 1."""
    graph, step = scales.graph, scales.graph.entries["step"]
    names = [*step.inputs, *step.outputs, *graph.state_names]
    return {n: SPIKES if scales.plan.sums.is_spike(n) else scales.held(n) for n in names}
