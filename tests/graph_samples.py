"""Small graphs for tests of what lies behind the IR."""

from __future__ import annotations

import numpy as np

from edgekit.ir import Graph, GraphBuilder

UP = np.float32(1) + np.finfo(np.float32).eps  # a membrane that is just above a threshold of one


def busy_graph(name: str = "tiny") -> Graph:
    """One LIF layer, a read-out that keeps its state, and every op that moves, gathers or reduces.

    Inputs x [3]; outputs y [5] (spikes counted so far, and one) and a peak [4]; states u [5] and total [5] (kept).
    """
    rng = np.random.default_rng(0)
    b = GraphBuilder(name, dt=0.01)
    x = b.input("x", (3,))
    u = b.state("u", np.zeros(5))
    w, c = b.const("w", rng.normal(size=(5, 3))), b.const("c", rng.normal(size=5))
    beta, one = b.const("beta", np.full(5, 0.9)), b.const("one", np.ones(5))
    raised = b.op("add", b.op("mul", u, beta), b.op("linear", x, w, c))
    spikes = b.op("gt", raised, one)
    total = b.state("total", np.ones(5), reset="keep")
    count = b.op("add", total, b.op("cast", spikes, to="float32"), out="y")
    pairs = b.op("reshape", b.op("concat", raised, count, axis=0), shape=(2, 5))
    turned = b.op("transpose", pairs, perm=(1, 0))
    part = b.op("slice", turned, axis=0, start=0, stop=5, step=2)
    picked = b.op("gather", part, axis=1, indices=(1, 0, 1))
    wide = b.op("expand", b.op("sum", picked, axis=1, keepdims=True), shape=(3, 4))
    peak = b.op("amax", wide, axis=0, keepdims=False, out="peak")
    b.update("u", raised)
    b.update("total", count)
    b.output(count, peak)
    return b.build()


def neuron(size: int = 3) -> Graph:
    """A membrane that spikes above one and then loses one; each spike is counted."""
    b = GraphBuilder("neuron")
    x, u, n = b.input("x", (size,)), b.state("u", np.zeros(size)), b.state("n", np.zeros(size))
    one = b.const("one", 1.0)
    raised = b.op("add", u, x)
    spikes = b.op("gt", raised, one)
    fired = b.op("cast", spikes, to="float32")
    b.update(u, b.op("sub", raised, fired))
    b.update(n, b.op("add", n, fired))
    b.output(spikes)
    return b.build()
