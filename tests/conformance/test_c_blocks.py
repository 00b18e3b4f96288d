"""Products of weights in blocks: their kernels on every core and in plain C, byte for byte the reference's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from zlib import crc32

import numpy as np
import pytest
from c_runs import Guarded
from images import build_image
from integer_engines import EMULATED, MAIN, Library, merged
from integer_equality import Expected, check, reference_of
from integer_streams import edges, whole_numbers

from edgekit.backends.c import Program
from edgekit.backends.c.integer.densities import Thresholds
from edgekit.backends.c.integer import FLAVOURS, Flavour, emit_integer, flavour_of
from edgekit.ir import INT4, INT8, INT16, INT32, SPIKE, DType, Graph, GraphBuilder
from edgekit.ir.blocks import block_for
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.passes.plan_memory import plan_memory
from edgekit.runtime.streams import MachineStream, Stream
from edgekit.target import load_target
from edgekit.toolchain import build_shared

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
            y = b.op("linear", inputs[n_in], b.const(f"v{at}", masked(rng, (n_out, n_in), w, "scattered"), w), y,
                     accumulate=str(total))
        outs.append(y)
    for at, (n_rows, n_in, n_out) in enumerate(((3, 36, 7), (2, 32, 4), (4, 64, 9))):
        values = b.input(f"r{at}", (n_rows, n_in), x)
        c = b.const(f"d{at}", whole_numbers(rng, (n_rows, n_out) if at else (n_out,), total), total)
        y = b.op("linear", values, b.const(f"u{at}", masked(rng, (n_out, n_in), w, "blocks"), w), c,
                 accumulate=str(total))
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
EVENTS = [
    spiking(n, targets, w, total, kind)
    for (w, total), ((n, targets), kind) in product(
        product((INT4, INT8, INT16), (INT16, INT32)), (((33, 40), "scattered"), ((70, 97), "blocks"), ((36, 35), "none"))
    )
]


@pytest.mark.parametrize("name", PLACES)
def test_blocks_are_byte_equal(name: str) -> None:
    where = PLACES[name]
    graphs = [*DENSE, *EVENTS]
    with where.streams(graphs) as stream:
        for at, graph in enumerate(graphs):
            wanted = reference_of(graph, at, STEPS)
            check(stream(graph), wanted, f"{graph.name} on {name}")
