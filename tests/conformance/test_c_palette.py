"""Weights of few distinct values, stored as numbers of them: every form on every layout, byte for byte."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from c_runs import Guarded
from integer_engines import EMULATED, HOST, MAIN, Engine, Library, emitted, merged, opened
from integer_equality import AT_ONCE, check, reference_of
from integer_forms import TWIN, Flavoured
from integer_streams import whole_numbers

from edgekit.ir import INT4, INT8, INT16, INT32, SPIKE, DType, Graph, GraphBuilder
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.target import load_target
from edgekit.toolchain import build_shared

pytestmark = pytest.mark.drawn(2)
SWEEPS = "EDGEKIT_SWEEPS" in os.environ
LEVELS = {
    "ternary": (-1, 0, 1),
    "quarter": (-2, -1, 0, 1),
    "four": (-113, -7, 5, 96),
    "three": (-60, 0, 60),
    "eight": (-128, -77, -31, -9, 4, 18, 51, 127),
    "zeroed": (-90, -40, -11, 0, 13, 37, 92),
    "sixteen": (-128, -99, -76, -55, -40, -27, -15, -4, 1, 9, 20, 33, 48, 66, 91, 127),
    "halves": tuple(range(-128, 128, 16)),
}
# every form with every type, and each other set of levels once
CASES = [
    *product(("ternary", "four", "zeroed", "sixteen"), (INT8, INT16), (INT16, INT32)),
    *product(("quarter", "eight", "three"), (INT8,), (INT32,)),
]
DRAWN = [("four", INT8, INT16), ("zeroed", INT16, INT32), ("sixteen", INT8, INT32), ("sixteen", INT16, INT16)]
SIZED = [(levels, size) for at, levels in enumerate(LEVELS) for size in [(64, 113), (77, 128)][at % 2 :][:1]]
TABLE = {
    "four": 4,
    "three": 4,
    "eight": 6,
    "zeroed": 6,
    "sixteen": 8,
    "halves": 8,
    "quarters": 4,
}  # bits of a pair of weights
STEPPED = {"halves": "s4"}  # what rows for spikes are where sums are int16


def picked(rng: np.random.Generator, shape: tuple[int, int], levels: str) -> np.ndarray:
    """Weights of exactly these levels."""
    weights = rng.choice(LEVELS[levels], shape)
    weights.reshape(-1)[: len(LEVELS[levels])] = LEVELS[levels]
    return weights


def dense(levels: str, x: DType, total: DType, *, large: bool = False) -> Graph:
    """Linears of odd and even sizes, with a constant addend, a computed one, and none."""
    name = f"dense_{levels}_{x}_{total}"
    rng, b = np.random.default_rng(len(name)), GraphBuilder(name)
    most = 81 if len(LEVELS[levels]) > 8 else 41  # a table of all pairs takes a kilobyte
    if large:  # 64 KiB are saved
        most = 449 if len(LEVELS[levels]) > 8 else 353 if len(LEVELS[levels]) > 4 else 305
    values, others = (b.input(name, (301 + n if large else 77 - 13 * n,), x) for n, name in enumerate("xz"))

    def linear(value: str, n_out: int, *addend: str) -> str:
        weights = picked(rng, (n_out, b.tensor(value).size), levels)
        return b.op("linear", value, b.const(b.fresh("w"), weights, INT8), *addend, accumulate=total.name)

    first = linear(values, most)
    second = linear(others, most - 1, b.const("c", whole_numbers(rng, (most - 1,), total), total))
    b.output(b.op("concat", second, linear(values, most, first), axis=0))
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
PAIR_ENGINES = (TWIN, "M4", "M4 gcc", "M33") if SWEEPS else (TWIN, "M4")


def pair_form(levels: str) -> str:
    return f"p{TABLE[levels]}" if levels in TABLE else "w2"


@pytest.mark.parametrize("engine", PAIR_ENGINES)
def test_dense_sums_in_pairs(engine: str) -> None:
    graphs = [dense(*case) for case in CASES]
    for graph in graphs:
        _, levels, x, total = graph.name.split("_")
        form = f"linear_pairs_x{x.removeprefix('int')}_{pair_form(levels)}_a{total.removeprefix('int')}"
        assert {k for k in PAIRS.kernels(graph) if k.startswith("linear")} == {form}
    graphs += [rows(levels, x) for levels, x in product(LEVELS, (INT8, INT16))]
    PAIRS.hold(engine, graphs, 1, steps=6)


@pytest.mark.parametrize("engine", PAIR_ENGINES)
def test_events_in_pairs(engine: str) -> None:
    graphs = [spiking(levels, *size) for levels, size in SIZED]
    for graph in graphs:
        kernels = PAIRS.kernels(graph)
        levels = graph.name.split("_")[1]
        if levels != "sixteen":
            assert f"linear_event_pairs_{STEPPED.get(levels, pair_form(levels))}_a16" in kernels
    PAIRS.hold(engine, graphs, 2)


VECTORS = Flavoured("smartwatch-m55")
VECTOR_ENGINES = (TWIN, "M55", "M55 gcc") if SWEEPS else (TWIN, "M55")


def vector_form(levels: str, *, events: bool = False) -> str:
    return "w2" if levels not in TABLE else "n4" if events and TABLE[levels] == 6 else f"n{TABLE[levels] // 2}"


@pytest.mark.parametrize("engine", VECTOR_ENGINES)
def test_dense_sums_in_vectors(engine: str) -> None:
    graphs = [dense(*case) for case in CASES]
    for graph in graphs:
        _, levels, x, total = graph.name.split("_")
        form = f"linear_eights_x{x.removeprefix('int')}_{vector_form(levels)}_a{total.removeprefix('int')}"
        assert {k for k in VECTORS.kernels(graph) if k.startswith("linear")} == {form}
    graphs += [rows(levels, x) for levels, x in product(("ternary", "four"), (INT8, INT16))]
    VECTORS.hold(engine, graphs, 3, steps=6)


@pytest.mark.parametrize("engine", VECTOR_ENGINES)
def test_events_in_vectors(engine: str) -> None:
    graphs = [spiking(levels, *size) for levels, size in SIZED]
    for graph in graphs:
        levels = graph.name.split("_")[1]
        form = STEPPED.get(levels, vector_form(levels, events=True))
        assert f"linear_event_eights_{form}_a16" in VECTORS.kernels(graph)
    VECTORS.hold(engine, graphs, 4)


PLAIN = ("-O1", "-fno-vectorize", "-fno-slp-vectorize", "-fno-unroll-loops")  # compiled in half the time
UBSAN = (*PLAIN, "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
WIDE_ENGINES = {e.name: e for e in (Engine("x86 simd", "host", "zig", PLAIN), EMULATED["A72"], EMULATED["A7"])}
if SWEEPS:
    WIDE_ENGINES |= {
        "gcc": HOST["gcc"],
        "undefined": Engine("undefined", "host", "clang", UBSAN),
        "A76": EMULATED["A76"],
    }
    WIDE_ENGINES["x86 portable"] = Engine("x86 portable", "host", "zig", (*PLAIN, "-DEK_FORCE_PORTABLE"))


def number_form(levels: str) -> str:
    return f"n{max(2, (len(LEVELS[levels]) - 1).bit_length())}"


@pytest.mark.parametrize("engine", WIDE_ENGINES)
def test_sums_in_whole_registers(engine: str) -> None:
    chosen = WIDE_ENGINES[engine]
    target = load_target(chosen.target)
    sums = [dense(*case, large=True) for case in (CASES if SWEEPS else DRAWN)]
    events = [spiking(levels, n, n + 3) for levels, n in (("ternary", 301), ("eight", 353), ("sixteen", 437))]
    for graph in (*sums, *events):
        levels, kernels = graph.name.split("_")[1], [k.kernel for k in emitted(graph, target).kernels]
        form = number_form(levels)
        if graph in events:
            assert f"linear_wide_event_{form}_a16" in kernels
        else:
            x, total = (int(part.removeprefix("int")) for part in graph.name.split("_")[2:4])
            assert {k for k in kernels if k.startswith("linear")} == {f"linear_wide_x{x}_{form}_a{total}"}
    graphs = [*sums, *events]
    for at in range(0, len(graphs), AT_ONCE):
        with opened(chosen, part := graphs[at : at + AT_ONCE]) as stream:
            for graph in part:
                check(stream(graph), reference_of(graph, 5, 6), f"{graph.name} on {engine}")


def test_sums_in_plain_c() -> None:
    """The layout of cores that nothing is known of."""
    graphs = [dense(*case) for case in CASES]
    graphs += [spiking(levels, *size) for levels, size in SIZED]
    graphs += [rows(levels, x) for levels, x in product(LEVELS, (INT8, INT16))]
    for graph in graphs:
        kind, levels = graph.name.split("_")[:2]
        form = f"linear_event_{number_form(levels)}_a16" if kind == "spiking" else f"_{number_form(levels)}_a"
        assert any(form in k.kernel for k in emitted(graph).kernels)
    in_plain_c(graphs, 26)


def in_plain_c(graphs: Sequence[Graph], steps: int) -> None:
    """Programs for an unknown core give the reference's bytes here."""
    files = merged([emitted(graph) for graph in graphs])
    library = Library(build_shared(files, MAIN, load_target("host"), compiler="zig", extra_flags=PLAIN))
    for graph in graphs:
        check(library.stream(graph), reference_of(graph, 6, steps), f"{graph.name} in plain C")


def random_products(seed: int) -> Graph:
    """Products of any size with any few weights, over numbers and over spikes, some of them rows, some sparse."""
    rng, b = np.random.default_rng([seed, 9]), GraphBuilder(f"random_products_{seed}")
    outs = []
    for at in range(7):
        n_in, n_out, count = (int(v) for v in rng.integers((8, 8, 1), (90, 90, 17)))
        w = (INT4, INT8)[int(rng.integers(2))]
        known = np.arange(w.limits[0], w.limits[1] + 1)[:: (1, 1, 16)[int(rng.integers(3))]]
        values = rng.choice(known, min(count, known.size), replace=False)
        weights = rng.choice(values, (n_out, n_in)) * (rng.random((n_out, n_in)) < rng.choice([0.05, 1.0, 1.0]))
        x = (INT8, INT16, SPIKE)[int(rng.integers(3))]
        total = (INT16, INT32)[int(rng.integers(2))]
        many = (int(rng.integers(2, 4)),) if rng.random() < 0.2 else ()
        c = b.const(f"c{at}", whole_numbers(rng, (n_out,), total), total)
        value = b.input(f"x{at}", (*many, n_in), x)
        y = b.op("linear", value, b.const(f"w{at}", weights, w), *[c][at % 2 :], accumulate=total.name)
        outs.append(b.op("reshape", b.op("cast", y, to="int32"), shape=(b.tensor(y).size,)))
    b.output(b.op("concat", *outs, axis=0))
    return run_passes(b.build(), LOWER)


@pytest.mark.parametrize(
    ("flavour", "engine"), [(PAIRS, TWIN), (PAIRS, "M4"), (VECTORS, TWIN), (VECTORS, "M55"), (None, TWIN)]
)
def test_products_of_any_size(flavour: Flavoured | None, engine: str) -> None:
    graphs = [random_products(seed) for seed in range(30 if SWEEPS else 4)]
    for at in range(0, len(graphs), 10):
        if flavour is not None:
            flavour.hold(engine, graphs[at : at + 10], 7, steps=4)
            continue
        in_plain_c(graphs[at : at + 10], 4)


@pytest.mark.parametrize("target", ["smartwatch-m4", "smartwatch-m55", "host"])
def test_nothing_is_written_outside_the_callers_buffers(target: str) -> None:
    """Ports at odd addresses, and guard bytes around them and around the struct."""
    graphs = [dense("sixteen", INT8, INT32, large=True)] if target == "host" else [random_products(n) for n in range(3)]
    files, device = merged([emitted(graph, load_target(target)) for graph in graphs]), load_target("host")
    flags = PLAIN if target == "host" else (*PLAIN, "-DEK_FORCE_PORTABLE")
    handle = Library(build_shared(files, MAIN, device, compiler="zig", extra_flags=flags)).handle
    for graph in graphs:
        wanted, prefix, step = reference_of(graph, 8, 3), f"ek_{graph.name}", graph.entries["step"]
        model = Guarded(handle[f"{prefix}_sizeof"]())
        ports = [Guarded(a[0].nbytes, offset=a.itemsize) for a in (*wanted.inputs, *wanted.outputs)]
        pointers = [ctypes.c_void_p(guarded.address) for guarded in (model, *ports)]
        assert handle[f"{prefix}_init"](pointers[0]) == 0
        for t in range(3):
            for port, a in zip(ports, wanted.inputs, strict=False):
                port.data[:] = np.ascontiguousarray(a[t]).reshape(-1).view(np.uint8)
            assert handle[f"{prefix}_step"](*pointers) == 0
            for guarded in (model, *ports):
                guarded.check()
            for name, port, a in zip(step.outputs, ports[len(step.inputs) :], wanted.outputs, strict=True):
                assert port.data.tobytes() == a[t].tobytes(), name


def alone(values: Sequence[int], w: DType, shape: tuple[int, int], density: float = 1.0) -> Graph:
    """One product of int8 with weights of these values."""
    rng, b = np.random.default_rng(4), GraphBuilder("alone")
    weights = rng.choice(values, shape) * (rng.random(shape) < density)
    weights.reshape(-1)[: len(values)] = values
    b.output(b.op("linear", b.input("x", (shape[1],), INT8), b.const("w", weights, w), accumulate="int32"))
    return run_passes(b.build(), LOWER)


@pytest.mark.drawn(1)
@pytest.mark.parametrize(
    ("graph", "target", "kernel", "nbytes"),
    [
        (alone((-1, 0, 1), INT4, (128, 128)), "smartwatch-m4", "pairs_x8_w2_a32", 128 * 128 // 4),
        (alone(LEVELS["four"], INT8, (128, 128)), "smartwatch-m4", "pairs_x8_p4_a32", 128 * 128 // 4 + 4 * 16),
        (alone(LEVELS["eight"], INT8, (128, 128)), "smartwatch-m55", "eights_x8_n3_a32", 128 * 128 * 3 // 8 + 16),
        (alone((-1, 0, 1), INT4, (512, 512)), "raspberrypi4", "wide_x8_n2_a32", 512 * 512 // 4 + 4 * 512 + 16),
        (alone(range(-7, 8), INT4, (128, 128)), "smartwatch-m4", "pairs_x8_w4_a32", 128 * 128 // 2),
        (alone(LEVELS["sixteen"], INT8, (32, 32)), "smartwatch-m4", "pairs_wide_x8_w8_a32", 32 * 32),
        (alone((-1, 0, 1), INT8, (16, 16)), "smartwatch-m55", "eights_x8_w8_a32", 16 * 16),
        (alone((-1, 0, 1), INT8, (128, 128)), "raspberrypi4", "wide_x8_w8_a32", 128 * 128 + 4 * 128),
        (alone((-1, 0, 1), INT8, (128, 128), 0.01), "smartwatch-m4", "pair_blocks_x8_w8_a32", None),
        (alone((-1, 0, 1), INT8, (128, 128), 0.30), "smartwatch-m4", "pairs_x8_w2_a32", 128 * 128 // 4),
    ],
)
def test_what_takes_the_fewest_bytes_is_stored(graph: Graph, target: str, kernel: str, nbytes: int | None) -> None:
    """Not tables that are larger than what they save, nor nibbles in place of nibbles, nor small matrices."""
    program = emitted(graph, load_target(target))
    assert [k.kernel for k in program.kernels] == [f"linear_{kernel}"]
    assert program.const_bytes == nbytes if nbytes else program.const_bytes < 128 * 128 // 4


def test_matrices_of_the_same_values_share_a_table() -> None:
    b, rng = GraphBuilder("shared"), np.random.default_rng(5)
    x = b.input("x", (128,), INT8)
    for at in range(3):
        weights = picked(rng, (64, 128), "four")
        b.output(b.op("linear", x, b.const(f"w{at}", weights, INT8), accumulate="int32"))
    program = emitted(run_passes(b.build(), LOWER), load_target("smartwatch-m4"))
    assert program.const_bytes == 3 * 64 * 128 // 4 + 4 * 16
