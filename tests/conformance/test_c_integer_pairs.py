"""The forms with two int16 in a register: Armv7E-M DSP in the emulator, and its layout in plain C, byte for byte."""

from __future__ import annotations

import os
from itertools import product

import numpy as np
import pytest
from images import build_image
from integer_engines import MAIN, emitted, merged
from integer_equality import check, check_refusals, expected, label, reference_of
from integer_forms import (
    TWIN,
    Flavoured,
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
from integer_streams import distinct, whole_numbers

from edgekit.ir import INT4, INT8, INT16, INT32, SPIKE, DType, Graph, GraphBuilder
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.target import load_target
from edgekit.toolchain import Emulator

pytestmark = pytest.mark.drawn(2)
TARGET = load_target("smartwatch-m4")
CORE = "M4"
SWEEPS = "EDGEKIT_SWEEPS" in os.environ
ENGINES = (TWIN, CORE, "M4 gcc", "M33") if SWEEPS else (TWIN, CORE)
RANDOM = range(20, 100 if SWEEPS else 40)  # programs beside those that every core gets
FORMS = Flavoured(TARGET.name)
kernels, hold, streams = FORMS.kernels, FORMS.hold, FORMS.streams
WEIGHTS = (INT4, INT8, INT16)
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 35)


@pytest.mark.drawn(2)
@pytest.mark.parametrize("engine", ENGINES)
def test_random_programs_are_byte_equal(engine: str) -> None:
    for at in range(0, len(RANDOM), 20):
        with streams(engine, [expected(n).graph for n in RANDOM[at : at + 20]]) as stream:
            for n in RANDOM[at : at + 20]:
                check(stream(expected(n).graph), expected(n), label(n, engine))


# --- dense -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_dense_sums_of_every_size_and_width(engine: str) -> None:
    types = list(product((INT8, INT16), WEIGHTS, (INT16, INT32)))
    graphs = [dense(*t) for t in types]
    for graph, (x, w, total) in zip(graphs, types, strict=True):
        wide = {INT4: ("",), INT8: ("", "wide_"), INT16: ("wide_",)}[w] if x is INT8 else ("",)
        form = f"x{x.bits}_w{w.bits}_a{total.bits}"
        names = {f"linear_pairs_{kind}{form}" for kind in wide}
        found = {k for k in kernels(graph) if not k.startswith(("linear_pair_blocks", "walk"))}
        assert found == names
    hold(engine, graphs, 1, steps=8)


@pytest.mark.parametrize("engine", [TWIN, CORE])
@pytest.mark.parametrize("w", WEIGHTS, ids=str)
def test_dense_sums_at_the_ends_of_the_range(engine: str, w: DType) -> None:
    """Every input and every weight at an end: -128 among both, and sums that just fit."""
    low, high = w.limits
    b = GraphBuilder(f"ends_{w}")
    x = b.input("x", (500,), INT8)
    rng = np.random.default_rng(w.bits)
    for n_in, n_out in ((500, 5), (37, 9)):
        part = b.op("slice", x, axis=0, start=0, stop=n_in, step=1)
        for ends in ([low], [high], [-high], [low, high], [-high, high]):
            weights = b.const(b.fresh("w"), distinct(rng.choice(ends, (n_out, n_in)), w), w)
            b.output(b.op("linear", part, weights, accumulate="int32"))
    graph = run_passes(b.build(), LOWER)
    if w is INT8:  # pairs of -128 do not fit int16
        assert {k for k in kernels(graph) if "pairs" in k} == {"linear_pairs_x8_w8_a32", "linear_pairs_wide_x8_w8_a32"}
    wanted = swept(
        graph, [np.stack([np.resize(v, 500) for v in ([-128], [127], [-128, 127], [127, -128, 0])]).astype("i1")]
    )
    with streams(engine, [graph]) as stream:
        in_steps(stream(graph), wanted, engine)


@pytest.mark.parametrize("engine", [TWIN, CORE])
def test_rows_of_inputs(engine: str) -> None:
    """Rows that do not begin at words, or whose sums are no whole blocks, are left to plain C."""
    graphs = [rows(*types) for types in product((INT8, INT16), (INT16, INT32))]
    assert [sum("dense" in kernel for kernel in kernels(g)) for g in graphs] == [3] * 4
    hold(engine, graphs, 2, steps=10)


@pytest.mark.parametrize("engine", [TWIN, CORE])
def test_few_weights_go_in_blocks(engine: str) -> None:
    """Short spans of inputs, and a few anywhere; an output that reads nothing."""
    graphs = [make(*types) for make in (spans, scattered) for types in product((INT8, INT16), WEIGHTS)]
    for graph in graphs:
        _, x, w = (int(part.removeprefix("int")) if part.startswith("int") else 0 for part in graph.name.split("_"))
        form = f"x{x}_w{max(w, 8)}_a32"  # int4 are worth a byte each
        # int8 inputs as they are where few read them, and as int16 where weights are at the end of their range
        wide = {f"linear_pair_blocks_{how}_{form}" for how in ("wide", "plain")} if x == 8 else set()
        assert set(kernels(graph)) <= {f"linear_pair_blocks_{form}", *wide}
    hold(engine, graphs, 3, steps=10)


def scattered(x: DType, w: DType) -> Graph:
    """A few inputs of each output, anywhere, with weights at the ends of the range."""
    rng, b = np.random.default_rng(x.bits * w.bits), GraphBuilder(f"scattered_{x}_{w}")
    weights = np.zeros((21, 301))
    for row in weights[:-1]:
        row[rng.choice(301, int(rng.integers(1, 9)), replace=False)] = w.limits[int(rng.integers(2))]
    weights[3, 300] = 1
    b.output(b.op("linear", b.input("x", (301,), x), b.const("w", weights, w), accumulate="int32"))
    return run_passes(b.build(), LOWER)


def few(n_in: int, n_out: int, gain: int) -> Graph:
    """A few inputs that a current is made of; with a large gain the sums saturate."""
    rng, b = np.random.default_rng(n_in), GraphBuilder(f"few_{n_in}_{n_out}_{gain}")
    x = b.input("x", (n_in,), INT16)
    weights = rng.choice([-32768, 32767], (n_out, n_in))
    sums = b.op("linear", x, b.const("w", weights, INT16), accumulate="int32")
    factor = b.const("m", rng.integers(gain // 2, gain, n_out), INT32)
    b.output(b.op("rescale", sums, factor, shift=31, to="int16"), x)
    return run_passes(b.build(), LOWER)


@pytest.mark.parametrize("engine", ENGINES)
def test_few_inputs_are_rescaled_in_the_registers(engine: str) -> None:
    graphs = [few(n_in, n_out, gain) for n_in, n_out in product(range(1, 8), (1, 4, 35)) for gain in (9, 2**29)]
    for graph in graphs:
        _, n_in, _, gain = graph.name.split("_")
        clipped = "_clipped" * (gain != "9")
        names = (
            ["linear_left_to_next", f"few{clipped}_x16_w16"]
            if n_in != "7"
            else ["linear_pairs_x16_w16_a32", "map_pairs"]
        )
        assert kernels(graph) == names
    hold(engine, graphs, 4, steps=8)


def test_few_inputs_that_the_result_lies_over_stay_apart() -> None:
    """The kernel reads its inputs when the plan has given their place away: only inputs of the entry are safe."""
    b = GraphBuilder("over")
    x = b.op("add", b.input("x", (6,), INT16), b.const("one", 1, INT16), saturate=True)
    sums = b.op("linear", x, b.const("w", np.ones((6, 6)), INT16), accumulate="int32")
    b.output(b.op("rescale", sums, b.const("m", 2**20, INT32), shift=31, to="int16"))
    graph = run_passes(b.build(), LOWER)
    assert kernels(graph) == ["map_pairs", "linear_pairs_x16_w16_a32", "map_pairs"]
    hold(CORE, [graph], 5)


@pytest.mark.parametrize("engine", [TWIN, CORE])
def test_an_addend_with_leading_axes_of_one(engine: str) -> None:
    rng, b = np.random.default_rng(3), GraphBuilder("leading")
    for at, shape in enumerate([(1, 1, 9), (1, 9)]):
        weights = b.const(f"w{at}", whole_numbers(rng, (9, 8), INT8), INT8)
        c = b.const(f"c{at}", whole_numbers(rng, shape, INT32), INT32)
        x = b.input(f"x{at}", (*shape[:-1], 8), INT8)
        b.output(b.op("linear", x, weights, c, accumulate="int32"))
    hold(engine, [run_passes(b.build(), LOWER)], 6, steps=6)


# --- events ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_events_of_every_size(engine: str) -> None:
    """Saved, restored and reset in the middle too: the lists of a step come from the one before it."""
    sizes = [(1, 1), (7, 8), (31, 9), (32, 40), (33, 49), (65, 56), (100, 97)]
    graphs = [spiking(n, targets, w) for w in WEIGHTS for n, targets in sizes]
    for graph in graphs:
        assert kernels(graph).count(f"linear_event_pairs_w{graph.name.rsplit('int', 1)[1]}_a16") == 5
    hold(engine, graphs, 7)


@pytest.mark.parametrize("engine", [TWIN, CORE])
def test_events_with_sums_of_two_widths(engine: str) -> None:
    graphs = [summing(n, targets, w) for w in WEIGHTS for n, targets in [(1, 1), (7, 8), (33, 25), (40, 61)]]
    for graph in graphs:
        bits = graph.name.rsplit("int", 1)[1]
        assert {f"linear_event_pairs_w{bits}_a{total}" for total in (16, 32)} <= set(kernels(graph))
    hold(engine, graphs, 8, steps=12)


def both_ways(n_in: int, n_out: int, w: DType, total: DType) -> Graph:
    """The same weights over spikes, and over the same spikes as numbers."""
    rng, b = np.random.default_rng(n_in + n_out), GraphBuilder(f"both_{n_in}_{n_out}_{w}_{total}")
    x = b.input("x", (n_in,), SPIKE)
    weights = b.const("w", distinct(whole_numbers(rng, (n_out, n_in), w), w), w)
    c = b.const("c", whole_numbers(rng, (n_out,), total), total)
    numbers = b.op("cast", x, to="int8")
    b.output(*(b.op("linear", v, weights, c, accumulate=total.name) for v in (x, numbers)))
    return run_passes(b.build(), LOWER)


@pytest.mark.parametrize("engine", ENGINES)
def test_events_are_the_dense_sums_at_any_activity(engine: str) -> None:
    types = list(product(WEIGHTS, (INT16, INT32)))
    sizes = [(s, SIZES[-1 - at]) for at, s in enumerate(SIZES)]
    graphs = [
        both_ways(*size, w, total) for at, size in enumerate(sizes) for w, total in (types[at % 6], types[(at + 3) % 6])
    ]
    rng = np.random.default_rng(1)
    with streams(engine, graphs) as stream:
        for graph in graphs:
            n = graph.tensors["x"].size
            fired = np.stack([rng.random(n) < rate for rate in (0, 0.05, 0.5, 0.5, 1)]).astype(np.int8)
            wanted = swept(graph, [fired])
            in_steps(stream(graph), wanted, engine)
            events, numbers = stream(graph).run(wanted.inputs)
            assert np.array_equal(events, numbers)


def test_lists_last_from_step_to_step() -> None:
    """Each spike is looked for once a step, and after the states were set from outside."""
    text = emitted(spiking(33, 40, INT8), TARGET).files["ek_spiking_33_40_int8.c"]
    step, states = text.split("int ek_spiking_33_40_int8_run")
    assert (step.count("ek_fired_rows("), states.count("ek_fired_rows(")) == (2, 4)  # of two lists: reset and restore


@pytest.mark.parametrize("engine", [TWIN, CORE])
def test_rows_past_the_reach_of_a_list_are_left_to_plain_c(engine: str) -> None:
    """Offsets of rows are counted in words with 16 bits."""
    rng, b = np.random.default_rng(5), GraphBuilder("many_rows")
    for n, n_out in ((1023, 256), (1025, 256)):
        weights = b.const(f"w{n}", rng.integers(-9, 10, (n_out, n)), INT8)
        b.output(b.op("linear", b.input(f"x{n}", (n,), SPIKE), weights, accumulate="int16"))
    graph = run_passes(b.build(), LOWER)
    assert kernels(graph) == ["linear_event_pairs_w8_a16", "linear_event_w8_a16"]
    hold(engine, [graph], 9, steps=8)
    with streams(engine, [graph]) as stream:
        check_refusals(stream(graph), reference_of(graph, 6, 23), engine)


# --- memory and neurons ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", [TWIN, CORE])
def test_memories_of_every_number_of_channels(engine: str) -> None:
    graphs = [memory(n) for n in (1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 31, 32, 33, 35, 37, 64, 70)]
    assert all("memory_pairs_a16" in kernels(g) for g in graphs)
    few = [memory(n, order) for n in (1, 11, 32, 43, 70) for order in (2, 3)]
    assert all(f"memory_{g.name[-1]}_a16" in kernels(g) for g in few)
    graphs += few
    hold(engine, graphs, 10, steps=12)


@pytest.mark.parametrize("engine", [TWIN, CORE])
def test_memories_of_values(engine: str) -> None:
    sizes = [(2, 1, 1), (12, 6, 1), (3, 4, 2), (5, 8, 1), (7, 9, 3), (4, 16, 3)]
    graphs = [values(*size, x, w) for size, x, w in product(sizes, (INT8, INT16), WEIGHTS)]
    at_once = [g.name for g in graphs if kernels(g) == ["memory_rows_x16_w16_a32"]]
    assert at_once == [f"values_{size}_int16_int16" for size in ("12_6_1", "3_4_2", "5_8_1")]
    hold(engine, graphs, 11, steps=6)


def firing(n: int, decay: int, *, shared: bool, current: bool = True, level: int = 9000) -> Graph:
    """Neurons that leak, fire and lose their threshold a step later; `current`: the addend comes first."""
    rng, b = np.random.default_rng(n), GraphBuilder(f"firing_{n}_{decay}_{shared}_{current}_{level}")
    x = b.input("x", (n,), INT16)
    v = b.state("v", whole_numbers(rng, (n,), INT16), INT16)
    levels = np.full(n, level) if shared else rng.integers(-level, level + 1, n)
    at = b.const("level", levels[0] if shared else levels, INT16)
    on, off = b.const("on", -levels[0] if shared else -levels, INT16), b.const("off", 0, INT16)
    kept = b.op("rescale", v, b.const("beta", decay, INT16), shift=15, to="int16")
    driven = b.op("add", *((x, kept) if current else (kept, x)), saturate=True)
    new = b.op("add", driven, b.op("where", b.op("gt", v, at), on, off), saturate=True)
    fired = b.op("gt", new, at)
    b.update(v, new)
    b.output(fired)
    return run_passes(b.build(), LOWER)


@pytest.mark.parametrize("engine", ENGINES)
def test_neurons_that_fire(engine: str) -> None:
    """Every number of neurons, decays on both sides of a half and at their ends, thresholds of any sign."""
    decays = (0, 1, 16383, 16384, 29491, 32767)
    graphs = [
        firing(n, decays[(at + k) % 6], shared=bool((at + k) % 2), current=bool(at % 3), level=(9000, 32767)[k])
        for at, n in enumerate((*SIZES, 64, 65, 96, 130))
        for k in range(2)
    ]
    for graph in graphs:
        _, _, decay, shared, *_ = graph.name.split("_")
        whole = f"fire_{'shared' if shared == 'True' else 'own'}_{16 if int(decay) < 16384 else 15}"
        own = graph.tensors["level"].size > 1 and len(set(graph.tensors["level"].data.tolist())) > 1
        assert kernels(graph) == [whole if own or shared == "True" else whole.replace("own", "shared")]
    hold(engine, graphs, 12, steps=30)


def test_other_neurons_are_no_such_chains() -> None:
    """A reset to a value, one that is no threshold, a state that others need afterwards: four elements at a time."""
    graphs = []
    for case in range(3):
        b = GraphBuilder(f"other_{case}")
        x, v = b.input("x", (40,), INT16), b.state("v", np.zeros(40), INT16)
        at, on, off = (
            b.const(n, k, INT16) for n, k in (("at", 900), ("on", -901 if case == 1 else -900), ("off", case == 0))
        )
        kept = b.op("rescale", v, b.const("beta", 30000, INT16), shift=15, to="int16")
        new = b.op("add", b.op("add", kept, x, saturate=True), b.op("where", b.op("gt", v, at), on, off), saturate=True)
        fired = b.op("gt", new, at)
        b.update(v, new)
        b.output(fired, *([v] if case == 2 else []))
        graphs.append(run_passes(b.build(), LOWER))
        assert kernels(graphs[-1]) == ["map_pairs"]
    hold(CORE, graphs, 13)


# --- elementwise -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_rescaling_is_exact_at_every_int8_and_int16(engine: str) -> None:
    """SMULxx, SMLAWx, SMMULR and SMMLAR against the definition, with one factor for all elements and one for each."""
    sizes = ((INT8, 16), (INT16, 512), (INT32, 512))
    graphs = [rescaling(*size) for size in sizes]
    with streams(engine, graphs) as stream:
        for graph, size in zip(graphs, sizes, strict=True):
            assert set(kernels(graph)) == {"map_pairs", "walk_i32"}
            in_steps(stream(graph), swept(graph, everything(*size)), engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_elementwise_lines_at_the_ends_of_the_range(engine: str) -> None:
    sizes = (1, 32, 35) if SWEEPS or engine == TWIN else (35,)  # long bodies take a compiler long
    graphs = [lines(dtype, n).replace(name=f"lines_{dtype}_{n}") for dtype in (INT8, INT16, INT32) for n in sizes]
    assert all(set(kernels(graph)) == {"map_pairs", "walk_i32"} for graph in graphs)
    hold(engine, graphs, 14, steps=24)


@pytest.mark.parametrize("engine", [TWIN, CORE])
def test_tables_at_every_int16(engine: str) -> None:
    """Segments as steep as they get, and of every number of them that there may be."""
    graphs, n = [], 512
    for bits in (2, 3, 9, 12):
        b, rng = GraphBuilder(f"table_{bits}"), np.random.default_rng(bits)
        steep = rng.choice([-32768, 32767, 0, 5], 2**bits + 1)
        b.output(b.op("lookup", b.input("x", (n,), INT16), b.const("t", steep, INT16)))
        graphs.append(run_passes(b.build(), LOWER))
        assert kernels(graphs[-1]) == ["lookup_i16"]
    with streams(engine, graphs) as stream:
        for graph in graphs:
            in_steps(stream(graph), swept(graph, everything(INT16, n)[:1]), engine)


# --- memory that is not theirs ---------------------------------------------------------------------------------------

GUARD = 0xA5


def ports(n: int) -> Graph:
    """Ports of every type."""
    b = GraphBuilder("ports")
    small, x, s = b.input("small", (n,), INT8), b.input("x", (n,), INT16), b.input("s", (n,), SPIKE)
    both = b.op("add", b.op("cast", small, to="int16"), x)
    b.output(b.op("neg", small), both, b.op("cast", both, to="int32"), b.op("logical_not", s))
    return run_passes(b.build(), LOWER)


@pytest.mark.parametrize("offset", range(4))
def test_ports_of_any_alignment_and_nothing_beside_them(offset: int) -> None:
    """The step on an emulated core, its ports at every offset in a word, and every byte around them as it was."""
    graph = ports(37)
    program = emitted(graph, TARGET)
    wanted = reference_of(graph, 15, 4)
    entry = graph.entries["step"]
    with Emulator(build_image(merged([program]), MAIN, TARGET), TARGET) as machine:
        struct_bytes = machine.call(f"ek_{graph.name}_sizeof", count=False).value
        assert struct_bytes == program.struct_bytes
        struct = machine.alloc(struct_bytes + 64) + 32
        machine.write(struct - 32, bytes([GUARD]) * (struct_bytes + 64))
        machine.call(f"ek_{graph.name}_init", [struct], count=False)
        names = (*entry.inputs, *entry.outputs)
        sizes = [graph.port_dtype(n).itemsize * graph.tensors[n].size for n in names]
        steps = [offset // graph.port_dtype(n).itemsize * graph.port_dtype(n).itemsize for n in names]
        areas = [machine.alloc(size + 64, align=4) + 32 + step for size, step in zip(sizes, steps, strict=True)]
        for t in range(4):
            for area, size in zip(areas, sizes, strict=True):
                machine.write(area - 16, bytes([GUARD]) * (size + 32))
            for area, values in zip(areas, wanted.inputs, strict=False):
                machine.write(area, values[t].tobytes())
            assert machine.call(f"ek_{graph.name}_step", [struct, *areas], count=False).value == 0
            got = [machine.read(area - 16, size + 32) for area, size in zip(areas, sizes, strict=True)]
            assert all(g[:16] == g[-16:] == bytes([GUARD]) * 16 for g in got)
            outputs = [g[16:-16] for g in got[len(entry.inputs) :]]
            assert outputs == [a[t].tobytes() for a in wanted.outputs]
        around = machine.read(struct - 32, struct_bytes + 64)
        assert around[:32] == around[-32:] == bytes([GUARD]) * 32


def test_raw_inputs_are_read_where_they_are() -> None:
    """The struct has no copy of the floats that `quantize` takes, which would be most of it."""
    b = GraphBuilder("raw")
    b.output(b.op("neg", b.input("x", (500,), INT8)))
    b.entry("quantize")
    raw = b.input("x.raw", (500,))
    gains = b.const("gain", np.linspace(1, 90, 500))
    b.output(b.op("quantize", raw, b.const("offset", 0.5), gains, to="int8"))
    graph = run_passes(b.build(), LOWER)
    assert emitted(graph, TARGET).struct_bytes < 4 * 500
    hold(CORE, [graph], 16, steps=4)
