"""The memory plan: values alive together never share a place; states are updated in place when that is safe."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.ir import Graph, GraphBuilder
from edgekit.ir.plan import Plan, buffer_bytes
from edgekit.learn.arithmetic import Floats
from edgekit.learn.entries import add_learning
from edgekit.learn.plastic import make_plastic
from edgekit.learn.settings import Learning
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.passes.plan_memory import plan_memory
from edgekit.reference import unpack_states
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


def hlop(iterations: int, momentum: float | None) -> Graph:
    b = GraphBuilder("hlop")
    b.input("x", (40,))
    weights = np.random.default_rng(0).normal(size=(3, 40)) / 8
    b.output(b.op("linear", "x", b.const("w", weights)))
    rule = Learning("hlop", subspace=(4, 4), iterations=iterations, momentum=momentum)
    return run_passes(add_learning(make_plastic(b.build(), rule.plastic), Floats, rule), LOWER)


@pytest.mark.parametrize("momentum", [None, 0.5])
def test_updates_in_a_row_are_all_in_the_place_of_their_state(momentum: float | None) -> None:
    two, ten = (plan_memory(hlop(n, momentum)) for n in (2, 10))
    assert two.arena_bytes == ten.arena_bytes
    assert ten.commits["learn"] == ()
    graph = hlop(10, momentum)
    lateral = next(s for s in graph.states if s.tensor.endswith(".lateral"))
    end = graph.entries["learn"].updates[lateral.tensor]
    place = ten.buffers["learn"][end]
    assert place == ten.states[lateral.tensor]
    matrices = [n for op in graph.entries["learn"].ops for n in op.outputs if graph.tensors[n].shape == (8, 40)]
    states = [n for n in matrices if ten.buffers["learn"][n].space == "state"]
    # with momentum, the change of each turn and the mask over it are values beside both states
    assert len(states) == (11 if momentum is None else 20)
    assert len(matrices) - len(states) == (0 if momentum is None else 20)


@pytest.mark.parametrize("momentum", [None, 0.5])
def test_updates_in_a_row_give_what_the_reference_gives(momentum: float | None) -> None:
    graph = hlop(3, momentum)
    native, reference = NativeStream(rebuild(graph, "test")), ReferenceStream(graph)
    rng = np.random.default_rng(1)
    for entry in ("learn", "learn", "merge", "learn"):
        x, target = rng.normal(size=40).astype(np.float32), np.eye(3, dtype=np.float32)[rng.integers(3)]
        for engine in (native, reference):
            engine.call("step", [x])
            engine.call(entry, [target] if entry == "learn" else [])
    a, b = (unpack_states(graph, engine.save()) for engine in (native, reference))
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=0, atol=2e-6)


class Row:
    """An entry that updates the state h [4, 6] by x yT, twice; each test makes one value needed in another way."""

    def __init__(self) -> None:
        self.b = b = GraphBuilder("twice")
        b.state("h", np.arange(24).reshape(4, 6))
        b.input("x", (4,))
        b.input("y", (6,))
        self.first = b.op("outer_add", "h", "x", "y")
        self.last = ""

    def second(self, y: str = "y") -> str:
        self.last = self.b.op("outer_add", self.first, "x", y)
        self.b.update("h", self.last)
        return self.last

    def plan(self) -> Plan:
        """The plan of the entry, once a running program agrees with the reference."""
        graph = run_passes(self.b.build(), LOWER)
        native, reference = NativeStream(rebuild(graph, "test")), ReferenceStream(graph)
        for t in range(3):
            given = [np.arange(n, dtype=np.float32) - t for n in (4, 6)]
            for a, b in zip(native.call("step", given), reference.call("step", given), strict=True):
                np.testing.assert_array_equal(a, b)
        assert native.save() == reference.save()
        return plan_memory(graph)

    def in_place(self) -> tuple[bool, ...]:
        """Whether the first and the second sum are in the place of the state."""
        plan = self.plan()
        return tuple(plan.buffers["step"][name] == plan.states["h"] for name in (self.first, self.last))


def test_both_of_two_updates_are_in_place() -> None:
    row = Row()
    row.b.output(row.b.op("linear", "y", row.first))  # a read before the second update harms nothing
    row.second()
    assert row.in_place() == (True, True)


def test_a_value_that_leaves_the_entry_is_beside_its_state() -> None:
    row = Row()
    row.b.output(row.first)
    row.second()
    assert row.in_place() == (False, True)


def test_an_old_value_that_is_read_later_stays() -> None:
    row = Row()
    row.b.output(row.b.op("linear", "y", "h"))  # reads what the first sum would have been written over
    row.second()
    assert row.in_place() == (False, True)


def test_an_old_value_that_is_read_last_stays_to_the_end() -> None:
    row = Row()
    row.second()
    row.b.output(row.b.op("linear", "y", "h"))
    assert row.in_place() == (False, False)


def test_an_old_value_that_becomes_another_state_stays() -> None:
    row = Row()
    row.b.state("before", np.zeros((4, 6)))
    row.b.output(row.b.op("linear", "y", row.second()))
    row.b.update("before", "h")
    assert row.in_place() == (False, False)


def test_a_value_that_is_read_after_the_next_stays() -> None:
    row = Row()
    row.second()
    row.b.output(row.b.op("linear", "y", row.first))
    assert row.in_place() == (False, True)


def test_a_value_that_is_a_factor_of_the_next_as_well_stays() -> None:
    row = Row()
    row.b.output(row.b.op("linear", "y", "h"))
    y = row.b.op("reshape", row.b.op("slice", row.first, axis=0, start=0, stop=1, step=1), shape=(6,))
    row.second(y)
    assert row.in_place() == (False, True)  # the slice is a copy, h is read behind the first sum


@pytest.mark.parametrize("kind", ["linear", "outer_add"])
def test_a_value_that_an_op_reads_as_a_whole_is_not_written_over_through_a_view(kind: str) -> None:
    b = GraphBuilder("views")
    b.input("x", (4,))
    b.const("w", np.arange(16).reshape(4, 4))
    made = b.op("linear", "x", "w")
    row = b.op("reshape", made, shape=(1, 4))
    if kind == "linear":
        b.output(b.op("linear", row, "w", b.op("reshape", made, shape=(1, 4))))
    else:
        b.const("two", np.full(1, 2.0))
        b.output(b.op("outer_add", row, "two", made))
    graph = run_passes(b.build(), LOWER)
    plan = plan_memory(graph)
    op = graph.entries["step"].ops[-1]
    assert plan.buffers["step"][op.outputs[0]].offset != plan.buffers["step"][op.inputs[0]].offset
    x = np.arange(4, dtype=np.float32)
    np.testing.assert_array_equal(
        NativeStream(rebuild(graph, "test")).call("step", [x])[0], ReferenceStream(graph).call("step", [x])[0]
    )


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Random chains of ops over a few states, vectors and matrices."""
    b = GraphBuilder("random")
    rows, size = draw(st.integers(1, 4)), draw(st.integers(1, 70))
    shapes = {"row": (rows,), "column": (size,), "matrix": (rows, size)}
    values = {kind: [b.input(kind, shape)] for kind, shape in shapes.items()}
    for kind in draw(st.lists(st.sampled_from(list(shapes)), max_size=4)):
        values[kind].append(b.state(f"s{len(values[kind])}_{kind}", np.zeros(shapes[kind])))
    states = [n for names in values.values() for n in names[1:]]
    for _ in range(draw(st.integers(1, 14))):
        op = draw(st.sampled_from(["linear", "matvec_t", "outer_add", "add", "mul", "neg", "fold"]))
        matrix, row, column = (draw(st.sampled_from(values[k])) for k in ("matrix", "row", "column"))
        if op == "linear":
            values["row"].append(b.op("linear", column, matrix, *([row] if draw(st.booleans()) else [])))
        elif op == "matvec_t":
            values["column"].append(b.op("matvec_t", row, matrix))
        elif op == "outer_add":
            values["matrix"].append(b.op("outer_add", matrix, row, column))
        elif op == "fold":  # a view of a whole matrix, where a vector fits
            if rows == 1:
                values["column"].append(b.op("reshape", matrix, shape=(size,)))
                values["matrix"].append(b.op("reshape", column, shape=(1, size)))
        else:
            kind = draw(st.sampled_from(list(shapes)))
            pick = [draw(st.sampled_from(values[kind])) for _ in range(1 if op == "neg" else 2)]
            values[kind].append(b.op(op, *pick))
    for state in states:
        b.update(state, draw(st.sampled_from(values[state.partition("_")[2]])))
    b.output(*(names[-1] for names in values.values()))
    return b.build()


ELEMENTWISE = {"fused": range(99), "outer_add": (0,), "linear": (2,)}
"""Operands of which an op reads an element before it writes that of its result, and never again."""


@given(graphs())
@settings(max_examples=300, deadline=None)
def test_live_values_do_not_overlap(graph: Graph) -> None:
    lowered = run_passes(graph, LOWER)
    plan = plan_memory(lowered)
    entry, places = lowered.entries["step"], plan.buffers["step"]
    root = {name: name for name in lowered.tensors}
    for op in entry.ops:
        if op.kind == "reshape":
            root[op.outputs[0]] = root[op.inputs[0]]
    end = len(entry.ops)
    made = dict.fromkeys(lowered.state_names, -1)
    made |= {n: at for at, op in enumerate(entry.ops) for n in op.outputs if root[n] == n}
    ends = [root[n] for n in (*entry.outputs, *entry.updates.values())]
    for name, at in made.items():
        readers = [i for i, o in enumerate(entry.ops) if name in (root[n] for n in o.inputs)]
        last = end if name in ends else max(readers, default=at)
        for later in range(at if at >= 0 else 0, min(last + 1, end)):
            op = entry.ops[later]
            for other in op.outputs:
                if root[other] == name or places[other].space != places[name].space:
                    continue
                a, b = places[name], places[other]
                overlap = a.offset < b.offset + buffer_bytes(lowered.tensors[other])
                overlap = overlap and b.offset < a.offset + buffer_bytes(lowered.tensors[name])
                if not overlap or (later == last == at):
                    continue
                whole = [i for i, n in enumerate(op.inputs) if root[n] == name]
                dies = later == last and all(i in ELEMENTWISE.get(op.kind, ()) for i in whole)
                assert dies, f"{other} overwrites {name}"
                assert a.offset == b.offset, f"{other} overwrites a part of {name}"
