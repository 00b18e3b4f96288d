"""Products of weights in blocks: their kernels on every core and in plain C, byte for byte the reference's."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from zlib import crc32

import numpy as np
import pytest
from c_runs import Guarded
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from images import build_image
from integer_engines import EMULATED, MAIN, Library, merged
from integer_equality import check, reference_of
from integer_streams import edges, whole_numbers

from edgekit.backends.c import Program
from edgekit.backends.c.integer import FLAVOURS, Flavour, emit_integer, flavour_of
from edgekit.backends.c.integer.covering import cover, tiles
from edgekit.backends.c.integer.densities import Thresholds
from edgekit.ir import INT4, INT8, INT16, INT32, SPIKE, DType, Graph, GraphBuilder
from edgekit.ir.blocks import block_for
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.passes.plan_memory import plan_memory
from edgekit.runtime.streams import MachineStream, Stream
from edgekit.target import load_target
from edgekit.toolchain import build_shared
from tools.density_counts import CORES, Case, count

SWEEPS = "EDGEKIT_SWEEPS" in os.environ
STEPS = 100
TYPES = list(product((INT8, INT16), (INT4, INT8, INT16), (INT16, INT32)))
NUMBERS, SPIKES = {f"x{x}_w{w}" for x in (8, 16) for w in (4, 8, 16)}, {f"event_w{w}" for w in (4, 8, 16)}
ALWAYS = {form: {0: 99.0} for form in NUMBERS | SPIKES}  # blocks are worth it whatever they cover
TILES = {f"{form}_tile": {0: 99.0} for form in NUMBERS} | {form: {0: 99.0} for form in SPIKES}
PLAIN = ("-O1", "-fno-vectorize", "-fno-slp-vectorize", "-fno-unroll-loops")
FORCED = (*PLAIN, "-DEK_FORCE_PORTABLE")


@dataclass(frozen=True)
class Where:
    """A flavour, and what runs it: a core of `EMULATED`, or this process."""

    flavour: Flavour
    core: str | None = None
    compiler: str = "zig"
    flags: tuple[str, ...] = ()
    densities: Thresholds = field(default_factory=lambda: ALWAYS)

    def program(self, graph: Graph) -> Program:
        """The C of a graph, with weights in blocks wherever there is a kernel for that."""
        flavour = replace(self.flavour, densities=self.densities)
        return emit_integer(graph, plan_memory(graph, align=flavour.align, lanes=flavour.lanes), flavour, graph.name)

    def kernels(self, graph: Graph) -> list[str]:
        """Which kernels run the step."""
        return [k.kernel for k in self.program(graph).kernels if k.entry == "step"]

    @contextmanager
    def streams(self, graphs: Sequence[Graph]) -> Iterator[Callable[[Graph], Stream]]:
        """A function that gives a fresh stream of any of the graphs."""
        files = merged([self.program(g) for g in graphs])
        if self.core is None:
            yield Library(
                build_shared(files, MAIN, load_target("host"), compiler=self.compiler, extra_flags=self.flags)
            ).stream
            return
        engine = EMULATED[self.core]
        if not engine.there:
            pytest.skip(f"the compiler or the emulator of {self.core} is not installed")
        target = load_target(engine.target)
        with engine.machine(build_image(files, MAIN, target, compiler=engine.compiler), target) as machine:
            yield lambda graph: MachineStream(graph, machine, engine.name)


DSP, MVE, WIDE, NARROW = (FLAVOURS[name] for name in ("dsp", "mve", "wide", "portable"))
PLACES = {
    "portable": Where(NARROW, flags=PLAIN),
    "dsp in plain C": Where(DSP, flags=FORCED),
    "mve in plain C": Where(MVE, flags=FORCED),
    "wide in plain C": Where(WIDE, flags=FORCED),
    "x86": Where(flavour_of("vnni")),
    "x86 gcc": Where(flavour_of("avx2"), compiler="gcc", flags=("-mno-avx512vnni",)),
    "M4": Where(DSP, "M4"),
    "M55": Where(MVE, "M55"),
    "A72": Where(flavour_of("neon"), "A72"),
    "A76": Where(flavour_of("neon"), "A76"),
    "A7": Where(flavour_of("neon32"), "A7"),
    "tiles in plain C": Where(WIDE, flags=FORCED, densities=TILES),
    "tiles, x86": Where(flavour_of("vnni"), densities=TILES),
    "tiles, x86 gcc": Where(flavour_of("avx2"), compiler="gcc", flags=("-mno-avx512vnni",), densities=TILES),
    "tiles, A72": Where(flavour_of("neon"), "A72", densities=TILES),
    "tiles, A76": Where(flavour_of("neon"), "A76", densities=TILES),
    "tiles, A7": Where(flavour_of("neon32"), "A7", densities=TILES),
}
if SWEEPS:
    PLACES |= {"M33": Where(DSP, "M33"), "M4 gcc": Where(DSP, "M4 gcc"), "M55 gcc": Where(MVE, "M55 gcc")}


def masked(rng: np.random.Generator, shape: tuple[int, int], w: DType, kind: str) -> np.ndarray:
    """Weights that are zero but for what the kind names."""
    values = np.where(rng.random(shape) < 0.5, edges(rng, shape, w), whole_numbers(rng, shape, w)).astype(np.int64)
    mask = np.zeros(shape, bool)
    if kind == "scattered":
        mask = rng.random(shape) < 0.15
    elif kind == "blocks":
        mask = np.repeat(rng.random((shape[0], -(-shape[1] // 4))) < 0.25, 4, axis=1)[:, : shape[1]]
    elif kind == "all":
        mask[:] = True
    elif kind == "last":
        mask[-1, -1] = mask[0, -1] = True
    elif kind == "one":
        mask[shape[0] // 2, shape[1] // 2] = True
    return np.where(mask, values, 0)


OTHERS = {"map_pairs", "map_eights", "map_wide", "map_int"}  # what is no product
KINDS = ("scattered", "blocks", "all", "last", "one", "none")
SIZES = ((33, 5), (64, 9), (47, 16), (130, 3), (40, 33), (96, 8))


def dense(x: DType, w: DType, total: DType) -> Graph:
    """Linears of every kind of weights: with a constant addend, over sums, with none, and over several rows."""
    b = GraphBuilder(f"blocks_{x}_{w}_{total}")
    rng = np.random.default_rng(crc32(b.name.encode()))
    inputs = {n: b.input(f"x{n}", (n,), x) for n, _ in SIZES}
    outs = []
    for at, (kind, (n_in, n_out)) in enumerate(zip(KINDS, SIZES, strict=True)):
        weights = b.const(f"w{at}", masked(rng, (n_out, n_in), w, kind), w)
        c = [b.const(f"c{at}", whole_numbers(rng, (n_out,), total), total)] if at % 3 else []
        y = b.op("linear", inputs[n_in], weights, *c, accumulate=str(total))
        if at % 3 == 1:
            y = b.op(
                "linear",
                inputs[n_in],
                b.const(f"v{at}", masked(rng, (n_out, n_in), w, "scattered"), w),
                y,
                accumulate=str(total),
            )
        outs.append(y)
    for at, (n_rows, n_in, n_out) in enumerate(((3, 36, 7), (2, 32, 4), (4, 64, 9))):
        values = b.input(f"r{at}", (n_rows, n_in), x)
        c = b.const(f"d{at}", whole_numbers(rng, (n_rows, n_out) if at else (n_out,), total), total)
        y = b.op(
            "linear", values, b.const(f"u{at}", masked(rng, (n_out, n_in), w, "blocks"), w), c, accumulate=str(total)
        )
        outs.append(b.op("reshape", y, shape=(n_rows * n_out,)))
    b.output(b.op("concat", *outs, axis=0))
    return run_passes(b.build(), LOWER)


def spiking(n: int, targets: int, w: DType, total: DType, kind: str) -> Graph:
    """Neurons that excite one another through weights in blocks and others: lists that last, groups of both."""
    b = GraphBuilder(f"spiking_{n}_{targets}_{w}_{total}_{kind}")
    rng = np.random.default_rng(crc32(b.name.encode()))

    def weights(n_out: int, n_in: int, mask: str = kind) -> str:
        small = np.clip(masked(rng, (n_out, n_in), w, mask), -900, 900)
        return b.const(b.fresh("w"), small, w)

    x = b.input("x", (n,), total)
    last = b.state("last", rng.random(n) < 0.3, SPIKE)
    kept = b.state("kept", rng.random(targets) < 0.5, SPIKE, reset="keep")
    drive = b.op("linear", last, weights(n, n), x, accumulate=str(total))
    drive = b.op("linear", kept, weights(n, targets), drive, accumulate=str(total))
    fired = b.op("gt", drive, b.const("level", rng.integers(-300, 900, n), total))
    first = b.op("linear", fired, weights(targets, n), accumulate=str(total))
    c = b.const("c", whole_numbers(rng, (targets,), total), total)
    both = b.op("linear", kept, weights(targets, targets, "all"), first, accumulate=str(total))
    again = b.op("le", b.const("low", 40, total), b.op("add", both, c))
    b.update(last, fired)
    b.update(kept, again)
    b.output(fired, both, b.op("linear", again, weights(34, targets), accumulate=str(total)))
    return run_passes(b.build(), LOWER)


DENSE = [dense(*types) for types in TYPES]
POPULATIONS = (((33, 40), "scattered"), ((70, 97), "blocks"), ((36, 35), "none"))
EVENTS = [
    spiking(n, targets, w, total, kind)
    for (w, total), ((n, targets), kind) in product(product((INT4, INT8, INT16), (INT16, INT32)), POPULATIONS)
]


def part(name: str, seed: int) -> list[Graph]:
    """What a place is asked: in sweeps everything, else a fourth, in CI each day another."""
    graphs = [*DENSE, *EVENTS]
    return graphs if SWEEPS else graphs[(list(PLACES).index(name) + seed) % 4 :: 4]


@pytest.mark.drawn(4)
@pytest.mark.parametrize("name", PLACES)
def test_blocks_are_byte_equal(name: str, drawn_seed: int) -> None:
    where, graphs = PLACES[name], part(name, drawn_seed)
    with where.streams(graphs) as stream:
        for at, graph in enumerate(graphs):
            check(stream(graph), reference_of(graph, at, STEPS), f"{graph.name} on {name}")


def test_every_kernel_of_blocks_runs() -> None:
    """Each kernel has its product above; of int16 weights, which are never of few values, each product has one."""
    widths = {f"x{x}_w{w}_a{a}" for x in (8, 16) for w in (8, 16) for a in (16, 32)}
    rows = {f"w{w}_a{a}" for w in (8, 16) for a in (16, 32)}
    for name, dense_kernels in {
        "portable": {"blocks"},
        "dsp in plain C": {"pair_blocks"},
        "mve in plain C": {"eight_blocks"},
        "wide in plain C": {"wide_blocks"},
        "tiles in plain C": {"wide_tiles"},
    }.items():
        ran = {k.removeprefix("linear_") for g in (*DENSE, *EVENTS) for k in PLACES[name].kernels(g)}
        prefix = dense_kernels.pop()
        wanted = {f"{prefix}_{width}" for width in widths}
        if name.startswith("dsp"):  # which is how int8 lie where no weight is -128, and how they do where one is
            wanted = {f"{prefix}_{w}" for w in widths if not w.startswith("x8_w16")}
            wanted |= {f"{prefix}_wide_{w}" for w in widths if w.startswith("x8")}
            wanted |= {f"{prefix}_plain_{w}" for w in widths if w.startswith("x8_w8")}
        wanted |= {f"{prefix.replace('tiles', 'blocks').removesuffix('s')}_rows_{row}" for row in rows}
        assert wanted <= ran
        kept = {
            k
            for g in (*DENSE, *EVENTS)
            if INT16 in {g.tensors[n].dtype for n in g.tensors if n.startswith("w")}
            for k in PLACES[name].kernels(g)
        }
        assert not {k for k in kept if not any(part in k for part in ("block", "tile", "span", "walk"))} - OTHERS


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_blocks_hold_every_weight_once(data: st.DataObject) -> None:
    """Any matrix comes back from its blocks, wherever they begin, and no row has more of them than it needs."""
    per, step = data.draw(st.sampled_from([(4, 1), (4, 2), (4, 4), (16, 1), (2, 1)]))
    width = data.draw(st.integers(per, 60)) // step * step
    mask = data.draw(arrays(bool, (data.draw(st.integers(1, 5)), max(width, per))))
    weights = mask * np.arange(1, mask.size + 1, dtype=np.int16).reshape(mask.shape)
    blocks, back = cover(weights, per, step), np.zeros_like(weights)
    for row, start, values in zip(blocks.row, blocks.start, blocks.values, strict=True):
        assert start % step == 0
        back[row, start : start + per] += values
    assert (back == weights).all()
    least = [-(-int(np.ptp(np.flatnonzero(row)) + 1) // per) if row.any() else 0 for row in mask]
    aligned = [np.unique(np.flatnonzero(row) // per).size for row in mask]
    assert all(n <= most for n, most in zip(blocks.counts(len(mask)), aligned, strict=True))
    assert (blocks.counts(len(mask)) <= np.maximum(least, aligned)).all()
    tiled = tiles(weights, per, 4)
    assert np.count_nonzero(tiled.values) == np.count_nonzero(weights)


@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_products_over_random_masks(data: st.DataObject) -> None:
    """The bytes of the reference for weights that are zero anywhere, in plain C that is built once for each mask."""
    name = data.draw(
        st.sampled_from(["portable", "dsp in plain C", "mve in plain C", "wide in plain C", "tiles in plain C"])
    )
    n_in, n_out = data.draw(st.integers(32, 70)), data.draw(st.integers(1, 40))
    mask = data.draw(arrays(bool, (n_out, n_in), elements=st.sampled_from([False] * 7 + [True])))
    rng, b = np.random.default_rng(mask.sum()), GraphBuilder("random_mask")
    weights = b.const("w", np.where(mask, edges(rng, mask.shape, INT8), 0), INT8)
    b.output(b.op("linear", b.input("x", (n_in,), INT16), weights, accumulate="int32"))
    graph = run_passes(b.build(), LOWER)
    with PLACES[name].streams([graph]) as stream:
        check(stream(graph), reference_of(graph, 1, 6), f"{graph.name} on {name}")


@pytest.mark.parametrize("name", ["portable", "x86", "tiles, x86", "dsp in plain C", "mve in plain C"])
def test_nothing_is_written_outside_the_callers_buffers(name: str) -> None:
    """Ports at odd addresses, and guard bytes around them and around the struct."""
    where, graph = PLACES[name], DENSE[-1]
    library = Library(build_shared(merged([where.program(graph)]), MAIN, load_target("host"), extra_flags=where.flags))
    wanted, prefix = reference_of(graph, 3, 4), f"ek_{graph.name}"

    def call(function: str, *given: Guarded) -> int:
        return int(library.handle[f"{prefix}_{function}"](*(ctypes.c_void_p(a.address) for a in given)))

    model = Guarded(call("sizeof"))
    ports = [Guarded(a[0].nbytes, offset=a.itemsize) for a in (*wanted.inputs, *wanted.outputs)]
    assert call("init", model) == 0
    for t in range(4):
        for port, a in zip(ports, wanted.inputs, strict=False):
            port.data[:] = np.ascontiguousarray(a[t]).reshape(-1).view(np.uint8)
        assert call("step", model, *ports) == 0
        for guarded in (model, *ports):
            guarded.check()
        for port, a in zip(ports[len(wanted.inputs) :], wanted.outputs, strict=True):
            assert port.data.tobytes() == a[t].tobytes()


def test_dense_weights_stay_dense() -> None:
    """The table of the compiler: nothing of a full matrix is in blocks, all of one that is nearly empty."""
    rng = np.random.default_rng(0)
    for simd in ("portable", "dsp", "mve", "neon", "vnni"):
        block = block_for(simd, spikes=False)
        for share, found in ((1.0, False), (0.05, True)):
            b = GraphBuilder("choice")
            chosen = rng.random((32 // block.outputs, 256 // block.inputs)) < share
            mask = np.repeat(np.repeat(chosen, block.outputs, axis=0), block.inputs, axis=1)
            weights = b.const("w", np.where(mask, rng.integers(1, 128, mask.shape), 0), INT8)
            b.output(b.op("linear", b.input("x", (256,), INT16), weights, accumulate="int32"))
            (kernel,) = Where(flavour_of(simd), densities=flavour_of(simd).densities).kernels(
                run_passes(b.build(), LOWER)
            )
            assert any(part in kernel for part in ("block", "tile", "span")) == found, (simd, share, kernel)


def test_the_table_is_what_is_counted() -> None:
    """A sample of the table again: blocks that cover less than it says take fewer instructions, others more."""
    flavour, core = flavour_of("dsp"), CORES["dsp"][0]
    most = flavour.densities["x16_w8"][64]
    cases = [Case(flavour, "x16_w8", 32, 64, share) for share in (most - 0.08, most + 0.08)]
    below, above = count(cases, core)
    assert below.blocks < below.whole
    assert above.blocks > above.whole
