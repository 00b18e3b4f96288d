"""Small integer programs whose ranges are known from formulas, and what drives them to their worst.

Real quantities are scaled so that one unit of a state is one LSB; every program is lowered as a backend gets it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit.ir import INT8, INT16, INT32, SPIKE, DType, Graph, GraphBuilder
from edgekit.passes.pipelines import LOWER, run_passes

Q15, Q31 = 2**15, 2**31


def leaky(factors: Sequence[int], dtype: DType = INT16, most: int = 127, name: str = "leaky") -> Graph:
    """s <- rescale(s, k) + x for each factor k; every element is driven by its own int8 input."""
    bits, width = (31, INT32) if dtype is INT32 else (15, INT16)
    b = GraphBuilder(name)
    x = b.input("x", (len(factors),), INT8)
    s = b.state("s", np.zeros(len(factors)), dtype)
    kept = b.op("rescale", s, b.const("k", factors, width), shift=bits, to=dtype.name)
    fed = b.op("minimum", b.op("maximum", x, b.const("least", -most, INT8)), b.const("most", most, INT8))
    b.update("s", b.op("add", kept, b.op("cast", fed, to=dtype.name), saturate=True))
    b.output(kept)
    return run_passes(b.build(), LOWER)


def lif(beta: int, threshold: int, weights: Sequence[int], *, reset: str = "delayed", dtype: DType = INT16) -> Graph:
    """One neuron v <- beta v + Σ w x - threshold·[fired], x spikes; `reset` is "delayed", "in_place", or to "zero"."""
    b = GraphBuilder(f"lif_{reset}")
    x = b.input("x", (len(weights),), SPIKE)
    v = b.state("v", np.zeros(1), dtype)
    current = b.op("linear", x, b.const("w", [list(weights)], INT16), accumulate="int16")
    kept = b.op("rescale", v, b.const("beta", beta, INT16), shift=15, to=dtype.name)
    level, off = b.const("thr", threshold, dtype), b.const("off", 0, dtype)
    if reset == "delayed":
        back = b.op("where", b.op("gt", v, level), b.const("back", -threshold, dtype), off)
        new = b.op("add", b.op("add", kept, back, saturate=True), b.op("cast", current, to=dtype.name), saturate=True)
        fired = b.op("gt", new, level)
    else:
        driven = b.op("add", kept, b.op("cast", current, to=dtype.name), saturate=True)
        fired = b.op("gt", driven, level)
        if reset == "zero":
            new = b.op("where", fired, off, driven)
        else:
            new = b.op("sub", driven, b.op("where", fired, level, off), saturate=True)
    b.update("v", new)
    b.output(fired)
    return run_passes(b.build(), LOWER)


def legendre(order: int, theta: float) -> tuple[np.ndarray, np.ndarray]:
    """The delay network with a window of theta steps, held for the step: Ad [d, d], Bd [d]."""
    i, j = np.meshgrid(np.arange(order), np.arange(order), indexing="ij")
    a = (2 * i + 1) / theta * np.where(i < j, -1.0, (-1.0) ** (i - j + 1))
    drive = (2 * i[:, 0] + 1) / theta * (-1.0) ** i[:, 0]
    vectors = np.linalg.eig(a)
    discrete = (vectors.eigenvectors @ np.diag(np.exp(vectors.eigenvalues)) @ np.linalg.inv(vectors.eigenvectors)).real
    return discrete, np.linalg.solve(a, (discrete - np.eye(order)) @ drive)


def impulse_gain(a: np.ndarray, b: np.ndarray, steps: int) -> np.ndarray:
    """Σ |A^k B| over so many steps."""
    x, total = b.astype(np.float64), np.zeros(b.shape)
    for _ in range(steps):
        total, x = total + np.abs(x), a @ x
    return total


def memory(
    order: int,
    theta: float,
    share: float = 0.9,
    feedback: Sequence[float] | None = None,
    *,
    channels: int = 1,
    name: str = "",
) -> Graph:
    """A Legendre memory of int8 inputs, its L1 gain `share` of what int16 holds.

    `feedback` e_m lets the memory feed its own input u = x + e_m·m, which is then summed on the scale of x and wide.
    """
    a, drive = legendre(order, theta)
    loop = a if feedback is None else a + np.outer(drive, feedback)
    finite = np.abs(np.linalg.eigvals(loop)).max() < 1
    gain = impulse_gain(loop if finite else a, drive, 8000).max() * 128
    times = share * 2**15 / gain  # LSB of m for one LSB of x
    b = GraphBuilder(name or f"memory{channels}x{order}{'' if feedback is None else '_closed'}")
    x = b.input("x", (channels,), INT8)
    m = b.state("m", np.zeros((channels, order)), INT16)
    u = b.op("cast", x, to="int16")
    # u in sixteenths of an LSB of x
    u = b.op("rescale", u, b.const("sixteen", 16, INT8), shift=0, to="int16")
    if feedback is not None:
        flat = b.op("reshape", m, shape=(channels * order,))
        e = np.zeros((channels, channels * order))
        for c in range(channels):
            e[c, c * order : (c + 1) * order] = np.asarray(feedback) * 16 / times * 2**10
        fed = b.op("linear", flat, b.const("e_m", np.round(e), INT16), accumulate="int32")
        fed = b.op("rescale", fed, b.const("e_m.times", 1, INT8), shift=10, to="int16")
        u = b.op("add", u, fed, saturate=True)
    column = b.op("reshape", u, shape=(channels, 1))
    scale = 2**14 / max(1.0, np.abs(a).max(), np.abs(drive).max() * times / 16)
    weights = (
        b.const("A", np.round(a * scale), INT16),
        b.const("B", np.round(drive[:, None] * times * scale / 16), INT16),
    )
    total = b.op("memory_update", m, weights[0], column, weights[1], accumulate="int32")
    b.update("m", b.op("rescale", total, b.const("times", round(Q31 / scale), INT32), shift=31, to="int16"))
    b.output(u)
    return run_passes(b.build(), LOWER)


def bounded(decay: float = 0.98, size: int = 8) -> Graph:
    """An ELM memory: m <- decay m + (1 - decay) tanh(W x), by table, int32."""
    rng, b = np.random.default_rng(1), GraphBuilder("bounded")
    x = b.input("x", (6,), INT16)
    m = b.state("m", np.zeros(size), INT32)
    w = b.const("w", rng.integers(-127, 128, (size, 6)), INT8)
    z = b.op("rescale", b.op("linear", x, w, accumulate="int32"), b.const("q", 1, INT8), shift=6, to="int16")
    table = np.round(np.tanh(np.linspace(-4, 4, 257)) * 32767)
    delta = b.op("lookup", z, b.const("tanh", table, INT16))
    kept = b.op("rescale", m, b.const("k", round(decay * Q31), INT32), shift=31, to="int32")
    added = b.op("rescale", delta, b.const("g", round((1 - decay) * Q15 * 2), INT32), shift=2, to="int32")
    new = b.op("add", kept, added, saturate=True)
    b.update("m", new)
    b.output(new)
    return run_passes(b.build(), LOWER)


def with_states(graph: Graph) -> Graph:
    """The program with the new value of each state, spikes apart, among its outputs, after those it has."""
    step = graph.entries["step"]
    values = [v for s, v in step.updates.items() if graph.tensors[s].dtype is not SPIKE]
    wider = type(step)(step.name, step.inputs, (*step.outputs, *values), step.ops, step.updates)
    return graph.replace(name=f"{graph.name}_seen").with_entries(wider)
