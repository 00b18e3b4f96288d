"""Intervals through the step: from those of inputs and states to every value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edgekit.passes.ranges.nodes import Node, Step
from edgekit.passes.ranges.transfer import Result, bounds_of
from edgekit.passes.ranges.values import Interval, Overflow

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
        result = apply(step, node, values)
        value, exact = result.value, result.exact
        if node.output in proven:
            claim = proven[node.output]
            value = value.meet(claim)
            exact = exact.meet(claim) if exact is not None else None
            dtype = step.tensors[node.output].dtype
            if exact is not None and not (exact.lo < dtype.limits[0]).any() and not (exact.hi > dtype.limits[1]).any():
                value, exact = exact, None
        values[node.output] = value
        if exact is not None:
            dtype = step.tensors[node.output].dtype
            fault = Overflow(node.op, node.output, float(exact.lo.min()), float(exact.hi.max()), str(dtype))
            (saturations if result.saturates else overflows).append(fault)
    return values, overflows, saturations
