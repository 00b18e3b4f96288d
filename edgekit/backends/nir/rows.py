"""Which NIR nodes say what each op of the IR does."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from edgekit.backends.nir.build import Builder, Row, Source, Unsayable, place
from edgekit.backends.nir.forms import STRICT, Real
from edgekit.backends.nir.neurons import AT
from edgekit.ir import SPIKE, Op


def _add(b: Builder, op: Op) -> tuple[Source, ...]:
    for at, other in ((0, 1), (1, 0)):
        offset = b.forms.data(op.inputs[at])
        if offset is not None:
            b.refuse_broadcast(op, op.inputs[other])
            return b.plus(op, b.sources(op.inputs[other]), offset)
    b.refuse_broadcast(op, *op.inputs)
    return (*b.sources(op.inputs[0]), *b.sources(op.inputs[1]))


def _sub(b: Builder, op: Op) -> tuple[Source, ...]:
    x, y = op.inputs
    less, from_ = b.forms.data(y), b.forms.data(x)
    if less is not None:
        b.refuse_broadcast(op, x)
        return b.plus(op, b.sources(x), -less)
    b.refuse_broadcast(op, y)
    negative = b.scale(f"{op.source or op.kind}_less", b.sources(y), np.asarray(-1.0), b.shape(y))
    if from_ is not None:
        return b.plus(op, (negative,), from_)
    b.refuse_broadcast(op, x)
    return (*b.sources(x), negative)


def _mul(b: Builder, op: Op) -> tuple[Source, ...]:
    for at, other in ((0, 1), (1, 0)):
        factor = b.forms.data(op.inputs[at])
        if factor is not None:
            return _scaled(b, op, op.inputs[other], factor)
    raise Unsayable(f"{place(op)}: multiplies two values, which NIR cannot say")


def _div(b: Builder, op: Op) -> tuple[Source, ...]:
    divisor = b.forms.data(op.inputs[1])
    if divisor is None or not np.all(divisor):
        raise Unsayable(f"{place(op)}: divides by a value, which NIR cannot say")
    return _scaled(b, op, op.inputs[0], 1.0 / divisor)


def _neg(b: Builder, op: Op) -> tuple[Source, ...]:
    return _scaled(b, op, op.inputs[0], np.asarray(-1.0))


def _scaled(b: Builder, op: Op, value: str, factor: Real) -> tuple[Source, ...]:
    b.refuse_broadcast(op, value)
    made = b.forms.made.get(value)
    if made is not None and made.kind == "sum" and np.all(factor == factor.flat[0]):
        pool = _pool(b, made, average=float(factor.flat[0]))
        if pool is not None:
            return pool
    return (b.scale(op.source or op.kind, b.sources(value), factor, b.shape(value)),)


def _sum(b: Builder, op: Op) -> tuple[Source, ...]:
    pool = _pool(b, op, average=None)
    if pool is None:
        raise Unsayable(f"{place(op)}: NIR has no node for it")
    return pool


def _pool(b: Builder, op: Op, average: float | None) -> tuple[Source, ...] | None:
    """The pool that a sum of windows is: a sum, or an average where `average` is one over the size of a window."""
    windows = b.forms.made.get(op.inputs[0])
    if windows is not None and windows.kind == "cast":
        windows = b.forms.made.get(windows.inputs[0])
    if windows is None or windows.kind != "windows" or op.attrs["axis"] != len(b.shape(op.inputs[0])) - 1:
        return None
    size, stride, dilation = (windows.attrs[n] for n in ("size", "stride", "dilation"))
    value, before, after = _unpadded(b, windows.inputs[0], 2)
    if len(size) != 2 or len(b.shape(value)) != 3 or set(dilation) != {1} or before != after:
        return None
    if average is not None and abs(average * prod(size) - 1) > 1e-6:
        return None
    fields = {"kernel_size": np.asarray(size), "stride": np.asarray(stride), "padding": np.asarray(before)}
    kind = "SumPool2d" if average is None else "AvgPool2d"
    return (b.add(op.source, kind, b.shape(op.outputs[0]), b.sources(value), fields),)


def _unpadded(b: Builder, value: str, axes: int) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """The value inside a padding with zeros of its last axes, and the widths of that."""
    real = b.forms.made.get(value)
    if real is not None and real.kind == "cast":
        return _unpadded(b, real.inputs[0], axes)
    op = real
    if op is None or op.kind != "pad" or op.attrs.get("value", 0.0) != 0:
        return value, (0,) * axes, (0,) * axes
    lead = len(op.attrs["before"]) - axes
    if any(op.attrs["before"][:lead]) or any(op.attrs["after"][:lead]):
        return value, (0,) * axes, (0,) * axes
    return op.inputs[0], tuple(op.attrs["before"][lead:]), tuple(op.attrs["after"][lead:])


def _conv(b: Builder, op: Op) -> tuple[Source, ...]:
    weight = b.constant(op, 1)
    axes = weight.ndim - 2
    if axes > 2:
        raise Unsayable(f"{place(op)}: has {axes} spatial axes; NIR has Conv1d and Conv2d")
    value, before, after = _unpadded(b, op.inputs[0], axes)
    stride, dilation = op.attrs["stride"], op.attrs["dilation"]
    reach = [(k - 1) * d for k, d in zip(weight.shape[2:], dilation, strict=True)]
    padding: Any = before
    if before != after:
        if list(before) != [r // 2 for r in reach] or list(after) != [r - r // 2 for r in reach] or set(stride) != {1}:
            raise Unsayable(f"{place(op)}: pads its sides by {before} and {after}, which NIR cannot say")
        padding = "same"
    bias = b.constant(op, 2) if len(op.inputs) == 3 else np.zeros(weight.shape[0])
    spatial = b.shape(value)[1:]
    fields = {"stride": stride, "padding": padding, "dilation": dilation}
    if axes == 1:
        fields = {n: v if isinstance(v, str) else v[0] for n, v in fields.items()}
    fields |= {"groups": op.attrs.get("groups", 1), "bias": bias, "weight": weight}
    fields["input_shape"] = spatial[0] if axes == 1 else tuple(spatial)
    return (b.add(op.source, f"Conv{axes}d", b.shape(op.outputs[0]), b.sources(value), fields),)


def _cast(b: Builder, op: Op) -> tuple[Source, ...]:
    if b.graph.tensor(op.inputs[0]).dtype is not SPIKE and op.attrs["to"] == "spike":
        inner = b.forms.made.get(op.inputs[0])
        if inner is None or inner.kind != "cast":
            raise Unsayable(f"{place(op)}: turns numbers into spikes, which NIR cannot say")
    return b.sources(op.inputs[0])


def _where(b: Builder, op: Op) -> tuple[Source, ...]:
    """One number where a spike is, another where none is: the spike scaled, and moved."""
    on, off = (b.forms.data(name) for name in op.inputs[1:])
    if on is None or off is None:
        raise Unsayable(f"{place(op)}: chooses between values, which NIR cannot say")
    b.refuse_broadcast(op, op.inputs[0])
    scaled = b.scale(op.source or op.kind, b.sources(op.inputs[0]), on - off, b.shape(op.outputs[0]))
    return b.plus(op, (scaled,), off)


def _compare(b: Builder, op: Op) -> tuple[Source, ...]:
    x, y = op.inputs if op.kind in ("gt", "ge") else op.inputs[::-1]
    threshold = b.forms.data(y)
    shape = b.shape(op.outputs[0])
    if threshold is None or b.shape(x) != shape:
        raise Unsayable(f"{place(op)}: compares with no constant from below, which NIR cannot say")
    if op.kind not in STRICT:
        b.net.inexact.append(f"{place(op)}: {AT}")
    full = np.broadcast_to(threshold, shape).copy()
    return (b.add(op.source, "Threshold", shape, b.sources(x), {"threshold": full}),)


def _reshape(b: Builder, op: Op) -> tuple[Source, ...]:
    source, target = b.shape(op.inputs[0]), tuple(op.attrs["shape"])
    if source == target:
        return b.sources(op.inputs[0])
    for start in range(len(source)):
        for end in range(start + 1, len(source)):
            if (*source[:start], prod(source[start : end + 1]), *source[end + 1 :]) == target:
                fields = {"input_type": np.asarray(source), "start_dim": start, "end_dim": end}
                return (b.add(op.source, "Flatten", target, b.sources(op.inputs[0]), fields),)
    raise Unsayable(f"{place(op)}: from {source} to {target}; NIR only flattens")


ROWS: Mapping[str, Row] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "neg": _neg,
    "sum": _sum,
    "conv": _conv,
    "cast": _cast,
    "where": _where,
    "gt": _compare,
    "ge": _compare,
    "lt": _compare,
    "le": _compare,
    "reshape": _reshape,
}
