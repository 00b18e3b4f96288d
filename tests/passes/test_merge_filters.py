"""Filters that are only summed become one filter of the sum; before and expected, and every case that must not."""

from __future__ import annotations

import re

import numpy as np
import pytest
from cases import check, read

from edgekit.ir import Graph, to_text
from edgekit.passes.merge_filters import merge_filters
from edgekit.passes.rewrite import sweep
from edgekit.reference import Interpreter

BEFORE = """
    graph g
    const %kappa float32[4] = [0.5, 0.5, 0.25, 0.25]
    state %s float32[4] reset data
    entry step
      in %x float32[4]
      %decayed float32[4] = mul %kappa %s  # elm
      %filtered float32[4] = add %decayed %x  # elm
      %rows float32[2,2] = reshape %filtered {"shape": [2, 2]}
      %b float32[2] = sum %rows {"axis": 1}  # elm
      %y float32[2] = neg %b
      update %s %filtered
      out %y
"""
FIRST = {"s:init": [1.0, 2.0, 3.0, 5.0]}


def trajectory(graph: Graph, steps: int = 6) -> np.ndarray:
    """All outputs over noise, in double precision."""
    rng = np.random.default_rng(0)
    inputs = {n: rng.normal(size=(2, steps, *graph.tensors[n].shape)) for n in graph.entries["step"].inputs}
    outputs, _ = Interpreter(graph, np.float64).run({n: a.astype(np.float32) for n, a in inputs.items()})
    return np.concatenate([np.asarray(a, np.float64).reshape(-1) for a in outputs.values()])


def test_a_filter_per_synapse_becomes_a_filter_per_branch_that_starts_at_the_sum():
    after = check(
        merge_filters,
        BEFORE,
        """
        graph g
        const %s.sum.decay float32[2] = [0.5, 0.25]
        state %s.sum float32[2] reset data
        entry step
          in %x float32[4]
          %x.reshape float32[2,2] = reshape %x {"shape": [2, 2]}  # elm
          %s.sum.mul float32[2] = mul %s.sum %s.sum.decay  # elm
          %x.reshape.sum float32[2] = sum %x.reshape {"axis": 1}  # elm
          %b float32[2] = add %s.sum.mul %x.reshape.sum  # elm
          %y float32[2] = neg %b
          update %s.sum %b
          out %y
        """,
        FIRST,
    )
    np.testing.assert_array_equal(after.states[0].init, [3.0, 8.0])
    np.testing.assert_allclose(trajectory(after), trajectory(read(BEFORE, FIRST)), rtol=1e-6)


def rewritten(text: str) -> tuple[Graph, Graph]:
    shape = [int(n) for n in re.search(r"state %s float32\[([\d,]*)\]", text)[1].split(",")]
    before = sweep(read(text, {"s:init": np.reshape(FIRST["s:init"], shape)}))
    after = merge_filters(before)
    np.testing.assert_allclose(trajectory(after), trajectory(before), rtol=1e-6)
    return before, after


MERGED = {
    "kept over a reset": BEFORE.replace("reset data", "keep data"),
    "the sum along the first axis": BEFORE.replace("0.5, 0.5, 0.25, 0.25", "0.5, 0.25, 0.5, 0.25").replace(
        '"axis": 1', '"axis": 0'
    ),
    "a sum that keeps its axis": BEFORE.replace('{"axis": 1}', '{"axis": 1, "keepdims": true}')
    .replace("%b float32[2]", "%b float32[2,1]")
    .replace("%y float32[2]", "%y float32[2,1]"),
    "one decay for all": BEFORE.replace("float32[4] = [0.5, 0.5, 0.25, 0.25]", "float32[] = [0.75]"),
    "a drive that is repeated": BEFORE.replace("in %x float32[4]", "in %x float32[1]"),
    "a state that is already in rows": BEFORE.replace("%kappa float32[4]", "%kappa float32[2,2]")
    .replace("%s float32[4]", "%s float32[2,2]")
    .replace("%x float32[4]", "%x float32[2,2]")
    .replace("%decayed float32[4]", "%decayed float32[2,2]")
    .replace("%filtered float32[4]", "%filtered float32[2,2]")
    .replace('%rows float32[2,2] = reshape %filtered {"shape": [2, 2]}', "")
    .replace("sum %rows", "sum %filtered"),
    "an update that is a view": BEFORE.replace("%s float32[4]", "%s float32[4,1]")
    .replace("%decayed", '%flat float32[4] = reshape %s {"shape": [4]}\n      %decayed', 1)
    .replace("mul %kappa %s", "mul %kappa %flat")
    .replace("%rows", '%column float32[4,1] = reshape %filtered {"shape": [4, 1]}\n      %rows', 1)
    .replace("update %s %filtered", "update %s %column"),
}


@pytest.mark.parametrize("text", MERGED.values(), ids=MERGED)
def test_it_is_merged_however_it_is_written(text):
    before, after = rewritten(text)
    (old,), (new,) = before.states, after.states
    assert (new.tensor, new.reset) == ("s.sum", old.reset)
    assert new.init.size == 2
    assert new.init.sum() == old.init.sum()


UNTOUCHED = {
    "decays that differ within a branch": BEFORE.replace("0.5, 0.5,", "0.5, 0.75,"),
    "the state leaves": BEFORE.replace("out %y", "out %y %s"),
    "the filtered value leaves": BEFORE.replace("out %y", "out %y %filtered"),
    "a view of the filtered value leaves": BEFORE.replace("out %y", "out %y %rows"),
    "another op reads the filtered value": BEFORE.replace("neg %b", "amax %rows {\"axis\": 0}"),
    "another op reads the state": BEFORE.replace("%x float32[4]\n", "%x float32[4]\n      %peak float32[] = amax %s "
    '{"axis": 0}\n').replace("out %y", "out %y %peak"),
    "another state is updated with it": BEFORE.replace("state %s", "state %old float32[4] reset zero\n    state %s")
    .replace("update %s", "update %old %filtered\n      update %s").replace("out %y", "out %y %old"),
    "the state itself drives the filter": BEFORE.replace("add %decayed %x", "add %decayed %s"),
    "the state meets itself": BEFORE.replace("mul %kappa %s", "mul %s %s"),
    "a decay that changes": BEFORE.replace("mul %kappa %s", "mul %x %s"),
    "it is summed as the largest": BEFORE.replace("sum %rows", "amax %rows"),
    "branches of one synapse": BEFORE.replace("float32[2,2]", "float32[4,1]").replace("[2, 2]", "[4, 1]")
    .replace("%b float32[2]", "%b float32[4]").replace("%y float32[2]", "%y float32[4]"),
    "the next state is another value": BEFORE.replace("update %s %filtered", "update %s %x"),
    "a second entry reads the state": BEFORE + """
    entry learn
      in %z float32[4]
      %w float32[4] = add %s %z
      out %w
    """,
}  # fmt: skip


@pytest.mark.parametrize("text", UNTOUCHED.values(), ids=UNTOUCHED)
def test_a_filter_that_is_used_in_any_other_way_stays(text):
    before, after = rewritten(text)
    assert to_text(after) == to_text(before)


TWO = """
    graph g
    const %slow float32[] = [0.75]
    const %fast float32[] = [0.5]
    state %s float32[4] reset data
    state %r float32[2] reset zero
    entry step
      in %x float32[4]
      %s.decayed float32[4] = mul %s %slow
      %s.filtered float32[4] = add %s.decayed %x
      %s.rows float32[2,2] = reshape %s.filtered {"shape": [2, 2]}
      %b float32[2] = sum %s.rows {"axis": 1}
      %r.decayed float32[2] = mul %r %fast
      %r.filtered float32[2] = add %r.decayed %b
      %y float32[] = sum %r.filtered {"axis": 0}
      update %s %s.filtered
      update %r %r.filtered
      out %y
"""


def test_a_filter_of_merged_filters_merges_too():
    before, after = rewritten(TWO)
    assert {s.tensor: s.init.tolist() for s in after.states} == {"s.sum": [3.0, 8.0], "r.sum": 0.0}
    assert len(before.states) == 2
