"""The forms with eight int16 in a vector: MVE in the emulator, and their layout in plain C here, byte for byte."""

from __future__ import annotations

import os
from itertools import product

import numpy as np
import pytest
from integer_engines import emitted
from integer_equality import check, check_refusals, expected, label, reference_of
from integer_forms import (
    TWIN,
    Flavoured,
    chained,
    dense,
    everything,
    in_steps,
    lines,
    memory,
    rescaling,
    rows,
    spans,
    spiking,
    summing,
    swept,
    values,
)

from edgekit.ir import INT4, INT8, INT16, INT32, SPIKE, DType, GraphBuilder
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.target import load_target

pytestmark = pytest.mark.drawn(2)
TARGET = load_target("smartwatch-m55")
CORE = "M55"
SWEEPS = "EDGEKIT_SWEEPS" in os.environ
ENGINES = (TWIN, CORE, "M55 gcc") if SWEEPS else (TWIN, CORE)
RANDOM = range(20, 60 if SWEEPS else 30)  # programs beside those that every core gets
FORMS = Flavoured(TARGET.name)
streams, kernels, hold = FORMS.streams, FORMS.kernels, FORMS.hold


@pytest.mark.parametrize("engine", [TWIN, CORE])
def test_random_programs_are_byte_equal(engine: str) -> None:
    for at in range(0, len(RANDOM), 10):
        with streams(engine, [expected(n).graph for n in RANDOM[at : at + 10]]) as stream:
            for n in RANDOM[at : at + 10]:
                check(stream(expected(n).graph), expected(n), label(n, engine))


@pytest.mark.parametrize("engine", [TWIN, CORE])
def test_lists_last_until_both_of_a_pair_are_read(engine: str) -> None:
    hold(engine, [chained(7), chained(30)], seed=5)


# --- dense -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_dense_sums_of_every_size_and_width(engine: str) -> None:
    graphs = [dense(*types) for types in product((INT8, INT16), (INT4, INT8, INT16), (INT16, INT32))]
    for graph, (x, w, total) in zip(graphs, product((8, 16), (4, 8, 16), (16, 32)), strict=True):
        names = set(kernels(graph)) - {f"linear_spans_x{x}_w{w}_a{total}"}  # where weights happen to end in zeros
        form = f"nibbles_x{x}" if w == 4 else f"eights_x{x}_w{w}"
        assert names == {f"linear_{form}_a{total}", f"walk_i{total}"}
    hold(engine, graphs, 1, steps=8)


@pytest.mark.parametrize("engine", [TWIN, CORE])
def test_rows_of_inputs(engine: str) -> None:
    graphs = [rows(*types) for types in product((INT8, INT16), (INT16, INT32))]
    left = [sum("dense" in kernel for kernel in kernels(g)) for g in graphs]
    assert left == [2, 1, 2, 1]  # int16 sums want an even number of outputs too
    hold(engine, graphs, 2, steps=10)


@pytest.mark.parametrize("engine", [TWIN, CORE])
def test_spans_of_neighbouring_inputs(engine: str) -> None:
    graphs = [spans(*types) for types in product((INT8, INT16), (INT8, INT16))]
    for graph, (x, w) in zip(graphs, product((8, 16), (8, 16)), strict=True):
        assert set(kernels(graph)) == {f"linear_spans_x{x}_w{w}_a32"}
    hold(engine, graphs, 3, steps=10)


# --- events ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", [TWIN, CORE])
def test_two_spans_of_inputs_far_from_each_other(engine: str) -> None:
    """What excites and what inhibits a branch: each output reads two windows, some only one, one nothing."""
    rng, b = np.random.default_rng(10), GraphBuilder("two_spans")
    weights = np.zeros((13, 700), np.int64)
    for o in range(12):
        weights[o, 20 * o : 20 * o + 30] = rng.integers(1, 128, 30)
        weights[o, 680 - 20 * o : 700 - 20 * o] = rng.integers(-127, 0, 20) * (o % 4 > 0)
    c = b.const("c", rng.integers(-9, 9, 13), INT32)
    b.output(b.op("linear", b.input("x", (700,), INT8), b.const("w", weights, INT8), c, accumulate="int32"))
    graph = run_passes(b.build(), LOWER)
    assert kernels(graph) == ["linear_spans_x8_w8_a32"]
    assert emitted(graph, TARGET).files["ek_two_spans.c"].count("ek_spans_x8_w8_a32(") == 2
    hold(engine, [graph], 10, steps=10)


@pytest.mark.parametrize("engine", ENGINES)
def test_events_of_every_size(engine: str) -> None:
    """Saved, restored and reset in the middle too: the lists of a step come from the one before it."""
    sizes = [(1, 1), (7, 8), (31, 9), (32, 40), (33, 49), (65, 56), (100, 97)]
    graphs = [spiking(n, targets, w) for w in (INT4, INT8, INT16) for n, targets in sizes]
    for graph in graphs:
        names = kernels(graph)
        assert names.count("linear_event_list") == 2
        assert sum(name.startswith("linear_event_eights_w") for name in names) == 3
        text = emitted(graph, TARGET).files[f"ek_{graph.name}.c"]
        assert all(f"ek_{verb}(" in text for verb in ("eight_subs_if", "eights_lt", "eights_ge"))
    hold(engine, graphs, 4)


def test_lists_last_from_step_to_step() -> None:
    """Each spike is looked for once a step, and after the states were set from outside."""
    text = emitted(spiking(33, 40, INT8), TARGET).files["ek_spiking_33_40_int8.c"]
    step, states = text.split("int ek_spiking_33_40_int8_run")
    assert (step.count("ek_fired_rows("), states.count("ek_fired_rows(")) == (2, 4)  # of two lists: reset and restore


@pytest.mark.parametrize("engine", [TWIN, CORE])
def test_events_with_sums_of_two_widths(engine: str) -> None:
    sizes = [(1, 1), (7, 8), (33, 25), (40, 61)]
    graphs = [summing(n, targets, w) for w in (INT4, INT8, INT16) for n, targets in sizes]
    for graph in graphs:
        bits = graph.name.rpartition("int")[2]
        names = [f"linear_event_eights_w{bits}_a{total}" for total in (16, 32)]
        assert set(kernels(graph)) == {*names, "linear_event_list", "map_eights"}
    hold(engine, graphs, 6, steps=12)


@pytest.mark.parametrize("engine", [TWIN, CORE])
def test_rows_that_bytes_do_not_count(engine: str) -> None:
    """More than 64 KiB of rows: offsets are counted in eights."""
    rng, b = np.random.default_rng(5), GraphBuilder("many_rows")
    x = b.input("x", (700,), SPIKE)
    b.output(b.op("linear", x, b.const("w", rng.integers(-9, 10, (101, 700)), INT8), accumulate="int16"))
    graph = run_passes(b.build(), LOWER)
    assert kernels(graph) == ["linear_event_eights_w8_a16"]
    hold(engine, [graph], 5, steps=8)
    with streams(engine, [graph]) as stream:
        check_refusals(stream(graph), reference_of(graph, 6, 23), engine)


# --- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", [TWIN, CORE])
def test_memories_of_every_number_of_channels(engine: str) -> None:
    graphs = [memory(n) for n in (1, 3, 4, 5, 8, 9, 12, 13, 31, 32, 33, 37, 64, 70)]
    assert all("memory4_a16" in kernels(g) for g in graphs)
    few = [memory(n, order) for n in (1, 11, 32, 43, 70) for order in (2, 3)]
    assert all(f"memory_{g.name[-1]}_a16" in kernels(g) for g in few)
    graphs += few
    hold(engine, graphs, 7, steps=12)


@pytest.mark.parametrize("engine", [TWIN, CORE])
def test_memories_of_values(engine: str) -> None:
    sizes = [(2, 1, 1), (12, 6, 1), (3, 4, 2), (5, 8, 1), (7, 9, 3), (2, 11, 1)]
    graphs = [values(*size, x, w) for size, x, w in product(sizes, (INT8, INT16), (INT8, INT16))]
    for graph, (_, x, w) in zip(graphs, product(sizes, (8, 16), (8, 16)), strict=True):
        assert kernels(graph) == [f"memory_x{x}_w{w}_a32"]
    hold(engine, graphs, 9, steps=6)


# --- elementwise -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_rescaling_is_exact_at_every_int8_and_int16(engine: str) -> None:
    """VQRDMULH and its like against the definition, with one factor for all elements and with one for each."""
    for dtype, n in ((INT8, 16), (INT16, 512), (INT32, 512)):
        graph = rescaling(dtype, n)
        assert set(kernels(graph)) == {"map_eights", "walk_i32"}
        wanted = swept(graph, everything(dtype, n))
        with streams(engine, [graph]) as stream:
            in_steps(stream(graph), wanted, engine)


@pytest.mark.drawn(2)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", [INT8, INT16, INT32], ids=str)
def test_elementwise_lines_at_the_ends_of_the_range(engine: str, dtype: DType) -> None:
    """Every line in one body and another: spikes from compares, spikes that choose, results of every width."""
    graph = lines(dtype)
    assert set(kernels(graph)) == {"map_eights", "walk_i32"}
    hold(engine, [graph], 8, steps=40)


@pytest.mark.parametrize("engine", [TWIN, CORE])
def test_tables_at_every_int16(engine: str) -> None:
    graphs, n = [], 512
    for bits in (2, 3, 8, 12):
        b = GraphBuilder(f"table_{bits}")
        rng = np.random.default_rng(bits)
        steep = np.cumsum(rng.integers(-32000, 32001, 2**bits + 1)) % 2**15 - 2**14
        b.output(b.op("lookup", b.input("x", (n,), INT16), b.const("t", steep, INT16)))
        graphs.append(run_passes(b.build(), LOWER))
        assert kernels(graphs[-1]) == ["lookup_eights"]
    b = GraphBuilder("too_steep")
    b.output(b.op("lookup", b.input("x", (n,), INT16), b.const("t", [-32768, 1, 0, 5, 9], INT16)))
    graphs.append(run_passes(b.build(), LOWER))
    assert kernels(graphs[-1]) == ["lookup_i16"]
    with streams(engine, graphs) as stream:
        for graph in graphs:
            in_steps(stream(graph), swept(graph, everything(INT16, n)[:1]), engine)
