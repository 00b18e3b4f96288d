"""Every output of a step is a value of its own, so that files whose ports have names can hold it."""

from __future__ import annotations

import numpy as np

from edgekit.ir import SPIKE, Graph, GraphBuilder
from edgekit.passes.own_outputs import own_outputs
from edgekit.reference import Interpreter


def graph() -> Graph:
    """Outputs that are an input, a state, a constant, one of another output, and one named like a next state."""
    b = GraphBuilder("g")
    x, s = b.input("x", (2,)), b.input("x.out", (2,), SPIKE)
    u = b.state("u", np.ones(2))
    value = b.op("add", x, u, out="u.next")
    b.update("u", value)
    b.output(x, u, b.const("c", np.full(2, 3.0)), value, value, s)
    return b.build()


def test_copies_take_the_place_of_what_has_another_role() -> None:
    before = graph()
    after = own_outputs(before)
    outputs = after.entries["step"].outputs
    assert outputs == ("x.out1", "u.out", "c.out", "u.next.out", "u.next.out1", "x.out.out")
    inputs = {"x": np.array([[1.0, 2.0]], np.float32), "x.out": np.array([[True, False]])}
    first, _ = Interpreter(before).execute(inputs, Interpreter(before).initial_state())
    second, _ = Interpreter(after).execute(inputs, Interpreter(after).initial_state())
    for old, new in zip(before.entries["step"].outputs, outputs, strict=True):
        np.testing.assert_array_equal(first[old], second[new])


def test_a_graph_without_such_outputs_is_left_alone() -> None:
    after = own_outputs(graph())
    assert own_outputs(after) is after
