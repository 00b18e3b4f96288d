"""Large matrices of rank-one triangles act in O(d): the Euler step of a Legendre memory is two running sums.

W[i,j] = u_i v_j above the diagonal and p_i q_j below it gives
(W x)_i = d_i x_i + u_i Σ_{j>i} v_j x_j + p_i Σ_{j<i} q_j x_j; with v (or u) and q (or p) of ±1 the weights stay exact.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgekit.ir.dtypes import FLOAT32
from edgekit.ir.graph import Graph, Op
from edgekit.passes.rewrite import Rewriter, rewrite

Array = npt.NDArray[np.float32]

# Below this order d² multiplications, four and more at a time, cost less than sums in which each waits for the last.
SMALLEST_ORDER = 64


def _above(w: Array) -> tuple[Array, Array] | None:
    """(u, v) with w[i,j] = u_i v_j for j > i bit for bit, one of them ±1 throughout; None if there are none."""
    first, last = w[0].copy(), w[:, -1].copy()
    first[0] = last[-1] = 0  # on the diagonal
    v, u = np.sign(first) * np.sign(first[-1]), np.sign(last) * np.sign(first[-1])
    v[0] = 1  # met by no element above the diagonal
    strict = np.triu(np.ones(w.shape, bool), 1)
    for rows, columns in ((last, v), (u, first)):
        if (np.outer(rows, columns) == w)[strict].all():
            return rows, columns
    return None


def _running(graph: Rewriter, x: str, rows: Array, columns: Array, stem: str, *, reverse: bool) -> list[str]:
    """rows_i Σ columns_j x_j over j > i (reverse) or j < i; nothing where it is zero."""
    if not rows.any() or not columns.any():
        return []
    if not (columns == 1).all():
        x = graph.emit("mul", x, graph.const(f"{stem}.columns", columns))
    total = graph.emit("cumsum", x, axis=len(graph.tensor(x).shape) - 1, reverse=reverse, exclusive=True)
    return [graph.emit("mul", total, graph.const(f"{stem}.rows", rows))]


def _rule(graph: Rewriter, op: Op) -> tuple[str, ...] | None:
    if op.kind != "linear":
        return None
    x, weights = op.inputs[:2]
    w = graph.data(weights)
    if w is None or w.shape[0] != w.shape[1] or len(w) < SMALLEST_ORDER:
        return None
    if graph.tensor(weights).dtype is not FLOAT32 or graph.tensor(x).dtype is not FLOAT32:
        return None
    above, below = _above(w), _above(w.T)
    if above is None or below is None:
        return None
    terms = [graph.emit("mul", x, graph.const(f"{weights}.diagonal", np.diagonal(w)))]
    terms += _running(graph, x, *above, f"{weights}.above", reverse=True)
    terms += _running(graph, x, *below[::-1], f"{weights}.below", reverse=False)
    total = terms[0]
    for term in (*terms[1:], *op.inputs[2:]):
        total = graph.emit("add", total, term)
    return (total,)


def linear_as_running_sums(graph: Graph) -> Graph:
    """Replace y = W x + c by two running sums where the triangles of a large constant W have rank one.

    Such are A = I + A_L / θ of the Euler step, A_L[i,j] = (2i+1)(-1 if i<j else (-1)^(i-j+1)), and its transpose.
    """
    return rewrite(graph, _rule)
