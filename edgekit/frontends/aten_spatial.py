"""The rows of the lowering table for convolution, pooling, padding and resizing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from edgekit.frontends import spatial
from edgekit.frontends.aten import row
from edgekit.frontends.emitter import Live, Operand, Refuse
from edgekit.frontends.lower import Call, Lost, Lowering


def _each(value: Any, count: int) -> tuple[int, ...]:
    """One number for each spatial axis: torch takes one for all."""
    given = (value,) if isinstance(value, int) else tuple(value)
    return given * count if len(given) == 1 else given


@row("convolution")
def _convolution(low: Lowering, call: Call) -> Operand:
    """x ⋆ w + b with zeros around x, or its transpose."""
    axes = len(low.shape(call["weight"])) - 2
    stride, padding, dilation, extra = (
        _each(call[n], axes) for n in ("stride", "padding", "dilation", "output_padding")
    )
    common = {"stride": stride, "before": padding, "dilation": dilation, "groups": call["groups"]}
    x, unbatched = call["input"], call.rank == axes + 1
    x = low.reshape(x, (1, *low.shape(x))) if unbatched else x
    if call["transposed"]:
        after = [p - e for p, e in zip(padding, extra, strict=True)]
        y = spatial.conv_transpose(low, x, call["weight"], call["bias"], **common, after=after)
    else:
        y = spatial.conv(low, x, call["weight"], call["bias"], **common, after=padding)
    return low.reshape(y, call.shape)


@row("constant_pad_nd")
def _pad(low: Lowering, call: Call) -> Operand:
    widths = call["pad"]  # of the last axis first
    sides = [list(reversed(widths[at::2])) for at in (0, 1)]
    value = call["value"]
    if not isinstance(value, (int, float)):
        raise Refuse("pads with a tensor", "use a number")
    x = low.spike(call["self"]) if call.dtype is torch.bool else low.real(call["self"])
    return spatial.padded(low, x, sides[0], sides[1], value)


@row("reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d")
def _mirror(low: Lowering, call: Call) -> Operand:
    """Padding with elements of the tensor itself: a gather along each axis."""
    widths, x = call["padding"], low.live(low.real(call["self"]))
    mode: Literal["reflect", "edge"] = "reflect" if "reflection" in call.name else "edge"
    for at in range(len(widths) // 2):
        axis = call.rank - 1 - at
        indices = np.pad(np.arange(low.shape(x)[axis]), (widths[2 * at], widths[2 * at + 1]), mode=mode)
        x = low.emit("gather", x, axis=axis, indices=tuple(map(int, indices)))
    return x


def _after(low: Lowering, call: Call, rows: Sequence[tuple[int, int, int, int]]) -> list[int]:
    """Padding at the end of each axis, so that there are as many windows as torch makes (ceil_mode adds some).

    `rows` are (kernel size, stride, padding before, dilation).
    """
    inputs, outputs = low.shape(call["self"])[-len(rows) :], call.shape[-len(rows) :]
    return [(out - 1) * s + (k - 1) * d + 1 - n - p for n, out, (k, s, p, d) in zip(inputs, outputs, rows, strict=True)]


@row("max_pool2d_with_indices", "max_pool3d_with_indices")
def _max_pool(low: Lowering, call: Call) -> Any:
    axes = 2 if "2d" in call.name else 3
    size, padding, dilation = (_each(call[n], axes) for n in ("kernel_size", "padding", "dilation"))
    stride = _each(call["stride"] or size, axes)
    after = _after(low, call, [*zip(size, stride, padding, dilation, strict=True)])
    y = spatial.max_pool(low, call["self"], size=size, stride=stride, before=padding, after=after, dilation=dilation)
    return y, Lost("the index of a maximum is not computed; return the values")


@row("avg_pool1d", "avg_pool2d", "avg_pool3d")
def _average_pool(low: Lowering, call: Call) -> Live:
    axes = int(call.name[-2])
    size, padding = (_each(call[n], axes) for n in ("kernel_size", "padding"))
    stride = _each(call["stride"] or size, axes)
    after = _after(low, call, [*zip(size, stride, padding, (1,) * axes, strict=True)])
    counted = [(p, p) if call["count_include_pad"] else (0, 0) for p in padding]
    return spatial.average_pool(
        low,
        call["self"],
        size=size,
        stride=stride,
        before=padding,
        after=after,
        counted=counted,
        divisor=call.args.get("divisor_override"),
    )


@row("_adaptive_avg_pool2d", "adaptive_avg_pool1d", "_adaptive_avg_pool3d")
def _adaptive_average(low: Lowering, call: Call) -> Live:
    axes = int(call.name[-2])
    return spatial.adaptive_average_pool(low, call["self"], call.shape[-axes:])


@row("adaptive_max_pool2d", "adaptive_max_pool3d")
def _adaptive_max(low: Lowering, call: Call) -> Any:
    axes = int(call.name[-2])
    inputs, outputs = low.shape(call["self"])[-axes:], call.shape[-axes:]
    if any(n % m for n, m in zip(inputs, outputs, strict=True)):
        raise Refuse("takes windows of different sizes", "let the output size divide the input size")
    size = tuple(n // m for n, m in zip(inputs, outputs, strict=True))
    zeros, ones = (0,) * axes, (1,) * axes
    y = spatial.max_pool(low, call["self"], size=size, stride=size, before=zeros, after=zeros, dilation=ones)
    return y, Lost("the index of a maximum is not computed; return the values")


@row("upsample_nearest1d", "upsample_nearest2d")
def _nearest(low: Lowering, call: Call) -> Operand:
    """Element floor(i · n / m) of each axis; by repetition where that is all it is."""
    axes = int(call.name[-2])
    x = low.live(low.real(call["self"]))
    for axis in range(call.rank - axes, call.rank):
        n, m = low.shape(x)[axis], call.shape[axis]
        indices = np.minimum((np.arange(m) * np.float32(n / m)).astype(np.int64), n - 1)
        x = low.emit("gather", x, axis=axis, indices=tuple(map(int, indices)))
    return x


@row("unfold")
def _unfold(low: Lowering, call: Call) -> Operand:
    """Windows along one axis, as a last axis of their own."""
    x = low.live(call["self"])
    rank = len(low.shape(x))
    axis = call["dimension"] % rank
    order = [*(i for i in range(rank) if i != axis), axis]
    rows = low.emit(
        "windows", low.live(low.transpose(x, order)), size=(call["size"],), stride=(call["step"],), dilation=(1,)
    )
    back = list(range(rank - 1))
    back.insert(axis, rank - 1)
    return low.transpose(rows, [*back, rank])


@row("im2col")
def _im2col(low: Lowering, call: Call) -> Operand:
    """torch.nn.functional.unfold: [N, C, H, W] -> [N, C · k, windows]."""
    size, dilation, padding, stride = (tuple(call[n]) for n in ("kernel_size", "dilation", "padding", "stride"))
    x = low.live(spatial.padded(low, low.real(call["self"]), padding, padding))
    rows = low.emit("windows", x, size=size, stride=stride, dilation=dilation)
    n, c, h, w, k = low.shape(rows)
    flat = low.reshape(rows, (n, c, h * w, k))
    return low.reshape(low.transpose(flat, (0, 1, 3, 2)), (n, c * k, math.prod((h, w))))
