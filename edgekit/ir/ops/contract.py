"""Ops that sum over an axis: linear, the shared per-channel memory update, reductions, and running sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgekit.ir.dtypes import DTYPES, FLOAT32, INT4, INT8, INT16, INT32, SPIKE, DType
from edgekit.ir.graph import Op, Tensor
from edgekit.ir.ops.spec import Array, Attr, Attrs, Cost, Decomposer, OpSpec, Typed, axis_of, batched, broadcast, need

FORMS = ("auto", "dense", "event", "sparse")
SPARSE_OUTPUTS = 2**16  # the sparse form numbers outputs in 16 bits
WHOLE = (INT8, INT16, INT32)
# What products are summed in. An integer sum is exact, modulo 2^bits; `passes/ranges` proves that nothing wraps.
ACCUMULATE = Attr(str, "float32", required=False, choices=("float32", "int16", "int32"))


def accumulator(attrs: Attrs) -> DType:
    """The dtype in which a contraction sums, and of its result."""
    return DTYPES[attrs.get("accumulate", "float32")]


def _integer_weights(kind: str, tensor: Tensor) -> None:
    need(kind, len(tensor.shape) == 2, f"weights {tensor.name} must be [out, in], got {tensor.shape}")
    whole = tensor.dtype in (INT4, INT8, INT16)
    need(kind, whole and tensor.is_const, f"weights {tensor.name} must be constant int4, int8 or int16 to be summed so")


def _weights(kind: str, tensor: Tensor) -> None:
    need(kind, len(tensor.shape) == 2, f"weights {tensor.name} must be [out, in], got {tensor.shape}")
    real_weights(kind, tensor)


def real_weights(kind: str, tensor: Tensor) -> None:
    """GraphError unless weights are float32, or constant int8 with scales per tensor or per output (axis 0)."""
    if tensor.dtype is INT8:
        quant = tensor.quant
        need(
            kind, quant is not None and tensor.is_const, f"int8 weights {tensor.name} must be constant and have scales"
        )
        ok = quant is not None and quant.axis in (None, 0) and not quant.zero_point.any()
        need(kind, ok, f"weights {tensor.name} must be quantised symmetrically, per tensor or per output channel")
        fits = quant is not None and (quant.axis is None or quant.scale.size == tensor.shape[0])
        need(kind, fits, f"weights {tensor.name} need one scale per output channel")
    else:
        need(kind, tensor.dtype is FLOAT32, f"weights {tensor.name} must be float32 or int8, got {tensor.dtype}")


def _infer_linear(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
    x, w = inputs[0], inputs[1]
    total = accumulator(attrs)
    _operands("linear", x, w, total)
    need("linear", len(x.shape) >= 1, "input has no axis to sum over")
    need("linear", x.shape[-1] == w.shape[1], f"input {x.shape} does not fit weights {w.shape}")
    form = attrs.get("form", "auto")
    need("linear", form != "event" or x.dtype is SPIKE, "the event-driven form needs a spike input")
    fits = w.is_const and w.shape[0] <= SPARSE_OUTPUTS
    need("linear", form != "sparse" or fits, f"the sparse form needs constant weights, {SPARSE_OUTPUTS} rows at most")
    shape = (*x.shape[:-1], w.shape[0])
    if len(inputs) == 3:
        c = inputs[2]
        need("linear", c.dtype is total, f"addend must be {total}, got {c.dtype}")
        need("linear", broadcast("linear", [c.shape, shape]) == shape, f"addend {c.shape} does not fit output {shape}")
        need("linear", c.is_const or c.shape == shape, f"addend {c.shape} must have the output's shape {shape}")
    return [(shape, total)]


def _operands(kind: str, x: Tensor, w: Tensor, total: DType) -> None:
    known = (FLOAT32, SPIKE) if total is FLOAT32 else (SPIKE, INT8, INT16)
    need(kind, x.dtype in known, f"sums in {total}: wants {' or '.join(map(str, known))} input, got {x.dtype}")
    if total is FLOAT32:
        _weights(kind, w)
    else:
        _integer_weights(kind, w)


def wrap(wide: Array, dtype: DType) -> Array:
    """int64 values modulo 2^bits of an integer dtype."""
    return wide.astype(dtype.numpy)


def integer_matvec(x: Array, w: Array) -> Array:
    """The exact sums x Wᵀ over the last axis of x[N, …, in] as int64; constant w[1, out, in]."""
    flat = x.reshape(-1, x.shape[-1])
    # Floats are exact below 2^24 and 2^53, and a matrix product of theirs is many times faster than one of integers.
    largest = int(np.abs(w[0].astype(np.int64)).sum(axis=1).max(initial=0)) * (1 if x.dtype == np.bool_ else 2**15)
    real = np.float32 if largest < 2**24 else np.float64
    y = flat.astype(real) @ w[0].astype(real).T if largest < 2**53 else flat.astype(np.int64) @ w[0].astype(np.int64).T
    return np.asarray(y.astype(np.int64).reshape(*x.shape[:-1], w.shape[1]))


def matvec(x: Array, w: Array, tensor: Tensor) -> Array:
    """y = x Wᵀ over the last axis of x[N, …, in]; int8 weights are scaled once per output; w[N or 1, out, in]."""
    real = np.result_type(np.float32, *(a.dtype for a in (x, w) if a.dtype.kind == "f"))
    x, wide = x.astype(real, copy=False), w.astype(real, copy=False)
    flat = x.reshape(x.shape[0], -1, x.shape[-1])
    y = flat.reshape(-1, x.shape[-1]) @ wide[0].T if wide.shape[0] == 1 else flat @ wide.swapaxes(1, 2)
    y = y.reshape(max(x.shape[0], w.shape[0]), *x.shape[1:-1], w.shape[1])
    if tensor.quant is not None:
        y = y * tensor.quant.scale
    return np.asarray(y)


def _evaluate_linear(inputs: Sequence[Array], attrs: Attrs, tensors: Sequence[Tensor]) -> Sequence[Array]:
    total = accumulator(attrs)
    with np.errstate(all="ignore"):
        y = matvec(inputs[0], inputs[1], tensors[1]) if total is FLOAT32 else integer_matvec(inputs[0], inputs[1])
        if len(inputs) == 3:
            y = y + batched(inputs[2], tensors[2].shape, y.ndim - 1)
    return [y if total is FLOAT32 else wrap(y, total)]


def _cost_linear(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attrs: Attrs) -> Cost:
    x, w = inputs[0], inputs[1]
    weights, stored = w.size, w.stored_bytes
    if attrs.get("form") == "sparse" and w.data is not None:
        weights = int(np.count_nonzero(w.data))
        stored = weights * (w.dtype.bits // 8 + 2) + 4 * (w.shape[1] + 1)  # values, 16-bit rows, column starts
    work = (x.size // max(x.shape[-1], 1)) * weights
    spike = x.dtype is SPIKE
    return Cost(0 if spike else work, work if spike else 0, stored + x.stored_bytes)


def _infer_memory(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
    m, a, u, b = inputs
    for signal, weights in ((m, a), (u, b)):
        _operands("memory_update", signal, weights, accumulator(attrs))
        need("memory_update", weights.is_const, f"{weights.name} must be constant")
    need("memory_update", len(m.shape) == 2 and len(u.shape) == 2, "wants memory [M, d] and input [M, k]")
    order = m.shape[1]
    need("memory_update", a.shape == (order, order), f"A must be [{order}, {order}], got {a.shape}")
    need("memory_update", b.shape == (order, u.shape[1]), f"B must be [{order}, {u.shape[1]}], got {b.shape}")
    need("memory_update", m.shape[0] == u.shape[0], f"{m.shape[0]} memory channels but {u.shape[0]} inputs")
    return [(m.shape, accumulator(attrs))]


def _evaluate_memory(inputs: Sequence[Array], attrs: Attrs, tensors: Sequence[Tensor]) -> Sequence[Array]:
    m, a, u, b = inputs
    total = accumulator(attrs)
    if total is not FLOAT32:
        return [wrap(integer_matvec(m, a) + integer_matvec(u, b), total)]
    with np.errstate(all="ignore"):
        return [matvec(m, a, tensors[1]) + matvec(u, b, tensors[3])]


def _cost_memory(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attrs: Attrs) -> Cost:
    m, a, u, b = inputs
    return _cost_linear([m, a], outputs, attrs) + _cost_linear([u, b], outputs, attrs)


def _decompose_memory(op: Op, to: Decomposer) -> None:
    m, a, u, b = op.inputs
    driven = to.emit("linear", u, b, **op.attrs)
    to.emit("linear", m, a, driven, **op.attrs)


def _infer_reduce(kind: str) -> Callable[[Sequence[Tensor], Attrs], Sequence[Typed]]:
    def infer(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
        x = inputs[0]
        known = x.dtype in (FLOAT32, *WHOLE) or (kind == "amax" and x.dtype is SPIKE)
        need(kind, known, f"wants float32 or integers, got {x.dtype}")
        axis = axis_of(kind, attrs, len(x.shape))
        need(kind, x.shape[axis] > 0, "cannot reduce an empty axis")
        kept = (1,) if attrs.get("keepdims", False) else ()
        dtype = INT32 if kind == "sum" and x.dtype in WHOLE else x.dtype
        return [((*x.shape[:axis], *kept, *x.shape[axis + 1 :]), dtype)]

    return infer


def _cost_sums(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attrs: Attrs) -> Cost:
    return Cost(acs=inputs[0].size, bytes=inputs[0].stored_bytes)


def _reduce(kind: str, function: Callable[..., Array], summary: str) -> OpSpec:
    def evaluate(inputs: Sequence[Array], attrs: Attrs, tensors: Sequence[Tensor]) -> Sequence[Array]:
        with np.errstate(all="ignore"):
            y = function(inputs[0], axis=attrs["axis"] + 1, keepdims=attrs.get("keepdims", False))
        whole = kind == "sum" and tensors[0].dtype in WHOLE  # numpy sums them in int64
        return [wrap(y, INT32) if whole else np.asarray(y)]

    attrs = {"axis": Attr(int), "keepdims": Attr(bool, False, required=False)}
    return OpSpec(kind, "contract", summary, (1, 1), _infer_reduce(kind), evaluate, attrs, cost=_cost_sums)


def _infer_cumsum(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
    x = inputs[0]
    need("cumsum", x.dtype in (FLOAT32, INT32), f"wants float32 or int32, got {x.dtype}")
    axis_of("cumsum", attrs, len(x.shape))
    return [(x.shape, x.dtype)]


def _evaluate_cumsum(inputs: Sequence[Array], attrs: Attrs, tensors: Sequence[Tensor]) -> Sequence[Array]:
    x, axis = inputs[0], attrs["axis"] + 1
    reverse, exclusive = attrs.get("reverse", False), attrs.get("exclusive", False)
    x = np.flip(x, axis) if reverse else x
    if exclusive:  # shifted by one, so that no term is added to be subtracted again
        first = np.zeros_like(x.take([0], axis))
        x = np.concatenate([first, x.take(range(x.shape[axis] - 1), axis)], axis)
    with np.errstate(all="ignore"):
        y = np.cumsum(x, axis, dtype=x.dtype)
    return [np.ascontiguousarray(np.flip(y, axis)) if reverse else y]


CONTRACT: dict[str, OpSpec] = {
    "linear": OpSpec(
        "linear",
        "contract",
        "y = W x (+ c) over the last axis; a spike input adds the columns of W that fired, a sparse W its non-zeros",
        (2, 3),
        _infer_linear,
        _evaluate_linear,
        {"form": Attr(str, "auto", required=False, choices=FORMS), "accumulate": ACCUMULATE},
        cost=_cost_linear,
    ),
    "memory_update": OpSpec(
        "memory_update",
        "contract",
        "y[i] = A m[i] + B u[i] for every memory channel i, A and B shared",
        (4, 4),
        _infer_memory,
        _evaluate_memory,
        {"accumulate": ACCUMULATE},
        cost=_cost_memory,
        decompose=_decompose_memory,
    ),
    "sum": _reduce("sum", np.sum, "sum over one axis; of integers in int32"),
    "amax": _reduce("amax", np.max, "largest over one axis; NaN if any is NaN; of spikes, whether any fired"),
    "cumsum": OpSpec(
        "cumsum",
        "contract",
        "running sums along one axis, from its end if `reverse`, without the element itself if `exclusive`",
        (1, 1),
        _infer_cumsum,
        _evaluate_cumsum,
        {
            "axis": Attr(int),
            "reverse": Attr(bool, False, required=False),
            "exclusive": Attr(bool, False, required=False),
        },
        cost=_cost_sums,
    ),
}
