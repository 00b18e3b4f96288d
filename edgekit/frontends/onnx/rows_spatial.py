"""Rows of convolution and pooling: the padding rules of ONNX, then the formulas that every front end shares."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgekit.frontends import formulas as f
from edgekit.frontends import spatial
from edgekit.frontends.emitter import Operand, Refuse
from edgekit.frontends.onnx.lowering import Lowering, Node, Row

Ints = tuple[int, ...]


def _ints(node: Node, name: str, rank: int, default: int) -> Ints:
    values = node.attr(name)
    return tuple(int(n) for n in values) if values else (default,) * rank


def _auto_pad(node: Node) -> str:
    kind = str(node.attr("auto_pad", "NOTSET") or "NOTSET")
    if kind not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise Refuse(f"has auto_pad {kind!r}", "use NOTSET with pads")
    return kind


def padding(node: Node, spatial_shape: Sequence[int], size: Ints, stride: Ints, dilation: Ints) -> tuple[Ints, Ints]:
    """(before, after) of each axis from `auto_pad` or `pads`."""
    rank, kind = len(size), _auto_pad(node)
    if kind == "NOTSET":
        pads = _ints(node, "pads", 2 * rank, 0)
        return pads[:rank], pads[rank:]
    if kind == "VALID":
        return (0,) * rank, (0,) * rank
    totals = [
        max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        for n, k, s, d in zip(spatial_shape, size, stride, dilation, strict=True)
    ]
    small, large = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
    return (small, large) if kind == "SAME_UPPER" else (large, small)


def _conv(lowering: Lowering, node: Node) -> Operand:
    lowering.floats_only(node)
    x, weight, bias = lowering.operand(node, 0), lowering.operand(node, 1), lowering.optional(node, 2)
    shape, size = lowering.shape(x), lowering.shape(weight)[2:]
    rank = len(size)
    stride, dilation = _ints(node, "strides", rank, 1), _ints(node, "dilations", rank, 1)
    before, after = padding(node, shape[2:], size, stride, dilation)
    return spatial.conv(
        lowering.e,
        x,
        weight,
        bias,
        stride=stride,
        before=before,
        after=after,
        dilation=dilation,
        groups=int(node.attr("group", 1)),
    )


def _conv_transpose(lowering: Lowering, node: Node) -> Operand:
    lowering.floats_only(node)
    x, weight, bias = lowering.operand(node, 0), lowering.operand(node, 1), lowering.optional(node, 2)
    shape, size = lowering.shape(x)[2:], lowering.shape(weight)[2:]
    rank = len(size)
    stride, dilation = _ints(node, "strides", rank, 1), _ints(node, "dilations", rank, 1)
    extra = _ints(node, "output_padding", rank, 0)
    full = [(n - 1) * s + (k - 1) * d + 1 for n, k, s, d in zip(shape, size, stride, dilation, strict=True)]
    kind, wanted = _auto_pad(node), node.attr("output_shape")
    if wanted is None and kind in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [n * s for n, s in zip(shape, stride, strict=True)]
    if wanted is None:
        pads = (0,) * (2 * rank) if kind == "VALID" else _ints(node, "pads", 2 * rank, 0)
        before, after = pads[:rank], tuple(p - o for p, o in zip(pads[rank:], extra, strict=True))
    else:
        totals = [n + o - int(w) for n, o, w in zip(full, extra, wanted, strict=True)]
        before = tuple(t // 2 if kind == "SAME_UPPER" else t - t // 2 for t in totals)
        after = tuple(t - b - o for t, b, o in zip(totals, before, extra, strict=True))
    return spatial.conv_transpose(
        lowering.e,
        x,
        weight,
        bias,
        stride=stride,
        before=before,
        after=after,
        dilation=dilation,
        groups=int(node.attr("group", 1)),
    )


def _ceiled(shape: Sequence[int], size: Ints, stride: Ints, dilation: Ints, *, before: Ints, after: Ints) -> Ints:
    """Padding after, enlarged so that the last, partial window counts; one that starts in it does not."""
    grown = []
    for n, k, s, low, high, d in zip(shape, size, stride, before, after, dilation, strict=True):
        span = (k - 1) * d + 1
        places = math.ceil((low + n + high - span) / s) + 1
        if (places - 1) * s >= n + low:
            places -= 1
        grown.append(max((places - 1) * s + span - n - low, high))
    return tuple(grown)


def _pool_geometry(lowering: Lowering, node: Node) -> tuple[Operand, Ints, Ints, Ints, Ints, Ints, Ints]:
    """x, size, stride, dilation, padding before and after, and the padding after with the last, partial window."""
    x = lowering.operand(node, 0)
    size = tuple(int(n) for n in node.attr("kernel_shape"))
    stride, dilation = _ints(node, "strides", len(size), 1), _ints(node, "dilations", len(size), 1)
    shape = lowering.shape(x)[2:]
    before, after = padding(node, shape, size, stride, dilation)
    grown = _ceiled(shape, size, stride, dilation, before=before, after=after) if node.attr("ceil_mode", 0) else after
    return x, size, stride, dilation, before, after, grown


def _max_pool(lowering: Lowering, node: Node) -> Operand:
    if node.wants(1):
        raise Refuse("gives the indices of the largest elements", "use the first result alone")
    x, size, stride, dilation, before, _, after = _pool_geometry(lowering, node)
    return spatial.max_pool(lowering.e, x, size=size, stride=stride, before=before, after=after, dilation=dilation)


def _average_pool(lowering: Lowering, node: Node) -> Operand:
    lowering.floats_only(node)
    x, size, stride, dilation, before, after, grown = _pool_geometry(lowering, node)
    counted = list(zip(before, after, strict=True)) if node.attr("count_include_pad", 0) else None
    return spatial.average_pool(
        lowering.e,
        x,
        size=size,
        stride=stride,
        before=before,
        after=grown,
        dilation=dilation,
        counted=counted,
    )


def _lp_pool(lowering: Lowering, node: Node) -> Operand:
    lowering.floats_only(node)
    x, size, stride, dilation, before, _, after = _pool_geometry(lowering, node)
    order, e = int(node.attr("p", 2)), lowering.e
    if order < 1:
        raise Refuse(f"takes the {order}-norm", "use p=1 or more")
    powers = f.power(e, f.apply(e, "abs", x), float(order))
    total = spatial.sum_pool(e, powers, size=size, stride=stride, before=before, after=after, dilation=dilation)
    if order <= 2:
        return total if order == 1 else e.emit("sqrt", total)
    return e.emit("exp", e.emit("mul", e.emit("log", total), 1 / order))


def _global_average(lowering: Lowering, node: Node) -> Operand:
    lowering.floats_only(node)
    x = lowering.operand(node, 0)
    return f.mean(lowering.e, x, range(2, len(lowering.shape(x))), keepdims=True)


def _global_max(lowering: Lowering, node: Node) -> Operand:
    x = lowering.operand(node, 0)
    return f.reduce(lowering.e, "amax", x, range(2, len(lowering.shape(x))), keepdims=True)


ROWS: dict[str, Row] = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_max,
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
}
