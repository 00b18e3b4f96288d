"""The reference interpreter: streams, steps, refusals, double precision and the state blob."""

from __future__ import annotations

import numpy as np
import pytest
from graph_samples import busy_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_graph, random_inputs

from edgekit.errors import DataError, StateError, UsageError
from edgekit.ir import INT8, INT16, INT32, SPIKE, GraphBuilder
from edgekit.reference import Interpreter, pack_states, unpack_states

SEEDS = st.integers(0, 2**32)


def only(arrays, n):
    return {name: array[n : n + 1] for name, array in arrays.items()}


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_a_batch_of_streams_is_that_many_single_streams(seed):
    graph = random_graph(seed)
    interpreter, inputs = Interpreter(graph), random_inputs(graph, seed, batch=3, steps=4)
    outputs, state = interpreter.run(inputs)
    for n in range(3):
        alone, alone_state = interpreter.run(only(inputs, n))
        for name in outputs:
            np.testing.assert_allclose(alone[name][0], outputs[name][n], rtol=1e-5, atol=1e-5)
        for name in state:
            np.testing.assert_allclose(alone_state[name][0], state[name][n], rtol=1e-5, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_run_is_that_many_steps(seed):
    graph = random_graph(seed)
    interpreter, inputs = Interpreter(graph), random_inputs(graph, seed, batch=2, steps=5)
    outputs, last = interpreter.run(inputs)
    state = interpreter.initial_state(2)
    for t in range(5):
        now, state = interpreter.execute({n: a[:, t] for n, a in inputs.items()}, state)
        for name in now:
            np.testing.assert_array_equal(now[name], outputs[name][:, t])
    for name in last:
        np.testing.assert_array_equal(state[name], last[name])
        assert last[name].dtype == graph.tensors[name].dtype.numpy


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_are_refused_and_nothing_changes(bad):
    graph = busy_graph()
    interpreter = Interpreter(graph)
    _, state = interpreter.run({"x": np.ones((2, 3, 3), np.float32)})
    before = {n: a.copy() for n, a in state.items()}
    x = np.ones((2, 3), np.float32)
    x[1, 2] = bad
    with pytest.raises(DataError, match="input 'x': holds NaN or Inf"):
        interpreter.execute({"x": x}, state)
    for name, array in state.items():
        np.testing.assert_array_equal(array, before[name])


def test_a_step_never_writes_into_the_state_it_was_given():
    graph = random_graph(5)
    interpreter = Interpreter(graph)
    state = interpreter.initial_state()
    for array in state.values():
        array.flags.writeable = False
    interpreter.run(random_inputs(graph, 0, 1, 3), state)


def test_reset_keeps_what_is_kept():
    interpreter = Interpreter(busy_graph())
    _, state = interpreter.run({"x": np.ones((2, 4, 3), np.float32)})
    assert np.abs(state["u"]).max() > 0
    fresh = interpreter.reset(state)
    np.testing.assert_array_equal(fresh["u"], np.zeros((2, 5)))
    np.testing.assert_array_equal(fresh["total"], state["total"])
    assert (state["total"] > 1).any()


def test_double_precision_runs_in_double_precision():
    b = GraphBuilder("sum")
    x, u = b.input("x", (1,)), b.state("u", np.zeros(1))
    total = b.op("add", u, x)
    b.update("u", total)
    b.output(total)
    graph, x = b.build(), np.full((1, 1000, 1), 0.1, np.float32)
    expected = 1000 * np.float64(np.float32(0.1))
    single = Interpreter(graph).run({"x": x})[0][total]
    double = Interpreter(graph, np.float64).run({"x": x})[0][total]
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    assert double[0, -1] == pytest.approx(expected, rel=1e-12)
    assert abs(single[0, -1] - expected) > 1e-5


def test_wrong_inputs_are_named():
    interpreter = Interpreter(busy_graph())
    state = interpreter.initial_state()
    with pytest.raises(DataError, match=r"takes inputs \['x'\], got \['y'\]"):
        interpreter.execute({"y": np.zeros((1, 3))}, state)
    with pytest.raises(DataError, match=r"step shape \(4,\), the program takes \(3,\)"):
        interpreter.execute({"x": np.zeros((1, 4))}, state)
    with pytest.raises(UsageError, match="entry 'learn': not in this program; it has step"):
        interpreter.execute({"x": np.zeros((1, 3))}, state, "learn")
    with pytest.raises(DataError, match="no time steps"):
        interpreter.run({"x": np.zeros((1, 0, 3))})


# --- the state blob --------------------------------------------------------------------------------------------------


def typed_graph():
    """A state of every dtype a blob may hold."""
    b = GraphBuilder("typed")
    x = b.input("x", (2,))
    for name, dtype in (("f", None), ("s", SPIKE), ("i8", INT8), ("i16", INT16), ("i32", INT32)):
        b.state(name, np.zeros((2, 3)), **({} if dtype is None else {"dtype": dtype}))
    b.output(x)
    return b.build()


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_blob_round_trip(seed):
    graph, rng = typed_graph(), np.random.default_rng(seed)
    state = {
        "f": rng.normal(size=(2, 3)).astype(np.float32),
        "s": rng.random((2, 3)) < 0.5,
        **{f"i{b}": rng.integers(-(2 ** (b - 1)), 2 ** (b - 1), (2, 3)).astype(f"int{b}") for b in (8, 16, 32)},
    }
    blob = pack_states(graph, state)
    assert len(blob) == 40 + 6 * (4 + 1 + 1 + 2 + 4)
    assert blob[:8] == b"EKS1\x01\0\0\0"
    assert blob[8:40].hex() == graph.hash()
    for name, array in unpack_states(graph, blob).items():
        np.testing.assert_array_equal(array, state[name])
        assert array.dtype == state[name].dtype


def test_blob_layout_is_little_endian_row_major_and_one_byte_a_spike():
    graph = typed_graph()
    state = {s.tensor: s.init for s in graph.states}
    state["f"] = np.arange(6, dtype=np.float32).reshape(2, 3)
    state["s"] = np.array([[True, False, True], [False, False, True]])
    state["i16"] = np.array([[1, -2, 3], [4, 5, 256]], np.int16)
    body = pack_states(graph, state)[40:]
    assert body[4:8] == b"\0\0\x80\x3f"
    assert body[24:30] == b"\1\0\1\0\0\1"
    assert body[36:48] == b"\1\0\xfe\xff\3\0\4\0\5\0\0\1"


DAMAGE = {
    "empty": (lambda b: b"", "has 0 bytes"),
    "one byte short": (lambda b: b[:-1], "bytes, this program's has"),
    "one byte long": (lambda b: b + b"\0", "bytes, this program's has"),
    "magic": (lambda b: b"X" + b[1:], "starts with"),
    "version": (lambda b: b[:4] + b"\2" + b[5:], "version 2"),
    "another program": (lambda b: b[:20] + bytes([b[20] ^ 1]) + b[21:], "another program"),
    "NaN": (lambda b: b[:40] + b"\0\0\xc0\x7f" + b[44:], "state 'f' holds NaN"),
    "Inf": (lambda b: b[:40] + b"\0\0\x80\x7f" + b[44:], "state 'f' holds NaN or Inf"),
    "half a spike": (lambda b: b[:64] + b"\2" + b[65:], "state 's' holds a spike"),
}


@pytest.mark.parametrize(("damage", "says"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_blobs_are_refused(damage, says):
    graph = typed_graph()
    blob = pack_states(graph, {s.tensor: s.init for s in graph.states})
    with pytest.raises(StateError, match=says):
        unpack_states(graph, damage(blob))
