"""Ops over weights that change while the program runs: products with a matrix of the program, and its updates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgekit.ir.dtypes import DTYPES, FLOAT32, INT16, INT32, SPIKE, DType
from edgekit.ir.graph import Op, Tensor
from edgekit.ir.ops.contract import matvec as real_matvec
from edgekit.ir.ops.spec import Array, Attr, Attrs, Cost, Decomposer, OpSpec, Typed, batched, need

WIDEST_SHIFT = 46  # bits by which an exact sum is narrowed
MOST_APART = 2**15  # elements of a distance: its sum then fits 32 bits
WIDEST_UPDATE = 30  # of a product of two int16, which then still has room for half a unit
SHIFT = Attr(int, 0, required=False)


def narrowed(exact: Array, shift: int, to: DType) -> Array:
    """saturate(floor(x · 2^-shift + 1/2)) of int64 sums."""
    half = (1 << shift) >> 1
    return np.asarray(np.clip((exact + half) >> shift, *to.limits).astype(to.numpy))


def carried(exact: Array, shift: int) -> Array:
    """Changes of weights in int16: along a row, what rounding leaves of one is carried to the next.

    The running sum is floor(Σ x · 2^-shift + 1/2), so that small changes are not lost: the row as a whole moves by what
    it should, to half a unit.
    """
    half = (1 << shift) >> 1
    running = (np.cumsum(exact, axis=-1, dtype=np.int64) + half) >> shift
    return np.asarray(np.clip(np.diff(running, axis=-1, prepend=0), *INT16.limits).astype(np.int16))


def _matrix(kind: str, w: Tensor, *vectors: Tensor) -> None:
    need(kind, len(w.shape) == 2, f"weights {w.name} must be [R, C], got {w.shape}")
    need(kind, w.dtype in (FLOAT32, INT16), f"weights {w.name} must be float32 or int16, got {w.dtype}")
    for v in vectors:
        need(kind, v.dtype is w.dtype, f"wants {w.dtype} like its weights, got {v.dtype} ({v.name})")


def _shift(kind: str, w: Tensor, attrs: Attrs, widest: int = WIDEST_SHIFT) -> None:
    shift = int(attrs.get("shift", 0))
    need(kind, 0 <= shift <= widest, f"shift {shift} is not from 0 to {widest}")
    need(kind, w.dtype is not FLOAT32 or shift == 0, "float32 takes no shift")


def _infer_matvec(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
    x, w = inputs[:2]
    _matrix("matvec", w, *([x] if x.dtype is not SPIKE else []))
    _shift("matvec", w, attrs)
    need("matvec", w.dtype is INT16, f"weights {w.name} must be int16: products of reals are linear")
    fits = len(x.shape) >= 1 and x.shape[-1] == w.shape[1]
    need("matvec", fits, f"input {x.shape} does not fit weights {w.shape}")
    if len(inputs) == 3:
        c = inputs[2]
        need("matvec", c.dtype is INT32 and c.shape == w.shape[:1], f"addend {c.name} must be int32 [{w.shape[0]}]")
    return [((*x.shape[:-1], w.shape[0]), DTYPES[attrs["to"]])]


def _evaluate_matvec(inputs: Sequence[Array], attrs: Attrs, tensors: Sequence[Tensor]) -> Sequence[Array]:
    sums = _exact(inputs[0], inputs[1].swapaxes(1, 2))
    if len(inputs) == 3:
        sums = sums + batched(inputs[2].astype(np.int64), tensors[2].shape, sums.ndim - 1)
    return [narrowed(sums, attrs.get("shift", 0), DTYPES[attrs["to"]])]


def _exact(x: Array, w: Array) -> Array:
    """The exact sums x w of integers x[N, …, n], w[N or 1, n, m] as int64."""
    flat = x.reshape(x.shape[0], -1, x.shape[-1])
    terms = w.shape[1] * 2**30  # of products of int16
    real = np.float64 if terms < 2**53 else np.int64  # a product of floats is many times faster, and as exact
    sums = (flat.astype(real) @ w.astype(real)).astype(np.int64)
    return np.asarray(sums.reshape(sums.shape[0], *x.shape[1:-1], w.shape[2]))


def _infer_matvec_t(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
    x, w = inputs
    _matrix("matvec_t", w, x)
    _shift("matvec_t", w, attrs)
    fits = len(x.shape) >= 1 and x.shape[-1] == w.shape[0]
    need("matvec_t", fits, f"input {x.shape} does not fit the rows of {w.shape}")
    real = w.dtype is FLOAT32
    need("matvec_t", real != ("to" in attrs), "integers need the dtype of the result, float32 has one")
    return [((*x.shape[:-1], w.shape[1]), FLOAT32 if real else DTYPES[attrs["to"]])]


def _evaluate_matvec_t(inputs: Sequence[Array], attrs: Attrs, tensors: Sequence[Tensor]) -> Sequence[Array]:
    x, w = inputs
    if tensors[1].dtype is FLOAT32:
        with np.errstate(all="ignore"):
            return [real_matvec(x, w.swapaxes(1, 2), tensors[1])]
    return [narrowed(_exact(x, w), attrs.get("shift", 0), DTYPES[attrs["to"]])]


def _infer_outer_add(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
    w, a, b = inputs
    _matrix("outer_add", w, a, b)
    _shift("outer_add", w, attrs, WIDEST_UPDATE)
    fits = 1 <= len(a.shape) <= 2 and b.shape[:-1] == a.shape[:-1] and (a.shape[-1], b.shape[-1]) == w.shape
    need("outer_add", fits, f"{a.shape} and {b.shape} do not make a {w.shape}")
    return [(w.shape, w.dtype)]


def _evaluate_outer_add(inputs: Sequence[Array], attrs: Attrs, tensors: Sequence[Tensor]) -> Sequence[Array]:
    w, a, b = inputs
    a, b = (v.reshape(v.shape[0], -1, v.shape[-1]) for v in (a, b))
    if tensors[0].dtype is FLOAT32:
        with np.errstate(all="ignore"):
            return [w + a.swapaxes(1, 2) @ b]
    change = carried(_exact(a.swapaxes(1, 2), b), attrs.get("shift", 0))
    return [np.clip(w.astype(np.int32) + change, *INT16.limits).astype(w.dtype)]


def _infer_distance(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
    x, w = inputs
    _matrix("distance", w, x)
    fits = len(x.shape) >= 1 and x.shape[-1] == w.shape[1]
    need("distance", fits, f"input {x.shape} does not fit weights {w.shape}")
    real = w.dtype is FLOAT32
    need("distance", real or w.shape[1] <= MOST_APART, f"{w.shape[1]} elements are more than {MOST_APART}")
    return [((*x.shape[:-1], w.shape[0]), FLOAT32 if real else INT32)]


def _evaluate_distance(inputs: Sequence[Array], attrs: Attrs, tensors: Sequence[Tensor]) -> Sequence[Array]:
    x, w = inputs
    if tensors[1].dtype is INT16:
        x, w = x.astype(np.int32), w.astype(np.int32)
    flat = x.reshape(len(x), -1, x.shape[-1])
    sums = np.zeros((max(len(x), len(w)), flat.shape[1], w.shape[1]), np.result_type(x, w))
    with np.errstate(all="ignore"):
        for k in range(w.shape[2]):  # one after the other: all differences at once would take much memory
            sums += np.abs(flat[:, :, k, None] - w[:, None, :, k])
    return [sums.reshape(len(sums), *x.shape[1:-1], w.shape[1])]


def _cost(matrix: int, rows: int) -> Callable[[Sequence[Tensor], Sequence[Tensor], Attrs], Cost]:
    """A multiply-accumulate for each weight and each row; the operands `matrix` and `rows` tell how many."""

    def cost(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attrs: Attrs) -> Cost:
        w, x = inputs[matrix], inputs[rows]
        work = x.size // x.shape[-1] * w.size
        spikes = x.dtype is SPIKE
        return Cost(0 if spikes else work, work if spikes else 0, sum(t.stored_bytes for t in inputs))

    return cost


def _decompose_matvec_t(op: Op, to: Decomposer) -> None:
    x, w = op.inputs
    to.emit("linear", x, to.emit("transpose", w, perm=(1, 0)))


def _decompose_outer_add(op: Op, to: Decomposer) -> None:
    w, *vectors = op.inputs
    columns = []
    for name in vectors:
        shape = to.tensor(name).shape
        single = len(shape) == 1
        columns.append(
            to.emit("reshape", name, shape=(*shape, 1)) if single else to.emit("transpose", name, perm=(1, 0))
        )
    to.emit("linear", *columns, w)


def _decompose_distance(op: Op, to: Decomposer) -> None:
    x, w = op.inputs
    *lead, size = to.tensor(x).shape
    shape = (*lead, *to.tensor(w).shape)
    beside = to.emit("expand", to.emit("reshape", x, shape=(*lead, 1, size)), shape=shape)
    sides = [beside, to.emit("expand", w, shape=shape)]
    if to.tensor(x).dtype is INT16:
        sides = [to.emit("cast", side, to="int32") for side in sides]
    apart = to.emit("abs", to.emit("sub", *sides))
    to.emit("sum", apart, axis=len(shape) - 1)


PLASTIC: dict[str, OpSpec] = {
    "matvec": OpSpec(
        "matvec",
        "plastic",
        "saturate(floor((W x (+ c)) · 2^-shift + 1/2)) over the last axis: exact sums of integers, rounded once",
        (2, 3),
        _infer_matvec,
        _evaluate_matvec,
        {"shift": SHIFT, "to": Attr(str, choices=("int16", "int32"))},
        cost=_cost(1, 0),
    ),
    "matvec_t": OpSpec(
        "matvec_t",
        "plastic",
        "y = Wᵀ x over the last axis; of integers saturate(floor(y · 2^-shift + 1/2))",
        (2, 2),
        _infer_matvec_t,
        _evaluate_matvec_t,
        {"shift": SHIFT, "to": Attr(str, required=False, choices=("int16", "int32"))},
        cost=_cost(1, 0),
        decompose=_decompose_matvec_t,
    ),
    "distance": OpSpec(
        "distance",
        "plastic",
        "Σ |x - w| over the last axis for each row w of the weights; of integers exact, in int32",
        (2, 2),
        _infer_distance,
        _evaluate_distance,
        cost=_cost(1, 0),
        decompose=_decompose_distance,
    ),
    "outer_add": OpSpec(
        "outer_add",
        "plastic",
        "W + Σ a bᵀ over the rows of a and b; of integers the sum · 2^-shift, whose running sum along a row of W is "
        "rounded half up: what is left of one element is carried to the next; change and W saturate",
        (3, 3),
        _infer_outer_add,
        _evaluate_outer_add,
        {"shift": SHIFT},
        cost=_cost(0, 1),
        decompose=_decompose_outer_add,
    ),
}
