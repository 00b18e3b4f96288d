"""Graphs that try the forms of one flavour of integer programs, and what holds them against the reference.

The layout of a flavour runs on its core in an emulator, and in this process as plain C that stands in for the verbs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from integer_engines import EMULATED, MAIN, Library, emitted, merged, opened
from integer_equality import Expected, check, reference_of, same
from integer_streams import distinct, edges, whole_numbers

from edgekit.ir import INT8, INT16, INT32, SPIKE, DType, Graph, GraphBuilder
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.runtime.streams import Stream
from edgekit.target import load_target
from edgekit.toolchain import build_shared

TWIN = "plain C"  # runs in this process
STEPS = 26


@dataclass(frozen=True)
class Flavoured:
    """The flavour of a target: what it becomes, and streams of it."""

    target: str

    @contextmanager
    def streams(self, engine: str, graphs: Sequence[Graph]) -> Iterator[Callable[[Graph], Stream]]:
        """A function that gives a fresh stream of any of the graphs."""
        if engine != TWIN:
            if not EMULATED[engine].there:
                pytest.skip(f"the compiler or the emulator of {engine} is not installed")
            with opened(EMULATED[engine], graphs) as stream:
                yield stream
            return
        files = merged([emitted(g, load_target(self.target)) for g in graphs])
        flags = ("-DEK_FORCE_PORTABLE", "-O1", "-fno-vectorize", "-fno-slp-vectorize", "-fno-unroll-loops")
        yield Library(build_shared(files, MAIN, load_target("host"), compiler="zig", extra_flags=flags)).stream

    def kernels(self, graph: Graph) -> list[str]:
        """Which kernels run the step."""
        return [k.kernel for k in emitted(graph, load_target(self.target)).kernels if k.entry == "step"]

    def hold(self, engine: str, graphs: Sequence[Graph], seed: int, steps: int = STEPS) -> None:
        """All of the graphs, in one image, give the reference's bytes."""
        with self.streams(engine, graphs) as stream:
            for at, graph in enumerate(graphs):
                check(stream(graph), reference_of(graph, seed + at, steps), f"{graph.name} on {engine}")


def dense(x: DType, w: DType, total: DType) -> Graph:
    """Linears of every size around the blocks: with a constant addend, with a computed one, and with none."""
    name = f"dense_{x}_{w}_{total}"
    rng, b = np.random.default_rng(len(name) + w.bits), GraphBuilder(name)
    inputs = {n: b.input(f"x{n}", (n,), x) for n in (7, 16, 33, 48)}
    outs = []
    for at, (n_in, n_out) in enumerate(product(inputs, (3, 8, 12, 29))):
        weights = b.const(f"w{at}", distinct(whole_numbers(rng, (n_out, n_in), w), w), w)
        addend = [b.const(f"c{at}", whole_numbers(rng, (n_out,), total), total)] if at % 3 == 0 else []
        y = b.op("linear", inputs[n_in], weights, *addend, accumulate=str(total))
        if at % 3 == 1:  # over the sums of the first
            again = b.const(f"v{at}", distinct(edges(rng, (n_out, n_in), w), w), w)
            y = b.op("linear", inputs[n_in], again, y, accumulate=str(total))
        outs.append(y)
    b.output(b.op("concat", *outs, axis=0))
    return run_passes(b.build(), LOWER)


def rows(w: DType, total: DType) -> Graph:
    """The same weights for several rows of x; rows that do not begin at whole vectors are left to plain C."""
    rng, b = np.random.default_rng(w.bits), GraphBuilder(f"rows_{w}_{total}")
    for at, (n_rows, n_in, n_out) in enumerate([(3, 16, 8), (5, 32, 12), (2, 8, 10), (3, 5, 7), (4, 16, 3)]):
        x = b.input(f"x{at}", (n_rows, n_in), INT16)
        weights = b.const(f"w{at}", distinct(whole_numbers(rng, (n_out, n_in), w), w), w)
        c = b.const(f"c{at}", whole_numbers(rng, (n_out,), total), total)
        b.output(b.op("linear", x, weights, c, accumulate=str(total)))
    return run_passes(b.build(), LOWER)


def spans(x: DType, w: DType) -> Graph:
    """Outputs of a few neighbouring inputs each, up to the last one."""
    rng, b = np.random.default_rng(x.bits + w.bits), GraphBuilder(f"spans_{x}_{w}")
    for n_in, n_out, most in ((200, 9, 28), (130, 13, 16), (97, 5, 33)):
        weights = np.zeros((n_out, n_in))
        for o in range(n_out - 1):  # the last output reads nothing
            length = int(rng.integers(1, most + 1))
            first = int(rng.integers(0, n_in - length + 1)) if o else n_in - length
            weights[o, first : first + length] = whole_numbers(rng, (length,), w)
        c = b.const(f"c{n_in}", whole_numbers(rng, (n_out,), INT32), INT32)
        b.output(
            b.op("linear", b.input(f"x{n_in}", (n_in,), x), b.const(f"w{n_in}", weights, w), c, accumulate="int32")
        )
    return run_passes(b.build(), LOWER)


def spiking(n: int, targets: int, w: DType) -> Graph:
    """Neurons that excite one another and two other populations: lists that last, two lists in one pass, odd sizes."""
    rng, b = np.random.default_rng(n + targets), GraphBuilder(f"spiking_{n}_{targets}_{w}")
    high = 900 if w is INT16 else 7

    def weights(n_out: int, n_in: int) -> str:
        return b.const(b.fresh("w"), distinct(rng.integers(-high, high + 1, (n_out, n_in)), w), w)

    x = b.input("x", (n,), INT16)
    v, last = b.state("v", np.zeros(n), INT16), b.state("last", rng.random(n) < 0.3, SPIKE)
    m, kept = b.state("m", np.zeros(targets), INT16), b.state("kept", rng.random(targets) < 0.5, SPIKE, reset="keep")
    drive = b.op("linear", last, weights(n, n), x, accumulate="int16")
    drive = b.op("linear", kept, weights(n, targets), drive, accumulate="int16")
    level = b.const("level", rng.integers(-300, 9000, n), INT16)
    beta = b.op("rescale", v, b.const("beta", 27000, INT16), shift=15, to="int16")
    back = b.op("where", b.op("gt", v, level), b.const("on", -b.tensor("level").data, INT16), b.const("off", 0, INT16))
    new = b.op("add", b.op("add", beta, drive, saturate=True), back, saturate=True)
    fired = b.op("gt", new, level)
    first = b.op("linear", fired, weights(targets, n), accumulate="int16")
    both = b.op("linear", kept, weights(targets, targets), first, accumulate="int16")
    more = b.op("add", b.op("rescale", m, b.const("gamma", 16000, INT16), shift=15, to="int16"), both)
    again = b.op("le", b.const("low", 40, INT16), more)
    for state, value in ((v, new), (last, fired), (m, more), (kept, again)):
        b.update(state, value)
    b.output(new, fired, b.op("linear", again, weights(3, targets), accumulate="int16"))
    return run_passes(b.build(), LOWER)


def summing(n: int, targets: int, w: DType) -> Graph:
    """Spikes that two matrices read, with sums in int32 and in int16 from the same rows, and over one another."""
    rng, b = np.random.default_rng(n + targets), GraphBuilder(f"summing_{n}_{targets}_{w}")
    x = b.input("x", (n,), SPIKE)

    def weights(n_out: int, n_in: int) -> str:
        return b.const(b.fresh("w"), distinct(whole_numbers(rng, (n_out, n_in), w), w), w)

    c = b.const("c", whole_numbers(rng, (targets,), INT32), INT32)
    narrow = b.op("linear", x, weights(targets, n), accumulate="int16")
    first = b.op("linear", x, weights(targets, n), c, accumulate="int32")
    fired = b.op("gt", narrow, b.const("level", 10, INT16))
    after = b.op("linear", fired, weights(n, targets), accumulate="int32")
    b.output(first, narrow, b.op("linear", x, weights(n, n), after, accumulate="int32"))
    return run_passes(b.build(), LOWER)


def chained(targets: int) -> Graph:
    """One sum over spikes of populations that nothing else reads: the list of each is needed once."""
    rng, b = np.random.default_rng(targets), GraphBuilder(f"chained_{targets}")
    inputs = [b.input(f"x{n}", (n,), INT16) for n in (24, 12, 40, 9)]
    fired = [b.op("gt", x, b.const(f"level{at}", 0, INT16)) for at, x in enumerate(inputs)]
    total: tuple[str, ...] = ()
    for at, x in enumerate(fired):
        size = (targets, b.tensor(x).size)
        weights = b.const(f"w{at}", distinct(whole_numbers(rng, size, INT8), INT8), INT8)
        total = (b.op("linear", x, weights, *total, accumulate="int16"),)
    b.output(*total)
    return run_passes(b.build(), LOWER)


def memory(channels: int, order: int = 4) -> Graph:
    """A memory of so many spikes a channel that one spike drives, by table."""
    rng, b = np.random.default_rng(channels), GraphBuilder(f"memory_{channels}_{order}")
    u = b.input("u", (channels,), SPIKE)
    m = b.state("m", rng.random((channels, order)) < 0.5, SPIKE)
    a, d = (b.const(n, rng.integers(-8000, 8001, (order, k)), INT16) for n, k in (("A", order), ("B", 1)))
    y = b.op("memory_update", m, a, b.op("reshape", u, shape=(channels, 1)), d, accumulate="int16")
    b.update(m, b.op("gt", y, b.const("level", 2000, INT16)))
    b.output(y)
    return run_passes(b.build(), LOWER)


def values(channels: int, order: int, inputs: int, x: DType, w: DType) -> Graph:
    """A memory of a few values a channel that a few others drive."""
    b = GraphBuilder(f"values_{channels}_{order}_{inputs}_{x}_{w}")
    rng = np.random.default_rng(len(b.name) + channels)
    m, u = b.input("m", (channels, order), x), b.input("u", (channels, inputs), x)
    weights = [b.const(n, whole_numbers(rng, (order, k), w), w) for n, k in (("A", order), ("B", inputs))]
    b.output(b.op("memory_update", m, weights[0], u, weights[1], accumulate="int32"))
    return run_passes(b.build(), LOWER)


def everything(dtype: DType, n: int) -> list[np.ndarray]:
    """Streams of two inputs: every value of a dtype, or of int32 the ends and many others, each against the ends."""
    rng = np.random.default_rng(n)
    low, high = dtype.limits
    values = np.arange(low, high + 1) if dtype is not INT32 else whole_numbers(rng, (2**15,), dtype)
    values = np.concatenate([values, edges(rng, (4 * n,), dtype)])
    values = np.pad(values, (0, -values.size % n)).reshape(-1, n).astype(dtype.numpy)
    return [values, np.roll(edges(rng, values.shape, dtype), 1)]


def swept(graph: Graph, inputs: list[np.ndarray]) -> Expected:
    """The reference's answer to given inputs."""
    return reference_of(graph, 0, len(inputs[0]), lambda *_: inputs)


def in_steps(stream: Stream, wanted: Expected, engine: str) -> None:
    """The same bytes step by step, because the outputs of all steps are megabytes."""
    names = wanted.graph.entries["step"].outputs
    for t in range(len(wanted.inputs[0])):
        got = stream.call("step", [a[t] for a in wanted.inputs])
        same(got, [a[t] for a in wanted.outputs], names, f"{wanted.graph.name} on {engine}, step {t}")


RESCALES = [
    (INT16, INT16, 15, "int16", (0, 1, -1, 29491, 32767, -32768)),
    (INT16, INT16, 15, "int32", (-32768, 32767)),
    (INT16, INT16, 15, "int8", (1, 127, 128, -32768)),
    (INT16, INT16, 0, "int32", (-32768, 321)),
    (INT16, INT16, 0, "int16", (1, 3, -32768)),
    (INT16, INT16, 7, "int16", (1, 127, -128, 32767)),
    (INT16, INT16, 16, "int8", (255, 256, -32768)),
    (INT16, INT16, 22, "int16", (-32768, 32767, 77)),
    (INT16, INT32, 18, "int32", (2**31 - 1, -(2**31), 3)),
    (INT16, INT32, 15, "int32", (2**31 - 1, -(2**31), 2**15)),
    (INT16, INT32, 31, "int16", (2**31 - 1, -(2**31), 2**30)),
    (INT8, INT8, 7, "int8", (127, -128, 64)),
    (INT8, INT16, 3, "int8", (1, 9, -32768)),
    (INT8, INT16, 30, "int32", (32767, -32768)),
    (INT32, INT32, 31, "int32", (2**31 - 1, -(2**31), 1, 2**30)),
    (INT32, INT32, 31, "int16", (2**31 - 1, -(2**31), 65536)),
    (INT32, INT32, 31, "int8", (2**31 - 1, -(2**31), 2**23)),
    (INT32, INT32, 28, "int16", (2**30, -(2**31), 32769, -32769)),
    (INT32, INT32, 16, "int8", (2**30, -(2**31), 32769)),
    (INT32, INT16, 20, "int32", (1, 5, -7)),
    (INT32, INT16, 28, "int32", (32767, -32768)),
]


def rescaling(dtype: DType, n: int) -> Graph:
    """Every rescale of a dtype, with one factor for all elements and with one for each."""
    b = GraphBuilder(f"rescale_{dtype}")
    x, y = b.input("x", (n,), dtype), b.input("y", (n,), dtype)
    outs = []
    for source, factor, shift, to, factors in RESCALES:
        if source is dtype:
            for m in factors:
                k = b.const(b.fresh("m"), m, factor)
                outs.append(b.op("cast", b.op("rescale", x, k, shift=shift, to=to), to="int32"))
            k = b.const(b.fresh("m"), np.resize(factors, n), factor)
            outs.append(b.op("cast", b.op("rescale", x, k, shift=shift, to=to), to="int32"))
    if dtype is INT16:  # a product of two values
        outs += [b.op("cast", b.op("rescale", x, y, shift=s, to="int16"), to="int32") for s in (1, 15, 16)]
    b.output(b.op("concat", *outs, axis=0))
    return run_passes(b.build(), LOWER)


def lines(dtype: DType, size: int = 43) -> Graph:
    """Every line in one body and another: spikes from compares, spikes that choose, results of every width."""
    b = GraphBuilder(f"lines_{dtype}")
    x, y, s = b.input("x", (size,), dtype), b.input("y", (size,), dtype), b.input("s", (size,), SPIKE)
    ends = b.const("ends", edges(np.random.default_rng(1), (size,), dtype), dtype)
    nothing, one = b.const("nothing", 0, dtype), b.const("one", 1, dtype)
    values = [b.op(k, x) for k in ("neg", "abs", "relu")]
    values += [b.op(k, x, o, saturate=sat) for k, o, sat in product(("add", "sub"), (y, ends, one), (False, True))]
    values += [b.op(k, x, o) for k, o in product(("minimum", "maximum"), (y, ends))]
    spikes = [b.op(k, x, o) for k, o in product(("gt", "ge", "lt", "le", "eq", "ne"), (y, ends, nothing))]
    spikes += [b.op("logical_and", s, spikes[0]), b.op("logical_or", s, spikes[1]), b.op("logical_not", s)]
    values += [b.op("where", s, x, y), b.op("where", spikes[2], ends, x)]
    reset = b.op("where", b.op("gt", x, ends), b.op("sub", nothing, ends), nothing)
    values += [b.op("add", y, reset, saturate=sat) for sat in (False, True)]
    values += [b.op("add", b.op("where", s, ends, nothing), y, saturate=True)]
    whole = [b.op("cast", v, to="int32") for v in (*values, *spikes)]
    narrow = [b.op("cast", v, to=to) for v, to in product((x, s), ("int8", "int16"))]
    b.output(b.op("concat", *whole, axis=0), *spikes[:4], *values[:2], *narrow)
    return run_passes(b.build(), LOWER)
