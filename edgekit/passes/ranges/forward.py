"""Intervals through the step: from those of inputs and states to every value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from edgekit.passes.ranges.nodes import Node, Step
from edgekit.passes.ranges.transfer import Result, bounds_of
from edgekit.passes.ranges.values import Interval, Overflow, outside

Known = dict[str, Interval]


def constants(step: Step) -> Known:
    """Points for the constants that the step reads."""
    read = {n for node in step.nodes for n in node.inputs} | {*step.entry.outputs, *step.entry.updates.values()}
    return {n: Interval.of(t.data) for n, t in step.tensors.items() if t.data is not None and n in read}


def apply(step: Step, node: Node, known: Mapping[str, Interval]) -> Result:
    """One node's result from the intervals of its operands."""
    tensors = [step.tensors[n] for n in node.inputs]
    return bounds_of(node, [known[n] for n in node.inputs], tensors, step.tensors[node.output])


def propagate(
    step: Step, nodes: Iterable[Node], known: Mapping[str, Interval], proven: Mapping[str, Interval] | None = None
) -> tuple[Known, list[Overflow], list[Overflow]]:
    """Every value that nodes make, and which of them may wrap, and which may saturate.

    `proven` are bounds of exact results known from elsewhere: a value there lies in both intervals.
    """
    values, proven = dict(known), proven or {}
    overflows: list[Overflow] = []
    saturations: list[Overflow] = []
    for node in nodes:
        result, dtype = apply(step, node, values), step.tensors[node.output].dtype
        value, exact = result.value, result.exact
        if node.output in proven:
            claim = proven[node.output].broadcast(value.shape)
            exact = (value if exact is None else exact).meet(claim)
            if outside(exact, dtype).any():
                ends = dtype.limits
                value = value.meet(Interval(np.clip(claim.lo, *ends), np.clip(claim.hi, *ends)))
                # what wraps may end anywhere
                value = value if result.saturates else Interval(*_where(outside(exact, dtype), result.value, value))
            else:
                value, exact = exact, None
        values[node.output] = value
        if exact is not None:
            fault = Overflow(node.op, node.kind, node.output, float(exact.lo.min()), float(exact.hi.max()), str(dtype))
            (saturations if result.saturates else overflows).append(fault)
    return values, overflows, saturations


def _where(condition: np.ndarray, x: Interval, y: Interval) -> tuple[np.ndarray, np.ndarray]:
    return np.where(condition, x.lo, y.lo), np.where(condition, x.hi, y.hi)
