"""What the passes may never do: change what a graph computes."""

from __future__ import annotations

import numpy as np
import pytest
from graph_samples import busy_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_graph, random_inputs

from edgekit.backends.c import SUPPORTED
from edgekit.compress.quantize import SMALLEST_WEIGHTS, channel_scales, quantize_weights_int8
from edgekit.ir import INT8, SCALAR_OPS, Graph, GraphBuilder, to_text
from edgekit.passes.activity import measure_activity
from edgekit.passes.legalize import legalize
from edgekit.passes.pipelines import LOWER, OPTIMISE, run_passes
from edgekit.passes.rewrite import sweep
from edgekit.reference import Interpreter

SEEDS = st.integers(0, 2**32)
STEPS, BATCH = 5, 2
PASSES = {p.__name__: p for p in (*OPTIMISE, *LOWER)}


def trajectory(graph: Graph, seed: int) -> list[np.ndarray]:
    """Every output of every step, in double precision, so that no rounding can move a spike."""
    interpreter = Interpreter(graph, np.float64)
    state, collected = interpreter.initial_state(BATCH), []
    inputs = {e: random_inputs(graph, seed, BATCH, STEPS, e) for e in graph.entries}
    for t in range(STEPS):
        for name, entry in graph.entries.items():
            outputs, state = interpreter.execute({n: a[:, t] for n, a in inputs[name].items()}, state, name)
            collected += [np.asarray(outputs[n], np.float64) for n in entry.outputs]
    return collected


def assert_same(before: Graph, after: Graph, seed: int) -> None:
    for a, b in zip(trajectory(before, seed), trajectory(after, seed), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=to_text(before))


@settings(max_examples=80, deadline=None)
@given(SEEDS, st.integers(1, 25), st.integers(1, 2))
def test_the_pipelines_keep_every_output(seed, ops, entries):
    graph = random_graph(seed, ops, entries=entries)
    optimised = run_passes(graph, OPTIMISE)
    assert_same(graph, optimised, seed)
    lowered = run_passes(legalize(optimised, SUPPORTED | SCALAR_OPS.keys(), "C"), LOWER)
    assert_same(graph, lowered, seed)
    assert {op.kind for _, op in lowered.ops()} <= SUPPORTED
    for before, after in zip(graph.entries.values(), lowered.entries.values(), strict=True):
        assert before.inputs == after.inputs
        assert [graph.tensors[n].shape for n in before.outputs] == [lowered.tensors[n].shape for n in after.outputs]


@pytest.mark.drawn(2)
@pytest.mark.parametrize("name", PASSES)
@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_every_pass_alone_keeps_every_output(name, seed):
    graph = random_graph(seed, 15)
    assert_same(graph, PASSES[name](graph), seed)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_optimising_twice_changes_nothing(seed):
    once = run_passes(random_graph(seed, 15), OPTIMISE)
    assert_same(once, run_passes(once, OPTIMISE), seed)


def test_sweep_drops_what_nothing_reads_and_nothing_else():
    graph = busy_graph()
    assert to_text(sweep(graph)) == to_text(graph)
    b = GraphBuilder("g")
    x = b.input("x", (2,))
    b.op("neg", b.const("unused", np.ones(2)))
    b.output(b.op("abs", x))
    swept = sweep(b.build())
    assert set(swept.tensors) == {"x", swept.entries["step"].outputs[0]}


# --- w8 --------------------------------------------------------------------------------------------------------------


def one_linear(w: np.ndarray) -> Graph:
    b = GraphBuilder("g")
    b.output(b.op("linear", b.input("x", (w.shape[1],)), b.const("w", w), out="y"))
    return b.build()


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 12), st.integers(8, 40), st.floats(-12, 12))
def test_w8_error_is_bounded_per_output_channel(seed, out, features, magnitude):
    rng = np.random.default_rng(seed)
    w = (rng.standard_cauchy((out, max(features, SMALLEST_WEIGHTS // out + 1))) * 10**magnitude).astype(np.float32)
    w[rng.integers(out)] = 0
    x = rng.normal(size=(3, w.shape[1])).astype(np.float32)
    before, after = one_linear(w), quantize_weights_int8(one_linear(w))
    (stored,) = (t for t in after.consts.values() if t.dtype is INT8)
    assert stored.data.min() >= -127
    exact = Interpreter(before, np.float64).execute({"x": x}, {})[0]["y"]
    got = Interpreter(after, np.float64).execute({"x": x}, {})[0][after.entries["step"].outputs[0]]
    bound = channel_scales(w) / 2 * np.abs(x).sum(axis=1, keepdims=True)
    assert (np.abs(got - exact) <= bound * (1 + 1e-5) + 1e-30).all()


def test_w8_leaves_small_and_shared_matrices_and_quantises_a_shared_weight_once():
    b, rng = GraphBuilder("g"), np.random.default_rng(0)
    x, m = b.input("x", (16,)), b.input("m", (16, 8))
    w, small = b.const("w", rng.normal(size=(16, 16))), b.const("small", rng.normal(size=(3, 16)))
    a, c = b.const("A", rng.normal(size=(8, 8))), b.const("B", rng.normal(size=(8, 8)))
    y = b.op("linear", b.op("linear", x, w), w)
    b.output(y, b.op("linear", x, small), b.op("memory_update", m, a, m, c))
    after = quantize_weights_int8(b.build())
    assert {n for n, t in after.consts.items() if t.dtype is INT8} == {"w.int8"}
    assert {"small", "A", "B"} <= set(after.consts)
    assert "w" not in after.tensors


def test_w8_leaves_the_matrix_by_which_a_state_feeds_itself():
    """A memory of one channel: m' = A m + B u through a view; its error would come back at every step."""
    b, rng = GraphBuilder("g"), np.random.default_rng(0)
    u, order = b.input("u", (1,)), 16
    m, h = b.state("m", np.zeros((1, order))), b.state("h", np.zeros(order))
    flat = b.op("reshape", m, shape=(order,))
    fed = b.op("linear", flat, b.const("A", rng.normal(size=(order, order))))
    driven = b.op("linear", u, b.const("B", rng.normal(size=(order, 1))), fed)
    drifting = b.op("sub", driven, b.const("drift", np.ones(order)))
    read_out = b.op("linear", flat, b.const("W_m", rng.normal(size=(order, order))))
    hidden = b.op("tanh", b.op("linear", h, b.const("W_h", rng.normal(size=(order, order))), read_out))
    b.update(m, b.op("reshape", drifting, shape=(1, order)))
    b.update(h, hidden)
    b.output(hidden)
    after = quantize_weights_int8(b.build())
    assert {n for n, t in after.consts.items() if t.dtype is INT8} == {"W_m.int8", "W_h.int8"}
    assert {"A", "B"} <= set(after.consts)


# --- measured activity -----------------------------------------------------------------------------------------------


def test_activity_is_the_share_of_neurons_that_fire():
    b = GraphBuilder("g")
    x, zero = b.input("x", (4,)), b.const("zero", 0.0)
    s = b.op("gt", x, zero, out="s")
    before = b.state("before", np.zeros(4, bool), b.tensor(s).dtype)
    b.update(before, s)
    b.output(b.op("cast", b.op("logical_and", s, before, out="both"), to="float32"))
    x = np.zeros((2, 5, 4), np.float32)
    x[0, 2:4, 0] = 1
    rates = measure_activity(b.build(), {"x": x})
    assert rates == pytest.approx({"s": 2 / 40, "before": 2 / 40, "both": 1 / 40})
