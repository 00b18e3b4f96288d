"""Weights of few distinct values, stored as numbers of them: every form on every layout, byte for byte."""

from __future__ import annotations

import os
from itertools import product

import numpy as np
import pytest
from integer_forms import TWIN, Flavoured
from integer_streams import whole_numbers

from edgekit.ir import INT8, INT16, INT32, SPIKE, DType, Graph, GraphBuilder
from edgekit.passes.pipelines import LOWER, run_passes

SWEEPS = "EDGEKIT_SWEEPS" in os.environ
LEVELS = {
    "ternary": (-1, 0, 1),
    "quarter": (-2, -1, 0, 1),
    "four": (-113, -7, 5, 96),
    "three": (-60, 0, 60),
    "eight": (-128, -77, -31, -9, 4, 18, 51, 127),
    "zeroed": (-90, -40, -11, 0, 13, 37, 92),
    "sixteen": (-128, -99, -76, -55, -40, -27, -15, -4, 1, 9, 20, 33, 48, 66, 91, 127),
}
TABLE = {"four": 4, "three": 4, "eight": 6, "zeroed": 6, "sixteen": 8}  # bits of a pair of weights


def picked(rng: np.random.Generator, shape: tuple[int, int], levels: str) -> np.ndarray:
    """Weights of exactly these levels."""
    weights = rng.choice(LEVELS[levels], shape)
    weights.reshape(-1)[: len(LEVELS[levels])] = LEVELS[levels]
    return weights


def dense(levels: str, x: DType, total: DType, w: DType = INT8) -> Graph:
    """Linears of odd and even sizes, with a constant addend, a computed one, and none."""
    name = f"dense_{levels}_{x}_{total}_{w}"
    rng, b = np.random.default_rng(len(name)), GraphBuilder(name)
    sizes = (80, 81) if len(LEVELS[levels]) > 8 else (21, 40)  # a table of all pairs takes a kilobyte
    inputs = {n: b.input(f"x{n}", (n,), x) for n in (64, 77, 121)}
    outs = []
    for at, (n_in, n_out) in enumerate(product(inputs, sizes)):
        weights = b.const(f"w{at}", picked(rng, (n_out, n_in), levels), w)
        addend = [b.const(f"c{at}", whole_numbers(rng, (n_out,), total), total)] if at % 3 == 0 else []
        y = b.op("linear", inputs[n_in], weights, *addend, accumulate=str(total))
        if at % 3 == 1:  # over the sums of the first
            again = b.const(f"v{at}", picked(rng, (n_out, n_in), levels), w)
            y = b.op("linear", inputs[n_in], again, y, accumulate=str(total))
        outs.append(y)
    b.output(b.op("concat", *outs, axis=0))
    return run_passes(b.build(), LOWER)


def rows(levels: str, x: DType) -> Graph:
    """The same weights for several rows of x."""
    rng, b = np.random.default_rng(3), GraphBuilder(f"rows_{levels}_{x}")
    for at, (n_rows, n_in, n_out) in enumerate([(3, 64, 40), (2, 72, 36)]):
        weights = b.const(f"w{at}", picked(rng, (n_out, n_in), levels), INT8)
        c = b.const(f"c{at}", whole_numbers(rng, (n_out,), INT32), INT32)
        b.output(b.op("linear", b.input(f"x{at}", (n_rows, n_in), x), weights, c, accumulate="int32"))
    return run_passes(b.build(), LOWER)


def spiking(levels: str, n: int, targets: int) -> Graph:
    """Neurons that excite one another and others, some over plain weights beside these in one row."""
    rng, b = np.random.default_rng(n + targets), GraphBuilder(f"spiking_{levels}_{n}_{targets}")

    def weights(n_out: int, n_in: int) -> str:
        return b.const(b.fresh("w"), picked(rng, (n_out, n_in), levels), INT8)

    x, last = b.input("x", (n,), INT16), b.state("last", rng.random(n) < 0.3, SPIKE)
    drive = b.op("linear", last, weights(n, n), x, accumulate="int16")
    plain = b.const("plain", whole_numbers(rng, (targets, n), INT8), INT8)
    fired = b.op("gt", drive, b.const("level", 90, INT16))
    b.update(last, fired)
    sums = b.op("linear", fired, weights(targets, n), accumulate="int16")
    more = b.op("linear", fired, plain, sums, accumulate="int16")
    total = b.op("linear", fired, weights(targets, n), b.op("cast", more, to="int32"), accumulate="int32")
    b.output(total, more, fired)
    return run_passes(b.build(), LOWER)


PAIRS = Flavoured("smartwatch-m4")
ENGINES = (TWIN, "M4", "M4 gcc", "M33") if SWEEPS else (TWIN, "M4")


def pair_form(levels: str) -> str:
    return f"p{TABLE[levels]}" if levels in TABLE else "w2"


@pytest.mark.parametrize("engine", ENGINES)
def test_dense_sums_in_pairs(engine: str) -> None:
    graphs = [dense(levels, x, total) for levels, x, total in product(LEVELS, (INT8, INT16), (INT16, INT32))]
    for graph in graphs:
        _, levels, x, total, _ = graph.name.split("_")
        form = f"linear_pairs_x{x.removeprefix('int')}_{pair_form(levels)}_a{total.removeprefix('int')}"
        assert {k for k in PAIRS.kernels(graph) if k.startswith("linear")} == {form}
    graphs += [rows(levels, x) for levels, x in product(LEVELS, (INT8, INT16))]
    PAIRS.hold(engine, graphs, 1, steps=6)


@pytest.mark.parametrize("engine", ENGINES)
def test_events_in_pairs(engine: str) -> None:
    graphs = [spiking(levels, *size) for levels, size in product(LEVELS, [(64, 96), (77, 49)])]
    for graph in graphs:
        kernels = PAIRS.kernels(graph)
        levels = graph.name.split("_")[1]
        if levels != "sixteen":
            assert f"linear_event_pairs_{pair_form(levels)}_a16" in kernels
    PAIRS.hold(engine, graphs, 2)


VECTORS = Flavoured("smartwatch-m55")
VECTOR_ENGINES = (TWIN, "M55", "M55 gcc") if SWEEPS else (TWIN, "M55")


def vector_form(levels: str) -> str:
    return "w2" if levels not in TABLE else "n2" if TABLE[levels] == 4 else "n4"


@pytest.mark.parametrize("engine", VECTOR_ENGINES)
def test_dense_sums_in_vectors(engine: str) -> None:
    graphs = [dense(levels, x, total) for levels, x, total in product(LEVELS, (INT8, INT16), (INT16, INT32))]
    for graph in graphs:
        _, levels, x, total, _ = graph.name.split("_")
        form = f"linear_eights_x{x.removeprefix('int')}_{vector_form(levels)}_a{total.removeprefix('int')}"
        assert {k for k in VECTORS.kernels(graph) if k.startswith("linear")} == {form}
    graphs += [rows(levels, x) for levels, x in product(("ternary", "four"), (INT8, INT16))]
    VECTORS.hold(engine, graphs, 3, steps=6)


@pytest.mark.parametrize("engine", VECTOR_ENGINES)
def test_events_in_vectors(engine: str) -> None:
    graphs = [spiking(levels, *size) for levels, size in product(LEVELS, [(64, 96), (77, 49)])]
    for graph in graphs:
        form = vector_form(graph.name.split("_")[1])
        assert f"linear_event_eights_{form}_a16" in VECTORS.kernels(graph)
    VECTORS.hold(engine, graphs, 4)
