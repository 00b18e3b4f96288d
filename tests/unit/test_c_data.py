"""Constants as C text, packed weights, spike words, memory tables, and movement ops as walks."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.backends.c.data import (
    c_array,
    float_literal,
    memory_columns,
    memory_table,
    pack_dot,
    pack_panels,
    padded,
    spike_words,
)
from edgekit.backends.c.sparse import RUN_STEP, columns_of, runs_of
from edgekit.backends.c.walk import Walk, walks_of
from edgekit.ir import GraphBuilder
from edgekit.ir.ops import OPS

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(FLOATS)
def test_a_literal_reads_back_exactly(value: float) -> None:
    text = float_literal(value)
    assert re.fullmatch(r"-?\d+(\.\d+)?(e[-+]\d+)?f", text)
    assert "." in text or "e" in text, "an integer with an f is no C literal"
    assert np.float32(text[:-1]).tobytes() == np.float32(value).tobytes()


@given(st.lists(FLOATS, min_size=1, max_size=20))
def test_an_array_reads_back_exactly(values: list[float]) -> None:
    array = np.array([*values, -0.0], np.float32)
    text = c_array("float", "a", array)
    items = re.search(r"\{(.*)\}", text, re.DOTALL)
    assert items is not None
    back = np.array([float(v) for v in items[1].split(",") if v.strip()], np.float32)
    assert back.tobytes() == array.tobytes()
    assert "-0," not in text.replace("\n", ""), "-0 is an integer in C, and has no sign"


@given(st.integers(1, 200), st.integers(1, 9), st.sampled_from([8, 16]))
def test_panels_hold_every_weight_once(n_out: int, n_in: int, pad: int) -> None:
    weights = np.arange(1, n_out * n_in + 1, dtype=np.float32).reshape(n_out, n_in)
    packed = pack_panels(weights, pad)
    rows = -(-n_out // pad) * pad
    assert packed.size == rows * n_in
    at = 0
    for first in range(0, rows, 64):
        width = min(64, rows - first)
        panel = packed[at : at + width * n_in].reshape(n_in, width).T
        real = weights[first : first + width]
        np.testing.assert_array_equal(panel[: len(real)], real)
        assert not panel[len(real) :].any()
        at += width * n_in


@given(st.integers(1, 100), st.integers(1, 9))
def test_weights_for_dot_products_hold_every_weight_once(n_out: int, n_in: int) -> None:
    weights = np.random.default_rng(0).integers(1, 100, (n_out, n_in)).astype(np.int8)
    packed, fours = pack_dot(weights), -(-n_in // 4)
    back, at = np.zeros((-(-n_out // 16) * 16, 4 * fours), np.int8), 0
    for first in range(0, len(back), 32):
        block = back[first : first + 32]
        size = block.size
        block[:] = packed[at : at + size].reshape(fours, len(block), 4).swapaxes(0, 1).reshape(block.shape)
        at += size
    assert at == packed.size
    np.testing.assert_array_equal(back[:n_out, :n_in], weights)
    assert np.count_nonzero(back) == weights.size


@given(st.lists(st.booleans(), min_size=1, max_size=100))
def test_spike_words(spikes: list[bool]) -> None:
    words = spike_words(np.array(spikes))
    assert words.size == -(-len(spikes) // 32)
    for i in range(words.size * 32):
        fired = bool(int(words[i // 32]) >> (i % 32) & 1)
        assert fired == (spikes[i] if i < len(spikes) else False), "bits that are no neuron are zero"


def test_padded_keeps_whole_words() -> None:
    assert padded(np.ones((3, 11), np.float32)).tolist() == [1.0] * 33 + [0.0] * 31
    assert padded(np.ones(32, np.float32)).size == 32


@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_memory_table_is_the_memory_update(order: int, inputs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (
        rng.standard_normal((order, order)).astype(np.float32),
        rng.standard_normal((order, inputs)).astype(np.float32),
    )
    table = memory_table(a, b)
    assert table.shape == (2 ** (order + inputs), -(-order // 4) * 4)
    row = int(rng.integers(len(table)))
    m, u = [row >> j & 1 for j in range(order)], [row >> (order + j) & 1 for j in range(inputs)]
    np.testing.assert_allclose(table[row, :order], a @ m + b @ u, rtol=1e-5, atol=1e-5)
    assert not table[:, order:].any()


@given(st.integers(1, 16), st.integers(1, 3))
def test_memory_columns_hold_both_matrices(order: int, inputs: int) -> None:
    a, b = np.arange(order**2).reshape(order, order) + 1.0, -np.arange(order * inputs).reshape(order, inputs) - 1.0
    columns, stride = memory_columns(a, b), -(-order // 4) * 4
    assert columns.size >= stride * (order + inputs) + 16 - 4, "a vector may be read past the last column"
    table = columns[: stride * (order + inputs)].reshape(-1, stride)
    np.testing.assert_array_equal(table[:, :order], np.concatenate([a, b], axis=1).T)
    assert not table[:, order:].any()


@st.composite
def sparse_matrices(draw: st.DrawFn) -> np.ndarray:
    """Weights with zeros anywhere, in a band, or around blocks."""
    n_out, n_in = draw(st.integers(1, 12)), draw(st.integers(1, 90))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    at = np.arange(n_in) * n_out // n_in
    near = np.abs(np.arange(n_out)[:, None] - at) < draw(st.integers(0, 4))
    shown = near if draw(st.booleans()) else rng.random((n_out, n_in)) < draw(st.floats(0, 1))
    weights = np.where(shown, rng.integers(1, 100, (n_out, n_in)), 0)
    return weights.astype(draw(st.sampled_from([np.float32, np.int8])))


@given(sparse_matrices())
def test_columns_hold_every_weight_once(weights: np.ndarray) -> None:
    columns, back = columns_of(weights), np.zeros(weights.shape)
    assert columns.per in ((1, 4) if weights.dtype == np.float32 else (1,))
    blocks = columns.weights.reshape(-1, columns.per)
    for i in range(weights.shape[1]):
        for e in range(columns.start[i], columns.start[i + 1]):
            assert columns.row[e] + columns.per <= len(weights), "a block ends within the outputs"
            back[columns.row[e] : columns.row[e] + columns.per, i] += blocks[e]
    np.testing.assert_array_equal(back, weights)


@given(sparse_matrices())
def test_runs_hold_every_weight_once(weights: np.ndarray) -> None:
    runs = runs_of(weights)
    if runs is None:
        return
    back, pairs, at, w = np.zeros(weights.shape), runs.run.reshape(-1, 2).astype(int), 0, 0
    for o, count in enumerate(runs.count):
        for first, length in pairs[at : at + count]:
            assert length % RUN_STEP == 0
            assert first + length <= weights.shape[1], "a run ends within the inputs"
            back[o, first : first + length] += runs.weights[w : w + length]
            w += length
        at += count
    np.testing.assert_array_equal(back, weights)


def test_runs_are_for_blocks() -> None:
    blocks = np.kron(np.eye(45), np.ones((1, 28))).astype(np.float32)
    runs = runs_of(blocks)
    assert runs is not None
    assert runs.weights.size == 45 * 32
    assert runs_of(np.ones((45, 1260), np.float32)) is None


def test_more_entries_than_16_bits_count_have_wide_starts() -> None:
    assert columns_of(np.ones((3, 2**16), np.int8)).start.dtype == np.uint32
    assert columns_of(np.ones((3, 100), np.int8)).start.dtype == np.uint16


def walked(walk: Walk, x: np.ndarray, y: np.ndarray) -> None:
    for index in np.ndindex(*walk.shape):
        source = walk.x_first + sum(i * s for i, s in zip(index, walk.x_step, strict=True))
        y[walk.y_first + sum(i * s for i, s in zip(index, walk.y_step, strict=True))] = x[source]


@st.composite
def movements(draw: st.DrawFn) -> tuple[tuple[int, ...], str, dict[str, object]]:
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    kind = draw(st.sampled_from(["transpose", "expand", "slice", "concat"]))
    if kind == "transpose":
        return shape, kind, {"perm": tuple(draw(st.permutations(range(len(shape)))))}
    if kind == "expand":
        return (
            shape,
            kind,
            {"shape": (draw(st.integers(1, 3)), *(n if n > 1 else draw(st.integers(1, 3)) for n in shape))},
        )
    axis = draw(st.integers(0, len(shape) - 1))
    if kind == "concat":
        return shape, kind, {"axis": axis}
    start = draw(st.integers(0, shape[axis] - 1))
    stop = draw(st.integers(start + 1, shape[axis]))
    return shape, kind, {"axis": axis, "start": start, "stop": stop, "step": draw(st.integers(1, 3))}


@settings(deadline=None)
@given(movements())
def test_walks_move_what_the_op_moves(case: tuple[tuple[int, ...], str, dict[str, object]]) -> None:
    shape, kind, attrs = case
    b = GraphBuilder("walk")
    names = [b.input("x", shape)] + ([b.input("z", shape)] if kind == "concat" else [])
    b.output(b.op(kind, *names, **attrs))
    graph = b.build()
    op = graph.entries["step"].ops[0]
    arrays = [np.arange(np.prod(shape)).astype(np.float32).reshape(1, *shape) + 100 * i for i in range(len(names))]
    wanted = OPS[kind].evaluate(arrays, op.attrs, [graph.tensors[n] for n in names])[0]
    walks, y = walks_of(graph, op), np.full(wanted.size, np.nan, np.float32)
    for walk, x in zip(walks, arrays, strict=True):
        assert len(walk.shape) <= 6
        walked(walk, x.reshape(-1), y)
    np.testing.assert_array_equal(y, wanted.reshape(-1))


def test_axes_that_continue_one_another_are_joined() -> None:
    b = GraphBuilder("joined")
    b.output(b.op("slice", b.input("x", (6, 5, 4)), axis=0, start=2, stop=4))
    graph = b.build()
    (walk,) = walks_of(graph, graph.entries["step"].ops[0])
    assert walk == Walk((40,), 40, (1,), 0, (1,))


@pytest.mark.parametrize("values", [np.array([1, -2], np.int8), np.array([7, 8], np.uint32)])
def test_integer_arrays(values: np.ndarray) -> None:
    text = c_array("int", "a", values)
    assert all(str(v) in text for v in values.tolist())
