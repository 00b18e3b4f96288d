"""Rows of reductions, normalisation and matrix products."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from edgekit.frontends import formulas as f
from edgekit.frontends.emitter import Emitter, Known, Live, Operand, Refuse
from edgekit.frontends.onnx.lowering import CONSTANT_REMEDY, Lowering, Node, Row, within

Reduction = Callable[[Emitter, Live, tuple[int, ...], bool], Live]
MAX_FACTORS = 256
"""Longest product that is written out factor by factor."""


def reduction(make: Reduction, *, exact: bool = False) -> Row:
    """A reduction over the axes of an attribute (to opset 17) or of a constant input."""

    def row(lowering: Lowering, node: Node) -> Operand:
        if not exact:
            lowering.floats_only(node)
        e, x = lowering.e, lowering.operand(node, 0)
        given = node.attr("axes") or lowering.ints(node, 1, "axes")
        if not given and node.attr("noop_with_empty_axes", 0):
            return _over_nothing(lowering, node, x)
        rank = len(lowering.shape(x))
        axes = tuple(sorted({within(int(a), rank) for a in given or range(rank)}))
        keep = bool(node.attr("keepdims", 1))
        if 0 in (lowering.shape(x)[a] for a in axes):
            raise Refuse("reduces over no elements", "leave empty values out")
        value = e.live(e.real(x))
        return make(e, value, axes, keep) if axes else _over_nothing(lowering, node, value)

    return row


def _over_nothing(lowering: Lowering, node: Node, x: Operand) -> Operand:
    """A reduction over no axis, or of a scalar: only what is done to each element is left."""
    e = lowering.e
    if node.op in ("ReduceL1", "ReduceL2"):
        return f.apply(e, "abs", x)
    if node.op == "ReduceSumSquare":
        return f.apply(e, "mul", x, x)
    return f.apply(e, "log", x) if node.op == "ReduceLogSum" else x


def _sum(e: Emitter, x: Live, axes: tuple[int, ...], keep: bool) -> Live:
    return f.reduce(e, "sum", x, axes, keepdims=keep)


def _max(e: Emitter, x: Live, axes: tuple[int, ...], keep: bool) -> Live:
    return f.reduce(e, "amax", x, axes, keepdims=keep)


def _min(e: Emitter, x: Live, axes: tuple[int, ...], keep: bool) -> Live:
    return e.emit("neg", _max(e, e.emit("neg", x), axes, keep))


def _prod(e: Emitter, x: Live, axes: tuple[int, ...], keep: bool) -> Live:
    for axis in sorted(axes, reverse=True):
        if (size := e.shape(x)[axis]) > MAX_FACTORS:
            raise Refuse(f"multiplies {size} factors", f"at most {MAX_FACTORS}; sum logarithms")
        x = f.product(e, x, axis, keepdims=keep)
    return x


def _squares(e: Emitter, x: Live, axes: tuple[int, ...], keep: bool) -> Live:
    return _sum(e, e.emit("mul", x, x), axes, keep)


_REDUCTIONS: dict[str, Reduction] = {
    "ReduceSum": _sum,
    "ReduceProd": _prod,
    "ReduceMean": lambda e, x, axes, keep: f.mean(e, x, axes, keepdims=keep),
    "ReduceL1": lambda e, x, axes, keep: _sum(e, e.emit("abs", x), axes, keep),
    "ReduceL2": lambda e, x, axes, keep: e.emit("sqrt", _squares(e, x, axes, keep)),
    "ReduceSumSquare": _squares,
    "ReduceLogSum": lambda e, x, axes, keep: e.emit("log", _sum(e, x, axes, keep)),
    "ReduceLogSumExp": lambda e, x, axes, keep: f.log_sum_exp(e, x, axes, keepdims=keep),
}


def _cumsum(lowering: Lowering, node: Node) -> Operand:
    lowering.floats_only(node)
    x, axis = lowering.e.live(lowering.e.real(lowering.operand(node, 0))), lowering.ints(node, 1, "axis") or (0,)
    return lowering.e.emit(
        "cumsum",
        x,
        axis=within(axis[0], len(lowering.shape(x))),
        reverse=bool(node.attr("reverse", 0)),
        exclusive=bool(node.attr("exclusive", 0)),
    )


def _softmax(*, log: bool) -> Row:
    return lambda lowering, node: f.softmax(lowering.e, lowering.operand(node, 0), lowering.axis(node, -1), log=log)


# --- normalisation ---------------------------------------------------------------------------------------------------


def _layer_norm(lowering: Lowering, node: Node) -> list[Operand]:
    e, x = lowering.e, lowering.operand(node, 0)
    shape, axis, eps = lowering.shape(x), lowering.axis(node, -1), float(node.attr("epsilon", 1e-5))
    axes = tuple(range(axis, len(shape)))
    weight, bias = lowering.optional(node, 1), lowering.optional(node, 2)
    if not (node.wants(1) or node.wants(2)):
        return [f.layer_norm(e, x, len(axes), weight=weight, bias=bias, eps=eps)]
    mean = f.mean(e, x, axes, keepdims=True)
    centred = f.apply(e, "sub", x, mean)
    variance = f.mean(e, e.emit("mul", centred, centred), axes, keepdims=True)
    factor = e.emit("reciprocal", e.emit("sqrt", e.emit("add", variance, eps)))
    return [f.affine(e, e.emit("mul", centred, factor), weight, bias), mean, factor]


def _group_norm(lowering: Lowering, node: Node) -> Operand:
    """To opset 20 scale and bias are those of a group; here they become those of its channels."""
    e, x, groups = lowering.e, lowering.operand(node, 0), int(node.attr("num_groups"))
    channels = lowering.shape(x)[1]

    def per_channel(at: int) -> Operand:
        value = lowering.operand(node, at)
        column = e.expand(e.reshape(value, (groups, 1)), (groups, channels // groups))
        return e.reshape(column, (channels,))

    return f.group_norm(e, x, groups, weight=per_channel(1), bias=per_channel(2), eps=float(node.attr("epsilon", 1e-5)))


def _instance_norm(lowering: Lowering, node: Node) -> Operand:
    x, weight, bias = lowering.operands(node)
    channels = lowering.shape(x)[1]
    return f.group_norm(lowering.e, x, channels, weight=weight, bias=bias, eps=float(node.attr("epsilon", 1e-5)))


def _batch_norm(lowering: Lowering, node: Node) -> Operand:
    if node.attr("training_mode", 0):
        raise Refuse("is in training mode", "export in eval mode (training_mode=0)")
    x, *factors = lowering.operands(node)
    return f.batch_norm(lowering.e, x, factors, float(node.attr("epsilon", 1e-5)), node.name or "batch_norm")


def _lp_norm(lowering: Lowering, node: Node) -> Operand:
    e, x, axis = lowering.e, lowering.e.live(lowering.e.real(lowering.operand(node, 0))), lowering.axis(node, -1)
    order = int(node.attr("p", 2))
    size = _sum(e, e.emit("abs", x), (axis,), True) if order == 1 else e.emit("sqrt", _squares(e, x, (axis,), True))
    # a vector of zeros stays zero
    return e.emit("where", e.emit("eq", size, 0.0), 0.0, e.emit("div", x, size))


def _dropout(lowering: Lowering, node: Node) -> list[Operand]:
    training, x = lowering.array(node, 2, "training_mode"), lowering.operand(node, 0)
    ratio = lowering.array(node, 1, "ratio")
    if training is not None and bool(training.reshape(())) and (ratio is None or float(ratio.reshape(())) != 0):
        raise Refuse("drops at random (training_mode)", "export in eval mode")
    return [x, Known(np.ones(lowering.shape(x), np.bool_), "const.mask")]


# --- products --------------------------------------------------------------------------------------------------------


def _matmul(lowering: Lowering, node: Node) -> Operand:
    lowering.floats_only(node)
    return f.matmul(lowering.e, lowering.operand(node, 0), lowering.operand(node, 1))


def _gemm(lowering: Lowering, node: Node) -> Operand:
    """alpha · A' B' + beta · C; with constant B and C the factors are folded into them in float64."""
    lowering.floats_only(node)
    e, a, b, c = lowering.e, lowering.operand(node, 0), lowering.operand(node, 1), lowering.optional(node, 2)
    a = e.transpose(a, (1, 0)) if node.attr("transA", 0) else a
    weight = b if node.attr("transB", 0) else e.transpose(b, (1, 0))
    alpha, beta = float(node.attr("alpha", 1.0)), float(node.attr("beta", 1.0))
    rows = (lowering.shape(a)[0], lowering.shape(weight)[0])
    bias = None if c is None or beta == 0 else _scaled(e, c, beta)
    if bias is not None and len(lowering.shape(bias)) > 2:
        raise Refuse(f"adds a value of shape {lowering.shape(bias)}", "export it again")
    if not isinstance(weight, Known) and alpha != 1:
        y = f.apply(e, "mul", f.linear(e, a, weight), alpha)
        return y if bias is None else f.apply(e, "add", y, bias)
    if bias is not None and not isinstance(bias, Known) and lowering.shape(bias) == rows:
        return e.emit("linear", e.live(e.real(a)), e.real(_scaled(e, weight, alpha)), e.live(e.real(bias)))
    return f.linear(e, a, _scaled(e, weight, alpha), bias)


def _scaled(e: Emitter, value: Operand, factor: float) -> Operand:
    if factor == 1:
        return value
    known = e.known(value)
    if known is not None:
        return Known((known.array.astype(np.float64) * factor).astype(np.float32), known.hint)
    return f.apply(e, "mul", value, factor)


def _einsum(lowering: Lowering, node: Node) -> Operand:
    """Sums of products by the letters of their axes, for one or two operands without repeated or dotted axes."""
    lowering.floats_only(node)
    e, values = lowering.e, lowering.operands(node)
    equation = str(node.attr("equation")).replace(" ", "")
    left, arrow, out = equation.partition("->")
    terms = left.split(",")
    if not arrow:
        letters = "".join(terms)
        out = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    repeated = any(len(set(t)) != len(t) for t in (*terms, out))
    if len(values) > 2 or "." in equation or repeated or len(terms) != len(values):
        raise Refuse(f"computes {equation!r}", "write it with MatMul, Transpose and ReduceSum")
    if len(values) == 1:
        summed = tuple(at for at, c in enumerate(terms[0]) if c not in out)
        kept = [c for c in terms[0] if c in out]
        y = f.reduce(e, "sum", values[0], summed, keepdims=False)
        return e.transpose(y, [kept.index(c) for c in out])
    return _einsum_pair(lowering, terms[0], terms[1], out, values)


def _einsum_pair(lowering: Lowering, a: str, b: str, out: str, values: Sequence[Operand]) -> Operand:
    """As a stack of matrix products: letters of both sides and of the result first, the summed ones inside."""
    e = lowering.e
    lengths = {c: n for t, v in zip((a, b), values, strict=True) for c, n in zip(t, lowering.shape(v), strict=True)}
    stack = [c for c in a if c in b and c in out]
    inner = [c for c in a if c in b and c not in out]
    rows, columns = ([c for c in t if c not in other and c in out] for t, other in ((a, b), (b, a)))
    alone = [
        f.reduce(e, "sum", v, [at for at, c in enumerate(t) if c not in other and c not in out], keepdims=False)
        for t, other, v in ((a, b, values[0]), (b, a, values[1]))
    ]
    kept = [[c for c in t if c in other or c in out] for t, other in ((a, b), (b, a))]

    def size(letters: Sequence[str]) -> int:
        return math.prod(lengths[c] for c in letters)

    left = e.transpose(
        alone[0] if len(kept[0]) < len(a) else values[0], [kept[0].index(c) for c in (*stack, *rows, *inner)]
    )
    right = e.transpose(
        alone[1] if len(kept[1]) < len(b) else values[1], [kept[1].index(c) for c in (*stack, *inner, *columns)]
    )
    left = e.reshape(left, (*(lengths[c] for c in stack), size(rows), size(inner)))
    right = e.reshape(right, (*(lengths[c] for c in stack), size(inner), size(columns)))
    order = [*stack, *rows, *columns]
    y = e.reshape(f.matmul(e, left, right), [lengths[c] for c in order])
    return e.transpose(y, [order.index(c) for c in out])


def _only_constant(lowering: Lowering, node: Node) -> Operand:
    """Shape arithmetic that comes here was not folded: something in it changes at run time."""
    live = [n for n in node.inputs if n and isinstance(lowering.values[n], Live)]
    raise Refuse(f"makes a shape of values that change at run time ({', '.join(live)})", CONSTANT_REMEDY)


ROWS: dict[str, Row] = {
    **{op: reduction(make) for op, make in _REDUCTIONS.items()},
    "ReduceMax": reduction(_max, exact=True),
    "ReduceMin": reduction(_min, exact=True),
    "CumSum": _cumsum,
    "Softmax": _softmax(log=False),
    "LogSoftmax": _softmax(log=True),
    "LayerNormalization": _layer_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "BatchNormalization": _batch_norm,
    "LpNormalization": _lp_norm,
    "Dropout": _dropout,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
    "Constant": _only_constant,
    "ConstantOfShape": _only_constant,
    "Range": _only_constant,
}
