"""Graphs for the TFLite backend: every op by itself, and what only certain shapes bring out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from c_nets import int8_weights, random_weights

from edgekit.ir import SPIKE, Graph, GraphBuilder
from edgekit.ir.ops import SCALAR_OPS

POSITIVE = ("log", "sqrt", "reciprocal", "div")
Build = Callable[[GraphBuilder, str, str], str]


def _graph(name: str, shape: tuple[int, ...], build: Build) -> Graph:
    """Inputs x and y of one shape, y at least 0.5 in magnitude; the output a float."""
    b = GraphBuilder(name)
    x, y = b.input("x", shape), b.input("y", shape)
    found = build(b, x, y)
    b.output(b.op("cast", found, to="float32") if b.tensor(found).dtype is SPIKE else found)
    return b.build()


def _safe(b: GraphBuilder, x: str) -> str:
    return b.op("add", b.op("abs", x), b.const("half", 0.5))


def _scalar(kind: str) -> Build:
    def build(b: GraphBuilder, x: str, y: str) -> str:
        if kind == "cast":
            return b.op("cast", b.op("cast", b.op("relu", x), to="spike"), to="float32")
        if kind == "where":
            return b.op("where", b.op("gt", x, y), x, y)
        if kind.startswith("logical"):
            zero = b.const("zero", 0.0)
            flags = [b.op("gt", v, zero) for v in (x, y)]
            return b.op(kind, *flags[: SCALAR_OPS[kind].arity[0]])
        if kind in ("eq", "ne"):
            return b.op(kind, b.op("round", x), b.op("round", y))
        if kind == "flush":
            return b.op("flush", b.op("mul", x, b.const("tiny", 2e-38)))
        operands = [x, y][: SCALAR_OPS[kind].arity[0]]
        if kind in POSITIVE:
            operands[-1] = _safe(b, operands[-1])
        return b.op(kind, *operands)

    return build


def _halves(b: GraphBuilder, x: str, y: str) -> str:
    """Ties, and numbers so large that every second one is a tie."""
    half = b.const("half", 0.5)
    ties = b.op("mul", b.op("round", b.op("mul", x, b.const("k", 4.0))), half)
    large = b.op("mul", b.op("round", b.op("mul", y, b.const("m", 2.0**22))), half)
    return b.op("add", b.op("round", b.op("mul", large, b.const("two", 3.0))), b.op("round", ties))


def _linear(b: GraphBuilder, x: str, y: str) -> str:
    rng = np.random.default_rng(1)
    w = [b.const(f"w{i}", random_weights(rng, 5, 4)) for i in range(3)]
    plain = b.op("linear", x, w[0], b.const("c", random_weights(rng, 5)))
    fired = b.op("linear", b.op("gt", x, y), w[1], plain)
    return b.op("linear", y, w[2], fired)


def _w8(b: GraphBuilder, x: str, y: str) -> str:
    rng = np.random.default_rng(2)
    w, v = int8_weights(b, "w", random_weights(rng, 6, 4)), int8_weights(b, "v", random_weights(rng, 6, 4))
    one = b.op("linear", x, w, b.const("c", random_weights(rng, 6)))
    return b.op("linear", b.op("gt", x, y), v, one)


def _grid(b: GraphBuilder, x: str, y: str) -> str:
    """An addend that differs by row: no bias of a kernel."""
    rng = np.random.default_rng(3)
    return b.op("linear", x, b.const("w", random_weights(rng, 5, 4)), b.const("c", random_weights(rng, 3, 5)))


def _live(b: GraphBuilder, x: str, y: str) -> str:
    """Weights that are computed."""
    return b.op("linear", x, b.op("tanh", y), b.op("linear", x, y))


def _memory(b: GraphBuilder, x: str, y: str) -> str:
    rng = np.random.default_rng(4)
    return b.op("memory_update", x, b.const("A", random_weights(rng, 4, 4)), y, b.const("B", random_weights(rng, 4, 4)))


def conv(*size: int, stride: int = 1, dilation: int = 1, groups: int = 1, out: int = 4, w8: bool = False) -> Build:
    """A convolution with a bias; int8 weights where asked for."""

    def build(b: GraphBuilder, x: str, y: str) -> str:
        rng = np.random.default_rng(5)
        channels = b.tensor(x).shape[0]
        data = random_weights(rng, out, channels // groups, *size)
        w = int8_weights(b, "w", data) if w8 else b.const("w", data)
        attrs = {"stride": (stride,) * len(size), "dilation": (dilation,) * len(size), "groups": groups}
        real = b.op("conv", x, w, b.const("c", random_weights(rng, out)), **attrs)
        return b.op("sub", real, b.op("conv", b.op("gt", x, y), w, **attrs))

    return build


def _moves(b: GraphBuilder, x: str, y: str) -> str:
    """Reals and spikes through every movement, with axes that kernels have no room for."""
    spikes = b.op("gt", x, y)
    parts = []
    for value in (x, b.op("cast", spikes, to="float32")):
        turned = b.op("transpose", value, perm=(2, 0, 1))
        cut = b.op("slice", turned, axis=1, start=0, stop=2, step=1)
        picked = b.op("gather", cut, axis=2, indices=(1, 0, 1, 1))
        parts.append(b.op("concat", picked, picked, axis=0))
    moved = b.op("gather", b.op("transpose", spikes, perm=(1, 2, 0)), axis=0, indices=(1, 1, 0))
    parts.append(
        b.op("reshape", b.op("cast", b.op("slice", moved, axis=2, start=0, stop=2), to="float32"), shape=(2, 9))
    )
    flat = [b.op("reshape", p, shape=(b.tensor(p).size,)) for p in parts]
    return b.op("concat", *flat, axis=0)


def _many_axes(b: GraphBuilder, x: str, y: str) -> str:
    """Six axes with the batch."""
    turned = b.op("transpose", x, perm=(4, 2, 0, 3, 1))
    cut = b.op("slice", turned, axis=3, start=1, stop=3)
    grown = b.op("pad", cut, before=(0, 1, 0, 0, 2), after=(1, 0, 0, 0, 0), value=1.5)
    summed = b.op("sum", grown, axis=2, keepdims=True)
    both = b.op("mul", grown, summed)
    peak = b.op("amax", b.op("cumsum", both, axis=1, reverse=True, exclusive=True), axis=4)
    return b.op("gt", b.op("concat", peak, peak, axis=2), b.const("zero", 0.0))


def _spread(b: GraphBuilder, x: str, y: str) -> str:
    """Operands of other ranks and axes of length one."""
    column = b.op("sum", x, axis=1, keepdims=True)
    row = b.op("amax", y, axis=0)
    wide = b.op("expand", row, shape=(2, 3, 4))
    return b.op("minimum", b.op("add", b.op("mul", column, row), wide), b.const("top", 2.0))


def _sums(b: GraphBuilder, x: str, y: str) -> str:
    runs = b.op("cumsum", x, axis=0)
    back = b.op("cumsum", y, axis=1, reverse=True)
    apart = b.op("cumsum", x, axis=1, exclusive=True)
    return b.op("add", b.op("sub", runs, back), apart)


def _joined(b: GraphBuilder, x: str, y: str) -> str:
    """More values at once than one operator of TFLite-Micro takes."""
    return b.op("concat", *[x, y] * 11, axis=0)


def _pools(b: GraphBuilder, x: str, y: str) -> str:
    seen = b.op(
        "windows",
        b.op("pad", x, before=(0, 1, 1), after=(0, 1, 1), value=-9.0),
        size=(3, 3),
        stride=(2, 2),
        dilation=(1, 1),
    )
    mean = b.op("windows", y, size=(2, 2), stride=(1, 1), dilation=(1, 1))
    return b.op(
        "concat",
        *(
            b.op("reshape", v, shape=(b.tensor(v).size,))
            for v in (b.op("amax", seen, axis=3), b.op("sum", mean, axis=3))
        ),
        axis=0,
    )


def _flags(b: GraphBuilder, x: str, y: str) -> str:
    fired = b.op("gt", x, y)
    padded = b.op("pad", fired, before=(1, 0), after=(0, 2))
    return b.op(
        "expand", b.op("reshape", padded, shape=(1, *b.tensor(padded).shape)), shape=(2, *b.tensor(padded).shape)
    )


CASES: dict[str, Graph] = {
    **{kind: _graph(kind, (3, 4), _scalar(kind)) for kind in SCALAR_OPS if kind != "rescale"},
    "round_wide": _graph("round_wide", (3, 4), _halves),
    "erf_wide": _graph("erf_wide", (3, 4), lambda b, x, y: b.op("erf", b.op("mul", x, b.const("k", 3.0)))),
    "linear": _graph("linear", (3, 4), _linear),
    "linear_w8": _graph("linear_w8", (3, 4), _w8),
    "linear_grid": _graph("linear_grid", (3, 4), _grid),
    "linear_live": _graph("linear_live", (4, 4), _live),
    "memory_update": _graph("memory_update", (3, 4), _memory),
    "spread": _graph("spread", (3, 4), _spread),
    "sums": _graph("sums", (3, 4), _sums),
    "moves": _graph("moves", (2, 2, 3), _moves),
    "many_axes": _graph("many_axes", (2, 2, 2, 3, 3), _many_axes),
    "joined": _graph("joined", (2, 3), _joined),
    "pools": _graph("pools", (2, 5, 6), _pools),
    "flags": _graph("flags", (2, 3), _flags),
    "conv1": _graph("conv1", (4, 11), conv(3, stride=2)),
    "conv1_dilated": _graph("conv1_dilated", (4, 11), conv(3, dilation=2)),
    "conv1_depthwise": _graph("conv1_depthwise", (4, 11), conv(3, groups=4, out=8)),
    "conv1_w8": _graph("conv1_w8", (4, 11), conv(3, groups=2, w8=True)),
    "conv2": _graph("conv2", (3, 7, 8), conv(3, 2)),
    "conv2_groups": _graph("conv2_groups", (4, 7, 8), conv(3, 2, groups=2, stride=2)),
    "conv2_depthwise": _graph("conv2_depthwise", (4, 7, 8), conv(3, 3, groups=4, stride=2)),
    "conv2_w8": _graph("conv2_w8", (4, 7, 8), conv(3, 3, groups=4, w8=True)),
    "conv3": _graph("conv3", (2, 4, 5, 4), conv(2, 2, 2)),
}


def ports() -> Graph:
    """What ports bring with them: spikes in, states of spikes, kept ones, one no entry updates, values out twice."""
    b = GraphBuilder("ports", dt=0.002)
    x, s = b.input("x", (3,)), b.input("s", (4,), SPIKE)
    h = b.state("h", np.array([True, False, True]), SPIKE)
    u, kept = b.state("u", np.array([0.5, -1.0, 2.0])), b.state("kept", np.arange(4), reset="keep")
    b.state("still", np.full(2, 3.0))
    rng = np.random.default_rng(6)
    drive = b.op("linear", s, b.const("w", random_weights(rng, 3, 4)), b.op("mul", u, b.const("beta", 0.9)))
    raised = b.op("add", drive, b.op("linear", h, b.const("v", random_weights(rng, 3, 3)), x))
    fired = b.op("gt", raised, b.const("thr", 0.3))
    b.update("h", fired)
    b.update("u", raised)
    b.update("kept", b.op("add", kept, b.op("cast", s, to="float32")))
    b.output(fired, raised, x, b.const("answer", np.array([42.0])), s)
    return b.build()


def inputs_of(graph: Graph, steps: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random inputs [T, *shape], some of them exact zeros and ties."""
    rng, found = np.random.default_rng(seed), {}
    for name in graph.entries["step"].inputs:
        tensor = graph.tensors[name]
        shape = (steps, *tensor.shape)
        drawn = (
            rng.random(shape) < 0.3
            if tensor.dtype is SPIKE
            else np.where(rng.random(shape) < 0.1, 0.0, rng.standard_normal(shape))
        )
        found[name] = drawn.astype(np.float32)
    return found
