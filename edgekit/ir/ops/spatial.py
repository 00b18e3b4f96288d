"""Ops over the trailing, spatial axes of a value: convolution, padding, and sliding windows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

import numpy as np

from edgekit.ir.dtypes import FLOAT32, SPIKE
from edgekit.ir.graph import Op, Shape, Tensor
from edgekit.ir.ops.contract import real_weights
from edgekit.ir.ops.spec import Array, Attr, Attrs, Cost, Decomposer, OpSpec, Typed, need

LARGEST = float(np.finfo(np.float32).max)
SPATIAL_RANKS = (1, 2, 3)
Ints = Sequence[int]


def placements(kind: str, shape: Shape, size: Ints, stride: Ints, dilation: Ints) -> Shape:
    """How many windows fit along each axis: (S - (K - 1) · dilation - 1) // stride + 1; GraphError where none does."""
    fits = len(size) == len(stride) == len(dilation) == len(shape)
    need(kind, fits, f"wants one size, stride and dilation for each of the axes {shape}")
    positive = all(n >= 1 for n in (*size, *stride, *dilation))
    need(kind, positive, f"sizes {tuple(size)}, strides {tuple(stride)} and dilations {tuple(dilation)} start at 1")
    spans = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
    need(kind, all(s >= n for s, n in zip(shape, spans, strict=True)), f"windows over {spans} do not fit into {shape}")
    return tuple((s - n) // step + 1 for s, n, step in zip(shape, spans, stride, strict=True))


def _taps(size: Ints, stride: Ints, dilation: Ints, out: Shape) -> list[tuple[slice, ...]]:
    """For each element of a window, row-major, the slices of the spatial axes that it reads over all windows."""
    return [
        tuple(slice(k * d, k * d + (o - 1) * s + 1, s) for k, s, d, o in zip(at, stride, dilation, out, strict=True))
        for at in product(*map(range, size))
    ]


def _infer_conv(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
    x, w, groups = inputs[0], inputs[1], attrs.get("groups", 1)
    need("conv", x.dtype in (FLOAT32, SPIKE), f"wants float32 or spike input, got {x.dtype}")
    rank = len(x.shape) - 1
    need("conv", rank in SPATIAL_RANKS, f"input {x.shape} is not [channels, 1 to 3 spatial axes]")
    need("conv", len(w.shape) == rank + 2, f"weights {w.name} {w.shape} must be [out, in/groups, {rank} axes]")
    real_weights("conv", w)
    need("conv", w.is_const, f"weights {w.name} must be constant")
    whole = groups >= 1 and x.shape[0] % groups == 0 and w.shape[0] % groups == 0
    need("conv", whole, f"{groups} groups do not divide {x.shape[0]} channels in and {w.shape[0]} out")
    need("conv", w.shape[1] == x.shape[0] // groups, f"input {x.shape} in {groups} groups does not fit {w.shape}")
    out = placements("conv", x.shape[1:], w.shape[2:], attrs["stride"], attrs["dilation"])
    if len(inputs) == 3:
        b = inputs[2]
        fits = b.is_const and b.dtype is FLOAT32 and b.shape == w.shape[:1]
        need("conv", fits, f"bias {b.name} must be constant float32 {w.shape[:1]}, got {b.dtype}{b.shape}")
    return [((w.shape[0], *out), FLOAT32)]


def _evaluate_conv(inputs: Sequence[Array], attrs: Attrs, tensors: Sequence[Tensor]) -> Sequence[Array]:
    real = np.result_type(np.float32, *(a.dtype for a in inputs if a.dtype.kind == "f"))
    x, w = inputs[0].astype(real, copy=False), inputs[1][0].astype(real, copy=False)
    groups, size = attrs.get("groups", 1), w.shape[2:]
    out = placements("conv", tensors[0].shape[1:], size, attrs["stride"], attrs["dilation"])
    kernels = w.reshape(groups, w.shape[0] // groups, w.shape[1], -1)
    y = np.zeros((x.shape[0], groups, kernels.shape[1], prod(out)), real)
    with np.errstate(all="ignore"):
        for at, tap in enumerate(_taps(size, attrs["stride"], attrs["dilation"], out)):
            seen = x[(slice(None), slice(None), *tap)].reshape(x.shape[0], groups, w.shape[1], -1)
            y += kernels[..., at] @ seen
        y = y.reshape(x.shape[0], w.shape[0], *out)
        channels = (-1, *(1,) * len(out))
        if tensors[1].quant is not None:
            y = y * tensors[1].quant.scale.reshape(channels)
        if len(inputs) == 3:
            y = y + inputs[2][0].reshape(channels)
    return [y]


def _cost_conv(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attrs: Attrs) -> Cost:
    x, w = inputs[0], inputs[1]
    work = outputs[0].size * prod(w.shape[1:])
    spike = x.dtype is SPIKE
    return Cost(0 if spike else work, work if spike else 0, w.stored_bytes + x.stored_bytes)


def _decompose_conv(op: Op, to: Decomposer) -> None:
    """Channels last: windows over places and all channels are the rows of a matrix, one `linear` for each group."""
    x, w = to.tensor(op.inputs[0]), to.tensor(op.inputs[1])
    groups, stride, dilation = op.attrs.get("groups", 1), op.attrs["stride"], op.attrs["dilation"]
    rank, size, inner = len(x.shape) - 1, w.shape[2:], w.shape[1]
    out = placements("conv", x.shape[1:], size, stride, dilation)
    last = to.emit("transpose", x.name, perm=(*range(1, rank + 1), 0))
    if w.shape[0] == groups > 1 and inner == 1 and w.dtype is FLOAT32:
        to.emit("transpose", _depthwise(op, to, last), perm=(rank, *range(rank)))
        return
    results: list[str] = []
    for at, (weights, bias) in enumerate(_group_constants(op, to, groups)):
        rows = to.emit("slice", last, axis=rank, start=at * inner, stop=(at + 1) * inner) if groups > 1 else last
        if size != (1,) * rank or stride != (1,) * rank:
            rows = to.emit("windows", rows, size=(*size, inner), stride=(*stride, 1), dilation=(*dilation, 1))
        rows = to.emit("reshape", rows, shape=(prod(out), prod(size) * inner))
        results.append(to.emit("linear", rows, weights, *bias))
    y = to.emit("concat", *results, axis=1) if groups > 1 else results[0]
    y = to.emit("reshape", y, shape=(*out, w.shape[0]))
    to.emit("transpose", y, perm=(rank, *range(rank)))


def _depthwise(op: Op, to: Decomposer, last: str) -> str:
    """One kernel for each channel of x with channels last: products and their sum."""
    w, bias = to.tensor(op.inputs[1]), op.inputs[2:]
    size, one = w.shape[2:], (1,)
    steps = {"stride": (*op.attrs["stride"], 1), "dilation": (*op.attrs["dilation"], 1)}
    real = last if to.tensor(last).dtype is FLOAT32 else to.emit("cast", last, to="float32")
    seen = to.emit("windows", real, size=size + one, **steps)
    kernel = np.zeros(0) if w.data is None else w.data.reshape(len(w.data), -1)
    products = to.emit("mul", seen, to.const(f"{w.name}.taps", kernel))
    y = to.emit("sum", products, axis=len(size) + 1)
    return to.emit("add", y, bias[0]) if bias else y


def _group_constants(op: Op, to: Decomposer, groups: int) -> list[tuple[str, tuple[str, ...]]]:
    """For each group the names of its weights [out, taps · in] and of its bias, if there is one."""
    w, bias = to.tensor(op.inputs[1]), [to.tensor(n) for n in op.inputs[2:]]
    found, rows = [], w.shape[0] // groups
    for at in range(groups):
        mine = slice(at * rows, (at + 1) * rows)
        quant = w.quant
        if quant is not None and quant.axis == 0:
            quant = type(quant)(quant.scale[mine], quant.zero_point[mine], 0, quant.qmin, quant.qmax)
        kernel = [t.data[mine] for t in (w, *bias) if t.data is not None]
        last = np.moveaxis(kernel[0], 1, -1).reshape(rows, -1)
        weights = to.const(f"{w.name}.rows", last, w.dtype, quant)
        found.append((weights, tuple(to.const(f"{t.name}.part", kernel[1]) for t in bias)))
    return found


def _infer_pad(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
    x, before, after, value = inputs[0], attrs["before"], attrs["after"], attrs.get("value", 0.0)
    per_axis = len(before) == len(after) == len(x.shape) and all(n >= 0 for n in (*before, *after))
    need("pad", per_axis, f"wants a width of at least 0 before and after each axis of {x.shape}")
    if x.dtype is SPIKE:
        need("pad", value == 0, f"pads spikes with silence alone, not with {value}")
    elif x.dtype.is_integer:
        low, high = x.dtype.limits
        need("pad", value == int(value) and low <= value <= high, f"{value} is no {x.dtype}")
    else:
        need("pad", abs(value) <= LARGEST, f"{value} is no {x.dtype}")
    return [(tuple(b + n + a for b, n, a in zip(before, x.shape, after, strict=True)), x.dtype)]


def _evaluate_pad(inputs: Sequence[Array], attrs: Attrs, tensors: Sequence[Tensor]) -> Sequence[Array]:
    widths = [(0, 0), *zip(attrs["before"], attrs["after"], strict=True)]
    value = tensors[0].dtype.numpy.type(attrs.get("value", 0.0))  # the number that a backend holds, in every precision
    return [np.pad(inputs[0], widths, constant_values=inputs[0].dtype.type(value))]


def _decompose_pad(op: Op, to: Decomposer) -> None:
    """Constants side by side with the value, axis by axis."""
    x = to.tensor(op.inputs[0])
    fill = to.const(f"{x.name}.fill", np.asarray(op.attrs.get("value", 0.0)), x.dtype)
    name, shape = x.name, list(x.shape)
    for axis, widths in enumerate(zip(op.attrs["before"], op.attrs["after"], strict=True)):
        sides = [
            (to.emit("expand", fill, shape=(*shape[:axis], width, *shape[axis + 1 :])),) if width else ()
            for width in widths
        ]
        if any(widths):
            name = to.emit("concat", *sides[0], name, *sides[1], axis=axis)
            shape[axis] += sum(widths)
    if name == x.name:
        to.emit("reshape", name, shape=x.shape)


def _infer_windows(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
    x, size = inputs[0], attrs["size"]
    need("windows", 1 <= len(size) <= len(x.shape), f"slides over {len(size)} axes, {x.name} is {x.shape}")
    lead = len(x.shape) - len(size)
    out = placements("windows", x.shape[lead:], size, attrs["stride"], attrs["dilation"])
    return [((*x.shape[:lead], *out, prod(size)), x.dtype)]


def _evaluate_windows(inputs: Sequence[Array], attrs: Attrs, tensors: Sequence[Tensor]) -> Sequence[Array]:
    size, stride, dilation = attrs["size"], attrs["stride"], attrs["dilation"]
    lead = len(tensors[0].shape) - len(size)
    out = placements("windows", tensors[0].shape[lead:], size, stride, dilation)
    whole = (slice(None),) * (lead + 1)
    return [np.stack([inputs[0][(*whole, *tap)] for tap in _taps(size, stride, dilation, out)], axis=-1)]


def window_indices(shape: Shape, attrs: Attrs) -> Array:
    """Where the elements of each window lie in the row-major spatial axes `shape`: [*places, elements of a window]."""
    numbers = np.arange(prod(shape)).reshape(1, *shape)
    place = Tensor("place", shape, FLOAT32)
    return np.asarray(_evaluate_windows([numbers], attrs, [place])[0][0])


def _decompose_windows(op: Op, to: Decomposer) -> None:
    """A gather over the spatial axes joined into one."""
    x = to.tensor(op.inputs[0])
    lead = len(x.shape) - len(op.attrs["size"])
    indices = window_indices(x.shape[lead:], op.attrs)
    flat = to.emit("reshape", x.name, shape=(*x.shape[:lead], prod(x.shape[lead:])))
    found = to.emit("gather", flat, axis=lead, indices=tuple(map(int, indices.reshape(-1))))
    to.emit("reshape", found, shape=(*x.shape[:lead], *indices.shape))


SPATIAL: dict[str, OpSpec] = {
    "conv": OpSpec(
        "conv",
        "contract",
        "y[o] = Σ w[o, i, k] · x[i, place · stride + k · dilation] (+ bias[o]) over channels and taps, without padding",
        (2, 3),
        _infer_conv,
        _evaluate_conv,
        {"stride": Attr("ints"), "dilation": Attr("ints"), "groups": Attr(int, 1, required=False)},
        cost=_cost_conv,
        decompose=_decompose_conv,
    ),
    "pad": OpSpec(
        "pad",
        "movement",
        "x within a border of a constant, so many elements before and after it along each axis",
        (1, 1),
        _infer_pad,
        _evaluate_pad,
        {"before": Attr("ints"), "after": Attr("ints"), "value": Attr(float, 0.0, required=False)},
        decompose=_decompose_pad,
    ),
    "windows": OpSpec(
        "windows",
        "movement",
        "sliding windows over the last axes: one window for each place, its elements along a new last axis",
        (1, 1),
        _infer_windows,
        _evaluate_windows,
        {"size": Attr("ints"), "stride": Attr("ints"), "dilation": Attr("ints")},
        decompose=_decompose_windows,
    ),
}
