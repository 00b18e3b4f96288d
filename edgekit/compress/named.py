"""Bits for single tensors, by the names that the choices of a program and `edgekit verify` use."""

from __future__ import annotations

from collections.abc import Mapping

from edgekit.compress.recipes import Recipe
from edgekit.compress.terms import Sums
from edgekit.errors import UsageError
from edgekit.ir import SPIKE, Graph

WEIGHTS, STATES, OPERANDS = (4, 8, 16), (8, 16, 32), (8, 16)


def roles(graph: Graph) -> tuple[list[str], list[str], list[str]]:
    """The names of what has bits of its own: weights, states, and operands of matrices that are neither."""
    sums = Sums(graph)
    read = [op for op in sums.step.ops if op.kind == "linear"]  # A and B of a memory_update always have 16 bits
    weights = {op.inputs[1] for op in read if graph.tensors[op.inputs[1]].is_const}
    own = {s.tensor for s in graph.states if s.reset != "scratch"} - sums.learned  # of the model, not of a rule
    states = {name for name in own if graph.tensors[name].dtype is not SPIKE}
    operands = {op.inputs[0] for op in read if not sums.is_spike(op.inputs[0])}
    return sorted(weights), sorted(states), sorted(operands - states)


def with_bits(to: Recipe, graph: Graph, asked: Mapping[str, int]) -> Recipe:
    """The recipe with other bits for weights, states and operands of matrices; UsageError lists those there are."""
    named = zip(("weights", "states", "operands"), roles(graph), (WEIGHTS, STATES, OPERANDS), strict=True)
    known_roles = tuple(named)
    for name, bits in asked.items():
        found = next(((role, allowed) for role, names, allowed in known_roles if name in names), None)
        if found is None:
            known = [f"{role}: {', '.join(names)}" for role, names, _ in known_roles if names]
            raise UsageError(f"--widen {name}", "names nothing that has bits of its own", "give one of these", known)
        role, allowed = found
        if bits not in allowed:
            can = ", ".join(map(str, allowed))
            raise UsageError(f"--widen {name}={bits}", f"is not possible: {role} are held in {can} bits")
        to = to.widened(**{role: {name: bits}})
    return to
