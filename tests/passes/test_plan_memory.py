"""The memory plan: values alive together never share a place; states are updated in place when that is safe."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.ir import Graph, GraphBuilder
from edgekit.ir.plan import buffer_bytes
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.passes.plan_memory import plan_memory
from edgekit.runtime import rebuild
from edgekit.runtime.streams import NativeStream, ReferenceStream


def lif() -> Graph:
    b = GraphBuilder("lif")
    b.const("w", np.ones((5, 3)))
    b.state("membrane", np.zeros(5))
    b.input("x", (3,))
    current = b.op("linear", "x", "w")
    b.const("beta", 0.9)
    new = b.op("add", b.op("mul", "membrane", "beta"), current)
    spike = b.op("gt", new, "beta")
    b.update("membrane", new)
    b.output(b.op("cast", spike, to="float32"))
    return b.build()


def test_a_membrane_is_updated_in_place() -> None:
    plan = plan_memory(run_passes(lif(), LOWER))
    assert plan.commits["step"] == ()
    assert plan.state_bytes == 128


def test_states_that_swap_are_copied_before_either_is_written() -> None:
    b = GraphBuilder("swap")
    b.state("first", np.zeros(4))
    b.state("second", np.ones(4))
    b.input("x", (4,))
    b.update("first", "second")
    b.update("second", "first")
    b.output(b.op("add", "x", "first"))
    graph = run_passes(b.build(), LOWER)
    native, reference = NativeStream(rebuild(graph, "test")), ReferenceStream(graph)
    for t in range(5):
        x = np.full(4, t, np.float32)
        np.testing.assert_array_equal(native.call("step", [x])[0], reference.call("step", [x])[0])
    assert native.save() == reference.save()


def test_two_results_of_one_op_never_share_a_place() -> None:
    b = GraphBuilder("pair")
    b.const("w", np.ones((4, 4)))
    b.input("x", (4,))
    y = b.op("linear", "x", "w")
    doubled, negative = b.op("add", y, y), b.op("neg", y)
    b.output(doubled, negative)
    graph = run_passes(b.build(), LOWER)
    places = plan_memory(graph).buffers["step"]
    outputs = graph.entries["step"].outputs
    assert places[outputs[0]].offset != places[outputs[1]].offset


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Random chains of linear and elementwise ops over a few states."""
    b = GraphBuilder("random")
    size = draw(st.integers(1, 70))
    b.const("w", np.eye(size))
    values = [b.input("x", (size,))]
    states = [b.state(f"s{i}", np.zeros(size)) for i in range(draw(st.integers(0, 3)))]
    values += states
    for _ in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(["linear", "add", "mul", "neg"]))
        pick = [draw(st.sampled_from(values)) for _ in range(2)]
        values.append(
            b.op("linear", pick[0], "w") if kind == "linear" else b.op(kind, *(pick[:1] if kind == "neg" else pick))
        )
    for state in states:
        b.update(state, draw(st.sampled_from(values)))
    b.output(values[-1])
    return b.build()


@given(graphs())
@settings(max_examples=150, deadline=None)
def test_live_values_do_not_overlap(graph: Graph) -> None:
    lowered = run_passes(graph, LOWER)
    plan = plan_memory(lowered)
    entry, places = lowered.entries["step"], plan.buffers["step"]
    end = len(entry.ops)
    for at, op in enumerate(entry.ops):
        for name in op.outputs:
            for later in range(at, end):
                # from here to its last reader nothing else may be written over it
                readers = [i for i, o in enumerate(entry.ops) if name in o.inputs and i > at]
                readers += [end] if name in (*entry.outputs, *entry.updates.values()) else []
                if not any(i > later for i in readers):
                    continue
                for other in entry.ops[later].outputs:
                    if other == name or places[other].space != places[name].space:
                        continue
                    a, b = places[name], places[other]
                    overlap = a.offset < b.offset + buffer_bytes(lowered.tensors[other])
                    overlap = overlap and b.offset < a.offset + buffer_bytes(lowered.tensors[name])
                    dies_here = not any(i > later for i in readers)
                    assert not overlap or dies_here, f"{other} overwrites {name}"
