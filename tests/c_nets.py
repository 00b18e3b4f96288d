"""Small networks built op by op, for the conformance of backends: an MLP, an L2MU, and steps of awkward sizes."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from edgekit.ir import FLOAT32, INT8, SPIKE, Graph, GraphBuilder, QuantParams
from edgekit.ir.ops import SCALAR_OPS
from edgekit.passes.pipelines import LOWER, OPTIMISE, run_passes


def lowered(graph: Graph) -> Graph:
    """The graph as a backend gets it."""
    return run_passes(graph, (*OPTIMISE, *LOWER))


def random_weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)


def mlp(sizes: tuple[int, ...], seed: int = 0) -> Graph:
    """Fully connected layers with relu between them."""
    rng, b = np.random.default_rng(seed), GraphBuilder("mlp")
    x = b.input("x", (sizes[0],))
    for at, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        w = b.const(f"w{at}", random_weights(rng, n_out, n_in))
        x = b.op("linear", x, w, b.const(f"b{at}", random_weights(rng, n_out)))
        if at < len(sizes) - 2:
            x = b.op("relu", x)
    b.output(x)
    return b.build()


def _leaky(b: GraphBuilder, name: str, current: str, *, beta: float, threshold: float) -> str:
    shape = b.tensor(current).shape
    u = b.state(f"{name}.u", np.zeros(shape))
    thr, decay = b.const(f"{name}.thr", threshold), b.const(f"{name}.beta", beta)
    reset = b.op("mul", b.op("cast", b.op("gt", u, thr), to="float32"), thr)
    u_next = b.op("sub", b.op("add", b.op("mul", decay, u), current), reset)
    b.update(f"{name}.u", u_next)
    return b.op("gt", u_next, thr)


def l2mu(
    *,
    n: int = 6,
    hidden: int = 128,
    channels: int = 64,
    order: int = 4,
    classes: int = 7,
    seed: int = 0,
    thr: float = 1.0,
) -> Graph:
    """The L2MU of MODELS.md with Leaky populations; a low `thr` makes it lively."""
    rng, b = np.random.default_rng(seed), GraphBuilder("l2mu")
    x = b.input("x", (n,))
    h = b.state("h.s", np.zeros(hidden, bool), SPIKE)
    m = b.state("m.s", np.zeros(channels * order, bool), SPIKE)

    def total(kind: str, rows: int, memory: str) -> str:
        parts = [
            b.op("linear", source, b.const(f"{kind}{tag}", random_weights(rng, rows, size)))
            for tag, source, size in (("x", x, n), ("h", h, hidden), ("m", memory, channels * order))
        ]
        return b.op("add", b.op("add", parts[0], parts[1]), parts[2])

    s_u = _leaky(b, "u", total("e", channels, m), beta=0.6, threshold=0.6 * thr)
    a, drive = b.const("A", random_weights(rng, order, order)), b.const("B", random_weights(rng, order, 1))
    folded = b.op("reshape", m, shape=(channels, order))
    i_m = b.op("add", b.op("linear", folded, a), b.op("linear", b.op("reshape", s_u, shape=(channels, 1)), drive))
    s_m = b.op("reshape", _leaky(b, "m", i_m, beta=0.4, threshold=0.3 * thr), shape=(channels * order,))
    s_h = _leaky(b, "h", total("w", hidden, s_m), beta=0.6, threshold=0.7 * thr)
    i_o = b.op("linear", s_h, b.const("wo", random_weights(rng, classes, hidden)), b.const("bo", np.zeros(classes)))
    s_o = _leaky(b, "o", i_o, beta=0.9, threshold=1.0 * thr)
    b.update("h.s", s_h)
    b.update("m.s", s_m)
    b.output(s_o)
    return b.build()


def elm(weights: np.ndarray, memory: int, seed: int = 0) -> Graph:
    """A Branch-ELM v2 as the passes leave it: branches of W[branch, in], one hidden layer, two outputs."""
    rng, b = np.random.default_rng(seed), GraphBuilder("elm")
    branches, hidden = len(weights), 2 * memory
    x, s, m = b.input("x", (weights.shape[1],)), b.state("b", np.zeros(branches)), b.state("m", np.zeros(memory))
    filtered = b.op("linear", x, b.const("w_s", weights), b.op("mul", s, b.const("kappa_b", 0.8)), form="sparse")
    decayed = b.op("mul", m, b.const("kappa_m", rng.uniform(0.5, 1, memory)))
    w1, w2, w_y = (random_weights(rng, *n) for n in ((hidden, branches + memory), (memory, hidden), (2, memory)))
    c = b.op("linear", decayed, b.const("w1m", w1[:, branches:]), b.const("b1", np.zeros(hidden)))
    h = b.op("relu", b.op("linear", filtered, b.const("w1b", w1[:, :branches]), c))
    drive = b.op("mul", b.op("linear", h, b.const("w2", w2)), b.const("two_thirds", 2 / 3))
    delta = b.op("mul", b.op("tanh", drive), b.const("gain", rng.uniform(0, 1.7159, memory)))
    b.update("b", filtered)
    m_next = b.op("add", decayed, delta)
    b.update("m", m_next)
    b.output(b.op("linear", m_next, b.const("w_y", w_y)))
    return b.build()


def dyadic(values: np.ndarray, bits: int = 5) -> np.ndarray:
    """Values rounded to multiples of 2^-bits: float32 sums of them are exact, in any order and on any machine."""
    return (np.round(np.asarray(values) * 2**bits) / 2**bits).astype(np.float32)


def exact(graph: Graph) -> Graph:
    """The graph with dyadic constants, so that every backend must give the very same bits."""
    tensors = {
        n: dataclasses.replace(t, data=dyadic(t.data)) if t.data is not None and t.dtype is FLOAT32 else t
        for n, t in graph.tensors.items()
    }
    return graph.replace(tensors=tensors)


def sparse_weights(rng: np.random.Generator, n_out: int, n_in: int, density: float = 0.08) -> np.ndarray:
    """Weights that are zero but for a few, which lie anywhere."""
    return np.where(rng.random((n_out, n_in)) < density, rng.standard_normal((n_out, n_in)), 0).astype(np.float32)


def banded_weights(rng: np.random.Generator, n_out: int, n_in: int, overlap: int = 3) -> np.ndarray:
    """Weights near the diagonal: an input reaches a few neighbouring outputs."""
    at, width = np.arange(n_in) * n_out / n_in, overlap / 2
    near = np.abs(np.arange(n_out)[:, None] - at) <= width
    return np.where(near, rng.standard_normal((n_out, n_in)), 0).astype(np.float32)


def block_weights(rng: np.random.Generator, n_out: int, n_in: int) -> np.ndarray:
    """Weights of a block diagonal: an output sums neighbouring inputs of its own."""
    own = np.arange(n_in) * n_out // n_in == np.arange(n_out)[:, None]
    return np.where(own, rng.standard_normal((n_out, n_in)), 0).astype(np.float32)


def int8_weights(b: GraphBuilder, name: str, weights: np.ndarray) -> str:
    """Weights [out, …] as int8 with one scale per output."""
    scale = (np.maximum(np.abs(weights).max(axis=tuple(range(1, weights.ndim))), 1e-6) / 127).astype(np.float32)
    quant = QuantParams(scale, np.zeros(scale.size, np.int32), 0, -127, 127)
    return b.const(name, quant.quantize(weights), INT8, quant)


def learner(n_in: int = 37, n_out: int = 5, seed: int = 0) -> Graph:
    """A read-out with plastic weights: `step` applies them, `learn` is the delta rule W += 0.25 (target - y) x^T."""
    rng, b = np.random.default_rng(seed), GraphBuilder("learner")
    w = b.state("w", dyadic(random_weights(rng, n_out, n_in)), reset="keep")
    x = b.input("x", (n_in,))
    trace = b.state("trace", dyadic(rng.standard_normal(n_in)))
    mixed = b.op("add", b.op("mul", trace, b.const("half", 0.5)), x)
    spikes = b.op("gt", mixed, b.const("zero", 0.0))
    b.update("trace", mixed)
    b.output(b.op("linear", x, w), b.op("linear", spikes, w), spikes)
    b.entry("learn")
    x, target = b.input("sample", (n_in,)), b.input("target", (n_out,))
    y = b.op("linear", x, w)
    error = b.op("mul", b.op("sub", target, y), b.const("rate", 0.25))
    b.update("w", b.op("add", w, b.op("mul", b.op("reshape", error, shape=(n_out, 1)), x)))
    b.output(error)
    return b.build()


CONVOLUTIONS = (  # channels in and out, groups, spatial axes, taps, strides, dilations; over x float32[96]
    (1, 12, 1, (8, 12), (3, 3), (1, 1), (1, 1)),
    (2, 5, 1, (6, 8), (2, 3), (2, 2), (1, 1)),
    (6, 70, 1, (16,), (3,), (1,), (2,)),
    (3, 33, 1, (32,), (25,), (1,), (1,)),  # 75 inputs: cut into runs
    (8, 8, 8, (12,), (3,), (1,), (1,)),  # depthwise
    (4, 8, 4, (4, 6), (2, 2), (1, 2), (2, 1)),  # depthwise, two outputs each
    (4, 8, 2, (24,), (5,), (2,), (1,)),
    (1, 1, 1, (96,), (33,), (1,), (1,)),
    (1, 3, 1, (2, 48), (2, 40), (1, 1), (1, 1)),  # few outputs, 80 inputs
    (2, 9, 1, (2, 4, 6), (2, 2, 3), (1, 1, 2), (1, 2, 1)),
    (96, 24, 1, (1,), (1,), (1,), (1,)),
    (24, 16, 1, (2, 2), (1, 1), (1, 1), (1, 1)),
)


def spatial(b: GraphBuilder, rng: np.random.Generator, x: str, s: str) -> list[tuple[str, str]]:
    """Convolutions, pads and windows over x float32[96] and s spike[77], as pairs of a label and a float32 value."""
    results = []
    fired = b.op("concat", s, b.op("slice", s, axis=0, start=5, stop=24), axis=0)
    for at, (n_in, n_out, groups, axes, taps, stride, dilation) in enumerate(CONVOLUTIONS):
        weights = random_weights(rng, n_out, n_in // groups, *taps)
        kernels = b.const(f"conv{at}", weights), int8_weights(b, f"conv8{at}", weights)
        bias, attrs = b.const(f"convb{at}", rng.standard_normal(n_out)), {"stride": stride, "dilation": dilation}
        for source, kind in ((x, "real"), (fired, "spikes")):
            image = b.op("reshape", source, shape=(n_in, *axes))
            results.append((f"conv {kind} {at}", b.op("conv", image, kernels[0], groups=groups, **attrs)))
            results.append((f"conv {kind} int8 {at}", b.op("conv", image, kernels[1], bias, groups=groups, **attrs)))
    for shape, before, after in (((96,), (3,), (0,)), ((4, 24), (0, 1), (0, 2)), ((2, 6, 8), (1, 0, 1), (0, 2, 1))):
        label = f"pad {before}"
        results.append((label, b.op("pad", b.op("reshape", x, shape=shape), before=before, after=after, value=-1.25)))
        padded = b.op("pad", b.op("reshape", fired, shape=shape), before=before, after=after)
        results.append((f"{label} spikes", b.op("cast", padded, to="float32")))
    for shape, size, stride, dilation in (
        ((96,), (5,), (3,), (2,)),
        ((2, 6, 8), (2, 2), (2, 2), (1, 1)),
        ((2, 6, 8), (3, 2), (1, 2), (1, 3)),
        ((3, 2, 4, 4), (2, 2, 3), (1, 1, 1), (1, 2, 1)),  # seven axes to walk
    ):
        for source, kind in ((x, ""), (fired, " spikes")):
            seen = b.op("windows", b.op("reshape", source, shape=shape), size=size, stride=stride, dilation=dilation)
            label = f"windows {shape} {size}{kind}"
            results.append((label, b.op("cast", seen, to="float32") if kind else seen))
    return results


def plastic(b: GraphBuilder, x: str) -> list[tuple[str, str]]:
    """Weights that are values of the program: products either way, and updates, of one row and of several."""
    results: list[tuple[str, str]] = []

    def part(start: int, *shape: int) -> str:
        flat = b.op("slice", x, axis=0, start=start, stop=start + int(np.prod(shape)))
        return b.op("reshape", flat, shape=shape)

    for height, width in ((1, 1), (1, 30), (40, 1), (7, 11), (3, 17), (2, 32), (5, 8), (4, 19)):
        size, w = f"{height}x{width}", part(96 - height * width, height, width)
        for rows in ((), (1,), (3,)) if height + width < 30 else ((),):
            tall, wide = part(2, *rows, height), part(1, *rows, width)
            label = f"{size} rows {rows}"
            results.append((f"product {label}", b.op("linear", wide, w)))
            results.append((f"apart {label}", b.op("distance", wide, w)))
            results.append((f"back {label}", b.op("matvec_t", tall, w)))
            results.append((f"update {label}", b.op("outer_add", w, tall, wide)))
            first = b.op("outer_add", b.op("outer_add", w, tall, wide), b.op("relu", tall), wide)
            results.append((f"updates {label}", b.op("outer_add", first, tall, b.op("neg", wide))))
    return results


def everything(seed: int = 0) -> tuple[Graph, list[tuple[str, slice]]]:
    """One graph that uses every op in many shapes; its output holds the results side by side, named by the slices.

    Inputs: x float32[96] and s spike[77]; every size that matters is not a multiple of a vector or a word.
    """
    rng, b = np.random.default_rng(seed), GraphBuilder("everything")
    x, s = b.input("x", (96,)), b.input("s", (77,), SPIKE)
    results: list[tuple[str, str]] = []

    def add(label: str, value: str) -> None:
        results.append((label, value))

    def const(label: str, *shape: int) -> str:
        return b.const(b.fresh(label), random_weights(rng, *shape) if shape else rng.standard_normal())

    short, shorter = b.op("slice", x, axis=0, start=3, stop=80), b.op("slice", x, axis=0, start=19, stop=96)
    fired = b.op("gt", short, const("zero"))
    positive = b.op("add", b.op("abs", short), b.const("tenth", 0.1))
    for kind, spec in SCALAR_OPS.items():
        if kind == "cast":
            add("cast", b.op("cast", b.op("cast", b.op("relu", short), to="spike"), to="float32"))
            continue
        if kind == "rescale":  # integers alone
            continue
        arity = spec.arity[0]
        if kind.startswith("logical"):
            add(kind, b.op("cast", b.op(kind, *(s, fired)[:arity]), to="float32"))
        elif kind == "where":
            add(kind, b.op(kind, fired, shorter, const("other", 77)))
        elif kind in ("log", "sqrt", "reciprocal"):
            add(kind, b.op(kind, positive))
        else:
            value = b.op(kind, *(short, shorter)[:arity])
            add(kind, b.op("cast", value, to="float32") if b.tensor(value).dtype is SPIKE else value)
    add("scalar constant", b.op("mul", b.op("reshape", short, shape=(7, 11)), const("k")))
    add("row constant", b.op("mul", b.op("reshape", short, shape=(7, 11)), const("k", 11)))
    add(
        "column broadcast",
        b.op(
            "add",
            b.op("reshape", short, shape=(7, 11)),
            b.op("slice", b.op("reshape", short, shape=(7, 11)), axis=1, start=0, stop=1),
        ),
    )
    for n_out in (1, 7, 8, 33, 64, 72, 130):
        weights, spiking = random_weights(rng, n_out, 96), random_weights(rng, n_out, 77)
        add(f"dense {n_out}", b.op("linear", x, b.const(f"wd{n_out}", weights)))
        add(f"dense int8 {n_out}", b.op("linear", x, int8_weights(b, f"wd8{n_out}", weights), const("bias", n_out)))
        run = b.op("linear", x, b.const(f"wr{n_out}", weights[::-1]))
        for form in ("event", "dense"):
            add(f"{form} spikes {n_out}", b.op("linear", s, b.const(f"ws{form}{n_out}", spiking), run, form=form))
            add(
                f"{form} spikes int8 {n_out}",
                b.op("linear", s, int8_weights(b, f"w8{form}{n_out}", spiking), run, form=form),
            )
    table, spikes = b.op("reshape", short, shape=(7, 11)), b.op("reshape", s, shape=(7, 11))
    for n_out in (3, 8, 70):
        weights, rows = random_weights(rng, n_out, 11), const("rows", 7, n_out)
        add(f"rows {n_out}", b.op("linear", table, b.const(f"r{n_out}", weights), const("bias", n_out)))
        add(f"rows int8 {n_out}", b.op("linear", table, int8_weights(b, f"r8{n_out}", weights), rows))
        for form in ("event", "dense"):
            add(f"{form} rows {n_out}", b.op("linear", spikes, b.const(f"rs{form}{n_out}", weights), rows, form=form))
            add(
                f"{form} rows int8 {n_out}",
                b.op("linear", spikes, int8_weights(b, f"rs8{form}{n_out}", weights), form=form),
            )
    for channels, order, k in ((16, 4, 1), (9, 8, 1), (13, 5, 1), (11, 7, 1), (11, 3, 2), (7, 9, 1), (4, 4, 4)):
        memory = b.op("reshape", b.op("slice", s, axis=0, start=0, stop=channels * order), shape=(channels, order))
        drive = b.op("reshape", b.op("slice", s, axis=0, start=5, stop=5 + channels * k), shape=(channels, k))
        weights = const("a", order, order), const("b", order, k)
        add(f"memory {channels}x{order}+{k}", b.op("memory_update", memory, weights[0], drive, weights[1]))
    small = ((13, 5, 1), (16, 4, 2), (12, 6, 1), (5, 8, 3), (2, 13, 1), (2, 16, 16))
    for channels, order, k in (*small, (3, 20, 1), (1, 70, 1)):
        real = b.op("reshape", b.op("slice", x, axis=0, start=0, stop=channels * order), shape=(channels, order))
        drive = b.op("reshape", b.op("slice", x, axis=0, start=60, stop=60 + channels * k), shape=(channels, k))
        weights = const("a", order, order), const("b", order, k)
        add(f"memory real {channels}x{order}+{k}", b.op("memory_update", real, weights[0], drive, weights[1]))
    for label, wide, small in (
        ("scattered", sparse_weights(rng, 45, 96), sparse_weights(rng, 45, 77)),
        ("banded", banded_weights(rng, 45, 96), banded_weights(rng, 45, 77)),
        ("blocks", block_weights(rng, 6, 96), block_weights(rng, 5, 77)),
        ("three outputs", sparse_weights(rng, 3, 96), sparse_weights(rng, 3, 77)),
        ("no weights", np.zeros((5, 96), np.float32), np.zeros((5, 77), np.float32)),
    ):
        for n_in, source, data in ((96, x, wide), (77, s, small)):
            w, q = b.const(b.fresh("wsp"), data), int8_weights(b, b.fresh("wsp8"), data)
            c = const("csp", len(data))
            add(f"sparse {label} {n_in}", b.op("linear", source, w, c, form="sparse"))
            add(f"sparse {label} int8 {n_in}", b.op("linear", source, q, c, form="sparse"))
    for label, data in (("scattered", sparse_weights(rng, 6, 11)), ("banded", banded_weights(rng, 6, 11))):
        w, q, rows = b.const(b.fresh("wsp"), data), int8_weights(b, b.fresh("wsp8"), data), const("rows", 7, 6)
        for source, kind in ((table, "real"), (spikes, "spike")):
            add(f"sparse {kind} rows {label}", b.op("linear", source, w, rows, form="sparse"))
            add(f"sparse {kind} rows {label} int8", b.op("linear", source, q, form="sparse"))
    tall = b.op("reshape", x, shape=(2, 48))
    add("sparse rows blocks", b.op("linear", tall, b.const("wblocks", block_weights(rng, 3, 48)), form="sparse"))
    cube, flags = (
        b.op("reshape", x, shape=(4, 3, 8)),
        b.op("reshape", b.op("slice", s, axis=0, start=1, stop=73), shape=(3, 4, 6)),
    )
    for axis in range(3):
        for reverse, exclusive in itertools.product((False, True), repeat=2):
            order = {"reverse": reverse, "exclusive": exclusive}
            add(f"cumsum {axis} {reverse} {exclusive}", b.op("cumsum", cube, axis=axis, **order))
        add(f"sum {axis}", b.op("sum", cube, axis=axis))
        add(f"amax {axis}", b.op("amax", cube, axis=axis, keepdims=True))
        add(f"slice {axis}", b.op("slice", cube, axis=axis, start=1, stop=3, step=1))
        add(f"gather {axis}", b.op("gather", cube, axis=axis, indices=(2, 0, 2)))
        add(f"concat {axis}", b.op("concat", cube, b.op("neg", cube), axis=axis))
        spike_ops = {
            "slice": b.op("slice", flags, axis=axis, start=0, stop=3, step=2),
            "gather": b.op("gather", flags, axis=axis, indices=(1, 1, 0)),
            "concat": b.op("concat", flags, b.op("logical_not", flags), flags, axis=axis),
        }
        for kind, value in spike_ops.items():
            add(f"{kind} spikes {axis}", b.op("cast", value, to="float32"))
    add("transpose", b.op("transpose", cube, perm=(2, 0, 1)))
    add("transpose spikes", b.op("cast", b.op("transpose", flags, perm=(1, 2, 0)), to="float32"))
    add("expand", b.op("expand", b.op("reshape", short, shape=(7, 1, 11)), shape=(2, 7, 3, 11)))
    add("expand spikes", b.op("cast", b.op("expand", spikes, shape=(2, 7, 11)), to="float32"))
    for label, value in (*spatial(b, rng, x, s), *plastic(b, x)):
        add(label, value)
    flat, slices, at = [], [], 0
    for label, value in results:
        size = b.tensor(value).size
        flat.append(b.op("reshape", value, shape=(size,)))
        slices.append((label, slice(at, at + size)))
        at += size
    b.output(b.op("concat", *flat, axis=0))
    return b.build(), slices
