"""The proof: bounds of all states, group after group, then of every value of the step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.errors import UsageError
from edgekit.ir import Graph
from edgekit.ir.widths import is_width
from edgekit.passes.ranges.forward import Known, constants, propagate
from edgekit.passes.ranges.gain import Gains
from edgekit.passes.ranges.nodes import Step
from edgekit.passes.ranges.paths import groups_of
from edgekit.passes.ranges.prove import Prover
from edgekit.passes.ranges.values import Interval, Ranges, StateProof, whole_range

ROUNDS = 3  # bounds of one state tighten those of others that it reads


def analyse(graph: Graph, inputs: Mapping[str, Interval] | None = None) -> Ranges:
    """Bound every value and state of an integer step, to the last bit, at all times after a reset.

    Inputs may be all that their dtypes hold, or all within the intervals given. Raises UsageError for a float step.
    """
    if not graph.is_integer:
        raise UsageError(f"graph {graph.name!r}", "computes with reals", "only integer programs have proven ranges")
    step = Step(graph)
    known: Known = {**constants(step), **_inputs(step, inputs or {})}
    known |= {s.tensor: whole_range(step.tensors[s.tensor]) for s in graph.states}
    others = [e for e in graph.entries.values() if e.name != "step" and not is_width(e.name)]
    elsewhere = {name for e in others for name in e.updates}
    _, wraps_from_any, _ = propagate(step, step.nodes, known, {})
    groups, gains = groups_of(step), Gains()
    proofs: dict[str, StateProof] = {}
    exact: dict[str, Interval] = {}  # results on the way of a recurrence
    for _ in range(ROUNDS):
        before = dict(proofs)
        for group in groups:
            values, _, _ = propagate(step, step.nodes, known, exact)
            proven = Prover(step, values, gains, elsewhere).prove(group)
            proofs |= proven.states
            exact |= proven.exact
            known |= {name: Interval(p.lo, p.hi) for name, p in proven.states.items()}
        if all(_same(before.get(name), proof) for name, proof in proofs.items()):
            break
    values, overflows, saturations = propagate(step, step.nodes, known, exact)
    named = {n: v.broadcast(step.tensors[n].shape) for n, v in values.items() if n in graph.tensors}
    return Ranges(named, proofs, overflows, saturations, from_any_state=not wraps_from_any)


def _inputs(step: Step, given: Mapping[str, Interval]) -> Known:
    known: Known = {}
    for name in step.entry.inputs:
        tensor = step.tensors[name]
        whole = whole_range(tensor)
        known[name] = given[name].broadcast(tensor.shape).meet(whole) if name in given else whole
    return known


def _same(a: StateProof | None, b: StateProof) -> bool:
    return a is not None and np.array_equal(a.lo, b.lo) and np.array_equal(a.hi, b.hi)
