"""Integer kernels of A-class cores and x86 against the reference: every width, sizes about every register."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import platform
from collections.abc import Callable, Sequence
from functools import lru_cache
from zlib import crc32

import numpy as np
import pytest
from c_runs import Guarded
from integer_engines import EMULATED, HOST, Engine, Library, build, emitted, machine_of
from integer_equality import Expected, check, reference_of
from integer_streams import distinct, edges, whole_numbers

from edgekit.backends.c.integer.wide import blocks, spans
from edgekit.ir import INT4, INT8, INT16, INT32, SPIKE, DType, Graph, GraphBuilder
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.runtime.streams import MachineStream
from edgekit.target import load_target
from edgekit.toolchain import build_shared

STEPS = 8
WHOLE = (INT8, INT16, INT32)
NO_VNNI = ("-mno-avx512vnni",)
PLAIN = ("-O1", "-fno-vectorize", "-fno-slp-vectorize", "-fno-unroll-loops")  # compiled in half the time
UBSAN = (*PLAIN, "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")
ENGINES = {
    **{name: HOST[name] for name in ("x86 simd", "gcc", "clang")},
    "x86 portable": Engine("x86 portable", "host", "zig", (*PLAIN, "-DEK_FORCE_PORTABLE")),
    "without VNNI": Engine("without VNNI", "host", "gcc", NO_VNNI),
    "undefined": Engine("undefined", "host", "clang", UBSAN),
    "undefined portable": Engine("undefined portable", "host", "clang", (*UBSAN, "-DEK_FORCE_PORTABLE")),
    **{name: EMULATED[name] for name in ("A72", "A76", "A7")},
}
if "EDGEKIT_SWEEPS" not in os.environ:  # what others have found, once more in another way
    del ENGINES["clang"], ENGINES["undefined portable"]
WHOLE_SUITE = ("x86 simd", "A72", "A76")
# inputs and outputs of dense sums: every remainder of a group, of a unit, and of a block occurs
SIZES = (
    *((1, 1), (2, 9), (3, 33), (5, 4), (6, 64), (7, 7), (12, 70), (15, 31)),
    *((16, 32), (17, 40), (33, 3), (47, 12), (63, 23), (70, 65)),
)
MOST = 70
ROWS = ((5, 4, 8), (4, 12, 5), (6, 3, 3), (2, 16, 33), (7, 6, 6))  # rows, inputs, outputs
EVENTS = ((1, 1), (31, 7), (32, 16), (33, 17), (128, 64), (64, 130), (65, 128))
ACTIVITIES = (0.0, 0.05, 0.5, 1.0)
WEIGHTS, SUMS = (INT8, INT16), (INT16, INT32)


class Maker:
    """A graph of many small ops that share inputs."""

    def __init__(self, name: str) -> None:
        self.b, self.rng = GraphBuilder(name, dt=None), np.random.default_rng(crc32(name.encode()))
        self.results: dict[str, list[str]] = {}

    def const(self, stem: str, data: np.ndarray, dtype: DType) -> str:
        return self.b.const(self.b.fresh(stem), data, dtype)

    def weights(self, shape: Sequence[int], dtype: DType, *, mild: bool = False) -> str:
        """Anything, or the ends of the range; mild ones are never the lowest number."""
        make = edges if self.rng.random() < 0.3 else whole_numbers
        data = distinct(make(self.rng, shape, dtype), dtype)
        return self.const("w", np.maximum(data, -dtype.limits[1]) if mild else data, dtype)

    def head(self, x: str, n: int) -> str:
        return self.b.op("slice", x, axis=0, start=0, stop=n)

    def give(self, key: str, y: str) -> str:
        """An output, as a part of the one called `key`: a machine passes few arguments."""
        self.results.setdefault(key, []).append(self.b.op("reshape", y, shape=(self.b.tensor(y).size,)))
        return y

    def linear(self, x: str, w: str, c: str | None, total: DType, key: str = "y", **attrs: str) -> str:
        return self.give(key, self.b.op("linear", x, w, *([c] if c else []), accumulate=total.name, **attrs))

    def done(self) -> Graph:
        for parts in self.results.values():
            self.b.output(self.b.op("concat", *parts, axis=0))
        return run_passes(self.b.build(), LOWER)


def dense(x: DType, w: DType, total: DType) -> Graph:
    """A linear of every size over heads of one input, with and without an addend, some of them mild, some in spans."""
    m = Maker(f"dense_{x}_{w}_{total}")
    source = m.b.input("x", (MOST,), x)
    for at, (n_in, n_out) in enumerate(SIZES[total is INT32 :: 2]):
        c = m.const("c", whole_numbers(m.rng, (n_out,), total), total) if at % 3 else None
        form = {"form": "sparse"} if at % 2 else {}  # passes over inputs that are zero
        m.linear(m.head(source, n_in), m.weights((n_out, n_in), w, mild=at % 4 < 2), c, total, **form)
    few = np.zeros((45, MOST), np.int64)
    for o, row in enumerate(few):
        row[o : o + 1 + o % 17] = whole_numbers(m.rng, (min(1 + o % 17, MOST - o),), w)
    few[:, 62:] = 0  # and nobody reads the last inputs
    m.linear(source, m.const("few", few, w), None, total)
    return m.done()


def rows(x: DType, w: DType, total: DType) -> Graph:
    """Linears over several rows, and memory updates whose sums are their own addends."""
    m = Maker(f"rows_{x}_{w}_{total}")
    source = m.b.input("x", (MOST,), x)
    for at, (n, n_in, n_out) in enumerate(ROWS):
        values = m.b.op("reshape", m.head(source, n * n_in), shape=(n, n_in))
        c = m.const("c", whole_numbers(m.rng, (n, n_out) if at % 2 else (n_out,), total), total)
        m.linear(values, m.weights((n_out, n_in), w), c, total)
        u = m.b.op("reshape", m.head(source, n), shape=(n, 1))
        inputs = (values, m.weights((n_in, n_in), w), u, m.weights((n_in, 1), w))
        m.give("y", m.b.op("memory_update", *inputs, accumulate=total.name))
    return m.done()


def events(w: DType, total: DType) -> Graph:
    """Spikes through one matrix as a list and as numbers, side by side."""
    m = Maker(f"events_{w}_{total}")
    source = m.b.input("s", (128,), SPIKE)
    for at, (n_in, n_out) in enumerate(EVENTS):
        s, weights = m.head(source, n_in), m.weights((n_out, n_in), w)
        c = m.const("c", whole_numbers(m.rng, (n_out,), total), total) if at % 3 else None
        listed = m.linear(s, weights, c, total, "listed", form="event")
        m.linear(s, m.weights((n_out, n_in), w), listed, total, "more")  # a second matrix over the same list
        m.linear(m.b.op("cast", s, to="int8"), weights, c, total, "counted")
    return m.done()


def memories(total: DType) -> Graph:
    """Memory updates of spikes, by bytes and by other tables."""
    m = Maker(f"memories_{total}")
    spikes, drive = m.b.input("m", (128,), SPIKE), m.b.input("u", (32,), SPIKE)
    for channels, order, k in (
        (1, 4, 1),
        (5, 4, 1),
        (32, 4, 1),
        (13, 8, 1),
        (16, 8, 1),
        (9, 2, 1),
        (7, 1, 1),
        (9, 4, 2),
        (5, 3, 1),
    ):
        state = m.b.op("reshape", m.head(spikes, channels * order), shape=(channels, order))
        u = m.b.op("reshape", m.head(drive, channels * k), shape=(channels, k))
        inputs = (state, m.weights((order, order), INT16), u, m.weights((order, k), INT16))
        m.give("y", m.b.op("memory_update", *inputs, accumulate=total.name))
    return m.done()


def rescales(x: DType) -> Graph:
    """Products with constants and with values, rounded at shifts about every word, into every width."""
    m, n = Maker(f"rescales_{x}"), 37
    source, other = m.b.input("x", (n,), x), m.b.input("y", (n,), INT32)
    for at, shift in enumerate((0, 1, 8, 15, 16, 30, 31, 32, 33, 62)):
        for k, to in enumerate(WHOLE):
            factors = m.weights((n,), WHOLE[(at + k) % 3])
            m.give(to.name, m.b.op("rescale", source, factors, shift=shift, to=to.name))
            largest = m.const("m", np.array(INT32.limits[0]), INT32)
            m.give(to.name, m.b.op("rescale", source, largest, shift=shift, to=to.name))
            m.give(to.name, m.b.op("rescale", source, other, shift=shift, to=to.name))
    return m.done()


def tables() -> Graph:
    """Functions by tables of every size, some of them as steep as a table can be."""
    m = Maker("tables")
    source = m.b.input("x", (53,), INT16)
    for bits in range(2, 13):
        for steep in (False, True):
            data = (edges if steep else whole_numbers)(m.rng, (2**bits + 1,), INT16)
            m.give("y", m.b.op("lookup", source, m.const("t", data, INT16)))
    return m.done()


def stream(graph: Graph, seed: int, steps: int) -> list[np.ndarray]:
    """Anything and the ends of the range; spikes at each activity in turn."""
    rng, arrays = np.random.default_rng(seed), []
    for name in graph.entries["step"].inputs:
        tensor = graph.tensors[name]
        if tensor.dtype is SPIKE:
            parts = [rng.random(tensor.shape) < ACTIVITIES[t % len(ACTIVITIES)] for t in range(steps)]
        else:
            parts = [(edges, whole_numbers)[t % 2](rng, tensor.shape, tensor.dtype) for t in range(steps)]
            parts[-1][4:60] = 0
        arrays.append(np.stack(parts).astype(graph.port_dtype(name)))
    return arrays


@lru_cache
def suite() -> tuple[Expected, ...]:
    """Every graph with the reference's answers."""
    widths = [(x, w, a) for x in (INT8, INT16) for w in WEIGHTS for a in SUMS]
    graphs = [*(dense(*kind) for kind in widths), dense(INT8, INT4, INT32), *(rows(*kind) for kind in widths)]
    graphs += [*(events(w, a) for w in WEIGHTS for a in SUMS), events(INT4, INT16)]
    graphs += [*map(memories, SUMS), *map(rescales, WHOLE), tables()]
    return tuple(reference_of(g, at, STEPS, stream) for at, g in enumerate(graphs))


def part(name: str) -> tuple[Expected, ...]:
    """What an engine is asked: all of the suite, or outside of sweeps a third of it, not that of its neighbour."""
    whole = "EDGEKIT_SWEEPS" in os.environ or name in WHOLE_SUITE
    return suite() if whole else suite()[list(ENGINES).index(name) % 3 :: 3]


def check_here(engine: Engine) -> None:
    """Programs in this process."""
    asked = part(engine.name)
    here = Library(build(engine, [w.graph for w in asked]))
    for wanted in asked:
        check(here.stream(wanted.graph), wanted, f"{wanted.graph.name} on {engine.name}")


@pytest.mark.drawn(8)
@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_kernels_are_byte_equal(name: str) -> None:
    engine = ENGINES[name]
    if not engine.there or (engine.flags == NO_VNNI and platform.machine() != "x86_64"):
        pytest.skip(f"{name} is not here")
    asked = part(name)
    if "undefined" in name:  # the sanitizer ends a process that does what C does not define: a child is that process
        child = multiprocessing.get_context("fork").Process(target=check_here, args=(engine,))
        child.start()
        child.join()
        assert child.exitcode == 0
    elif engine.target == "host":
        check_here(engine)
    else:
        with machine_of(engine, [w.graph for w in asked]) as machine:
            for wanted in asked:
                check(MachineStream(wanted.graph, machine, name), wanted, f"{wanted.graph.name} on {name}")


def test_events_are_the_dense_sums() -> None:
    """The reference itself says the same of spikes as a list and as numbers, at every activity."""
    found = [w.outputs for w in suite() if w.graph.name.startswith("events")]
    assert found
    for listed, _, counted in found:
        assert (listed == counted).all()


def test_every_kernel_runs() -> None:
    """No case above is left to the portable forms but those that are meant to be."""
    target = load_target("raspberrypi5")
    ran = {use.kernel for wanted in suite() for use in emitted(wanted.graph, target).kernels if use.entry == "step"}
    widths = [f"x{x}_w{w}_a{a}" for x in (8, 16) for w in (8, 16) for a in (16, 32)]
    wide = {f"linear_{form}_{width}" for form in ("wide", "wide_spans") for width in widths}
    wide |= {f"memory_wide_{width}" for width in widths} | {
        f"linear_wide_event_w{w}_a{a}" for w in (8, 16) for a in (16, 32)
    }
    wide |= {"wide_memory_a16", "wide_memory_a32", "map_wide", "wide_lookup"}
    assert wide <= ran
    odd_rows = {f"{kind}_dense_{width}" for kind in ("linear", "memory") for width in widths}
    moves = {f"walk_{t}" for t in ("i8", "i16", "i32", "spike")}
    in_blocks = {
        kernel for kernel in ran if "tiles" in kernel or "block" in kernel
    }  # where most weights happen to be zero
    memories = {"memory_table_a16", "memory_table_a32", "memory_2_a16", "memory_3_a16"}
    assert ran - wide - in_blocks <= odd_rows | moves | memories


@pytest.mark.drawn(2)
@pytest.mark.parametrize("compiler", ["gcc", "clang", "zig"])
@pytest.mark.parametrize("flags", [(), ("-DEK_FORCE_PORTABLE",)], ids=["registers", "portable"])
def test_compilers_have_nothing_to_say(compiler: str, flags: tuple[str, ...]) -> None:
    program = emitted(suite()[0].graph, load_target("host"))
    for target in ("host", "raspberrypi4", "raspberrypi5", "stm32mp157") if compiler == "zig" else ("host",):
        build_shared(program.files, program.main, load_target(target), compiler=compiler, extra_flags=(*flags, *STRICT))


@pytest.fixture(scope="module")
def library() -> Callable[..., int]:
    """Calls of the functions of all programs of the suite, in this process."""
    handle = Library(build(HOST["x86 simd"], [w.graph for w in suite()])).handle
    return lambda name, *args: int(handle[name](*(ctypes.c_void_p(a.address) for a in args)))


@pytest.mark.parametrize("at", range(len(suite())), ids=[w.graph.name for w in suite()])
def test_nothing_is_written_outside_the_callers_buffers(library: Callable[..., int], at: int) -> None:
    """Ports at odd addresses, and guard bytes around them and around the struct."""
    wanted = suite()[at]
    graph, prefix = wanted.graph, f"ek_{wanted.graph.name}"
    step = graph.entries["step"]
    model = Guarded(library(f"{prefix}_sizeof"))
    ports = [Guarded(a[0].nbytes, offset=a.itemsize) for a in (*wanted.inputs, *wanted.outputs)]
    assert library(f"{prefix}_init", model) == 0
    for t in range(STEPS):
        for port, a in zip(ports, wanted.inputs, strict=False):
            port.data[:] = np.ascontiguousarray(a[t]).reshape(-1).view(np.uint8)
        assert library(f"{prefix}_step", model, *ports) == 0
        for guarded in (model, *ports):
            guarded.check()
        for name, port, a in zip(step.outputs, ports[len(step.inputs) :], wanted.outputs, strict=True):
            assert port.data.tobytes() == a[t].tobytes(), name


def test_blocks_hold_every_weight_once() -> None:
    """[groups][outputs][inputs of a group] in blocks of 32 outputs, the last as narrow as whole units allow."""
    w = np.arange(1, 1 + 41 * 6).reshape(41, 6)
    packed = blocks(w, 16)
    first, last = packed[: 3 * 32 * 2].reshape(3, 32, 2), packed[3 * 32 * 2 :].reshape(3, 16, 2)
    assert (first == w[:32].reshape(32, 3, 2).swapaxes(0, 1)).all()
    assert (last[:, :9] == w[32:].reshape(9, 3, 2).swapaxes(0, 1)).all()
    assert not last[:, 9:].any()


def test_spans_stay_within_the_padded_input() -> None:
    w = np.zeros((3, 60), np.int8)
    w[0, 50:60], w[1, 0] = 1, 1
    begin, steps = spans(w, 64)
    assert (begin.tolist(), steps) == ([48, 0, 0], 1)
