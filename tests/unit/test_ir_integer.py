"""Integers in the interpreter against the same ops written a second time, in Python's unbounded integers."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_oracle import PlainProgram, single
from integer_streams import random_stream
from random_integer import CELLS, DEALT, DEFAULT_SEEDS, FULL, describe, random_integer_graph

from edgekit.ir import DTYPES, INT8, INT16, INT32, OPS, SPIKE, Graph, GraphBuilder
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.runtime.streams import ReferenceStream

WHOLE = ("int8", "int16", "int32")
STEPS = 3


def stored(dtype: str) -> st.SearchStrategy[int]:
    """A stored value, often near the ends of the range or zero."""
    low, high = DTYPES[dtype].limits
    edges = st.sampled_from([low, low + 1, -2, -1, 0, 1, 2, high - 1, high])
    return st.one_of(st.integers(low, high), edges)


def evaluate(kind: str, *operands: tuple[str, list[int]], const: tuple[int, ...] = (), **attrs: object) -> list[int]:
    """One op over vectors of stored values; the operands numbered `const` are constants."""
    b, given = GraphBuilder("one"), {}
    names = []
    for at, (dtype, values) in enumerate(operands):
        name = f"v{at}"
        if at in const:
            b.const(name, values, DTYPES[dtype])
        else:
            b.input(name, np.shape(values), DTYPES[dtype])
            given[name] = np.array(values, DTYPES[dtype].numpy)
        names.append(name)
    b.output(b.op(kind, *names, **attrs))
    graph = b.build()
    return [int(v) for v in ReferenceStream(graph).call("step", [given[n] for n in given])[0].reshape(-1)]


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_rescale_rounds_half_up_once_and_saturates(data: st.DataObject) -> None:
    source, factor, to = (data.draw(st.sampled_from(WHOLE)) for _ in range(3))
    x, m, shift = data.draw(stored(source)), data.draw(stored(factor)), data.draw(st.integers(0, 62))
    low, high = DTYPES[to].limits
    exact = floor(Fraction(x * m, 2**shift) + Fraction(1, 2))
    (got,) = evaluate("rescale", (source, [x]), (factor, [m]), const=(1,), shift=shift, to=to)
    assert got == min(max(exact, low), high)
    assert evaluate("rescale", (source, [x]), (factor, [m]), shift=shift, to=to) == [got]


@pytest.mark.parametrize(("x", "expected"), [(-3, -1), (-2, -1), (-1, 0), (1, 1), (2, 1), (3, 2), (5, 3), (-5, -2)])
def test_a_half_is_rounded_up_not_away_from_zero(x: int, expected: int) -> None:
    assert evaluate("rescale", ("int16", [x]), ("int8", [1]), const=(1,), shift=1, to="int16") == [expected]


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_sums_and_differences_wrap_unless_they_saturate(data: st.DataObject) -> None:
    dtype, kind, saturate = data.draw(st.tuples(st.sampled_from(WHOLE), st.sampled_from(("add", "sub")), st.booleans()))
    x, y = data.draw(stored(dtype)), data.draw(stored(dtype))
    exact, (low, high) = x + y if kind == "add" else x - y, DTYPES[dtype].limits
    (got,) = evaluate(kind, (dtype, [x]), (dtype, [y]), saturate=saturate)
    assert low <= got <= high
    if saturate:
        assert got == min(max(exact, low), high)
    else:
        assert (got - exact) % 2 ** DTYPES[dtype].bits == 0


@pytest.mark.parametrize("dtype", WHOLE)
def test_the_lowest_number_has_no_opposite(dtype: str) -> None:
    low, high = DTYPES[dtype].limits
    assert evaluate("neg", (dtype, [low, high, 0])) == [low, -high, 0]
    assert evaluate("abs", (dtype, [low, low + 1, high])) == [low, high, high]
    assert evaluate("relu", (dtype, [low, 0, high])) == [0, 0, high]


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_a_table_over_int16_interpolates_and_rounds_half_up(data: st.DataObject) -> None:
    bits = data.draw(st.integers(2, 12))
    kind = data.draw(st.sampled_from(["ends", "any", "ramp"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n = 2**bits + 1
    table = {
        "ends": rng.choice([-(2**15), 2**15 - 1], size=n),
        "any": rng.integers(-(2**15), 2**15, size=n),
        "ramp": np.linspace(-(2**15), 2**15 - 1, n).astype(int),
    }[kind].tolist()
    xs = [data.draw(stored("int16")) for _ in range(5)] + [-(2**15), 2**15 - 1]
    width = 2 ** (16 - bits)
    for x, got in zip(xs, evaluate("lookup", ("int16", xs), ("int16", table), const=(1,)), strict=True):
        at = (x + 2**15) // width
        exact = table[at] + Fraction((table[at + 1] - table[at]) * ((x + 2**15) % width), width)
        assert got == floor(exact + Fraction(1, 2))
        assert min(table[at : at + 2]) <= got <= max(table[at : at + 2])


@pytest.mark.parametrize("total", ["int16", "int32"])
@pytest.mark.parametrize(("x", "w"), [("spike", "int4"), ("int8", "int8"), ("int16", "int16"), ("int16", "int8")])
def test_sums_at_the_ends_of_the_range_are_exact_modulo_2_to_the_bits(x: str, w: str, total: str) -> None:
    features, dtype = 130, DTYPES[total]
    ends = (0, 1) if x == "spike" else DTYPES[x].limits
    low = DTYPES[w].limits[0]
    for value in ends:
        b = GraphBuilder("sums")
        source = b.input("x", (features,), DTYPES[x])
        weights, start = b.const("w", np.full((3, features), low), DTYPES[w]), b.const("c", dtype.limits, dtype)
        addend = b.op("slice", b.op("concat", start, start, axis=0), axis=0, start=0, stop=3)
        b.output(b.op("linear", source, weights, addend, accumulate=total))
        stream = ReferenceStream(b.build())
        got = stream.call("step", [np.full(features, value, np.int8 if x == "spike" else DTYPES[x].numpy)])[0]
        for result, first in zip(got.tolist(), [*dtype.limits, dtype.limits[0]], strict=True):
            assert (result - (features * value * low + first)) % 2**dtype.bits == 0


@given(
    st.floats(width=32, allow_nan=True, allow_infinity=True, allow_subnormal=True),
    st.floats(-100, 100, width=32),
    st.floats(0.0078125, 65536, width=32),
    st.sampled_from(["int8", "int16"]),
)
@settings(deadline=None, max_examples=200)
def test_quantize_rounds_half_up_in_float32(x: float, offset: float, gain: float, to: str) -> None:
    b = GraphBuilder("border")
    b.output(b.op("quantize", b.input("x", (1,)), b.const("offset", offset), b.const("gain", gain), to=to))
    graph = b.build()
    (got,) = (int(v) for v in ReferenceStream(graph).call("step", [np.array([x], np.float32)])[0])
    low, high = DTYPES[to].limits
    scaled = single(single(x - single(offset)) * single(gain))
    if math.isnan(scaled):
        assert got == 0
    else:
        assert got == floor(single(min(max(scaled, low), high) + 0.5))
        assert low <= got <= high


def agrees(graph: Graph, seed: int, steps: int = STEPS) -> None:
    """Interpreter and plain Python give the same outputs and states, before and after lowering."""
    inputs = random_stream(graph, seed, steps)
    for form in (graph, run_passes(graph, LOWER)):
        stream, plain = ReferenceStream(form), PlainProgram(form)
        for t in range(steps):
            step = [a[t] for a in inputs]
            for got, expected in zip(stream.call("step", step), plain.call("step", step), strict=True):
                assert got.shape == expected.shape
                assert tuple(got.reshape(-1).tolist()) == expected.data
            for name, state in stream._state.items():
                assert tuple(state.reshape(-1).astype(int).tolist()) == plain.states[name].data, name
        for entry in ("quantize", "dequantize"):
            if entry not in form.entries:
                continue
            arrays = [a[0] for a in random_stream(form, seed, 1, entry)]
            for got, expected in zip(stream.call(entry, arrays), plain.call(entry, arrays), strict=True):
                assert tuple(got.reshape(-1).tolist()) == expected.data, entry


@pytest.mark.parametrize("seed", DEFAULT_SEEDS)
def test_random_programs_are_what_plain_integers_say(seed: int) -> None:
    agrees(random_integer_graph(seed), seed)


@given(st.integers(100, 10**6), st.integers(1, FULL))
@settings(deadline=None, max_examples=8)
def test_any_random_program_is_what_plain_integers_say(seed: int, ops: int) -> None:
    print(describe(seed, ops))
    agrees(random_integer_graph(seed, ops), seed, 2)


def _uses(graph: Graph) -> set[tuple[str, ...]]:
    """(op, dtype of each input, dtype of its result) for every op of a graph, lowered or not."""
    uses: set[tuple[str, ...]] = set()
    for _, op in graph.ops():
        uses.add((op.kind, *(graph.tensors[n].dtype.name for n in (*op.inputs[:2], *op.outputs[:1]))))
    return uses


def test_the_default_seeds_use_every_op_with_every_dtype() -> None:
    graphs = [random_integer_graph(seed) for seed in DEFAULT_SEEDS]
    uses = set().union(*map(_uses, graphs))
    kinds = {u[0] for u in uses}
    floats = {"sign", "exp", "log", "sqrt", "reciprocal", "tanh", "sigmoid", "flush", "mul", "div", "fused"}
    floats |= {"erf", "sin", "cos", "floor", "round", "conv"}
    assert kinds == OPS.keys() - floats
    for d in WHOLE:
        for kind in ("neg", "abs", "relu", "add", "sub", "minimum", "maximum", "gt", "ge", "lt", "le", "eq", "ne"):
            assert any(u[:2] == (kind, d) for u in uses), (kind, d)
        assert any(u[:3] == ("where", "spike", d) for u in uses), d
        assert {("sum", d, "int32"), ("amax", d, d)} <= uses
        assert {u[1] for u in uses if u[0] == "rescale" and u[-1] == d} == set(WHOLE)
        assert {u[1] for u in uses if u[0] == "cast" and u[-1] == d} == {"spike", *WHOLE}
    for x in ("spike", "int8", "int16"):
        for total in ("int16", "int32"):
            found = {u[2] for u in uses if u[0] == "linear" and (u[1], u[-1]) == (x, total)}
            assert found == {"int4", "int8", "int16"}, (x, total)
            assert any(u[0] == "memory_update" and (u[1], u[-1]) == (x, total) for u in uses), (x, total)
    for d in ("spike", *WHOLE):
        for kind in ("reshape", "transpose", "expand", "slice", "concat", "gather", "pad", "windows", "amax"):
            assert any(u[:2] == (kind, d) for u in uses), (kind, d)
    assert {u[1:] for u in uses if u[0] == "lookup"} == {("int8",) * 3, ("int8", "int16", "int16"), ("int16",) * 3}
    assert {u[-1] for u in uses if u[0] == "quantize"} == {"int8", "int16"}
    assert {u[1] for u in uses if u[0] == "dequantize"} == set(WHOLE)
    states = {(g.tensors[s.tensor].dtype, s.reset) for g in graphs for s in g.states}
    assert states == {(d, policy) for d in (SPIKE, INT8, INT16, INT32) for policy in ("reset", "keep")}
    saturating = {(op.kind, bool(op.attrs.get("saturate"))) for g in graphs for _, op in g.ops()}
    assert {("add", True), ("sub", True), ("add", False), ("sub", False)} <= saturating
    addends = {len(op.inputs) for g in graphs for _, op in g.ops() if op.kind == "linear"}
    assert addends == {2, 3}
    tables = {g.tensors[op.inputs[1]].size for g in graphs for _, op in g.ops() if op.kind == "lookup"}
    assert tables == {256, *(2**bits + 1 for bits in range(2, 13))}


def test_fewer_ops_of_a_seed_are_its_beginning() -> None:
    long, short = random_integer_graph(7, 12), random_integer_graph(7, 6)
    made = [op for op in short.entries["step"].ops if "concat" not in op.kind and "reshape" not in op.kind]
    kinds = [(op.kind, op.inputs) for op in long.entries["step"].ops]
    assert all((op.kind, op.inputs) in kinds for op in made)
    assert len(DEFAULT_SEEDS) * DEALT >= len(CELLS)


def test_a_program_is_the_same_in_every_process() -> None:
    script = "from random_integer import random_integer_graph as g; print(g(3).hash())"
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "123"}
    other = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True, text=True)
    assert other.stdout.strip() == random_integer_graph(3).hash()
