"""The proof: bounds of all states, group after group, then of every value of the step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.errors import UsageError
from edgekit.ir import Graph
from edgekit.passes.ranges.forward import Known, constants, propagate
from edgekit.passes.ranges.nodes import Step
from edgekit.passes.ranges.paths import groups_of
from edgekit.passes.ranges.prove import Prover
from edgekit.passes.ranges.values import Interval, Overflow, Ranges, StateProof, whole_range

ROUNDS = 3


def analyse(graph: Graph, inputs: Mapping[str, Interval] | None = None) -> Ranges:
    """Bound every value and state of a step for all inputs within their intervals and all times after a reset.

    Inputs of an integer program may be all that their dtype holds; those of a float one must be given. Bounds of a
    float graph are those of real arithmetic; of an integer program they hold to the last bit.
    """
    step = Step(graph)
    known: Known = {**constants(step), **_inputs(step, inputs or {})}
    known |= {s.tensor: whole_range(step.tensors[s.tensor]) for s in graph.states}
    groups = groups_of(step)
    proofs: dict[str, StateProof] = {}
    exact: dict[str, Interval] = {}  # of values on the way of a linear recurrence
    for _ in range(ROUNDS):
        before = dict(proofs)
        for group in groups:
            values, _, _ = propagate(step, step.nodes, known, exact)
            found, observed = Prover(step, values).prove(group)
            proofs |= found
            exact |= observed
            known |= {name: Interval(p.lo, p.hi) for name, p in found.items()}
        if all(_same(before.get(name), proof) for name, proof in proofs.items()):
            break
    values, overflows, saturations = propagate(step, step.nodes, known, exact)
    named = {n: v.broadcast(step.tensors[n].shape) for n, v in values.items() if n in graph.tensors}
    return Ranges(named, proofs, _largest(overflows), _largest(saturations))


def _inputs(step: Step, given: Mapping[str, Interval]) -> Known:
    known: Known = {}
    for name in step.entry.inputs:
        tensor = step.tensors[name]
        whole = whole_range(tensor)
        if name not in given and tensor.dtype.is_float:
            raise UsageError(f"input {name!r}", "has no range", "give the interval of each real input")
        known[name] = given[name].broadcast(tensor.shape).meet(whole) if name in given else whole
    return known


def _same(a: StateProof | None, b: StateProof) -> bool:
    return a is not None and np.array_equal(a.lo, b.lo) and np.array_equal(a.hi, b.hi)


def _largest(faults: list[Overflow]) -> list[Overflow]:
    return sorted(faults, key=lambda f: (f.op, f.tensor))


