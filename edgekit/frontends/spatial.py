"""Convolution and pooling in terms of the op table, written once for every front end: x[N, C, *S], N mostly one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from edgekit.frontends.emitter import LARGEST, Array, Emitter, Known, Live, Operand, Refuse
from edgekit.frontends.formulas import mean, per_channel


def padded(e: Emitter, x: Operand, before: Sequence[int], after: Sequence[int], value: float = 0.0) -> Operand:
    """A constant around the last axes of a value; negative widths cut."""
    shape, lead = e.shape(x), len(e.shape(x)) - len(before)
    for axis, (low, high) in enumerate(zip(before, after, strict=True), start=lead):
        if min(low, high) < 0:
            stop = shape[axis] + min(high, 0)
            x = e.emit("slice", e.live(x), axis=axis, start=max(-low, 0), stop=stop)
    lows, highs = ([0] * lead + [max(int(n), 0) for n in side] for side in (before, after))
    if not any(lows) and not any(highs):
        return x
    if value != 0:
        x = e.real(x)
    return e.emit("pad", e.live(x), before=tuple(lows), after=tuple(highs), value=float(value))


def _samples(e: Emitter, x: Live, make: Callable[[Live], Live]) -> Live:
    """Apply a function of [C, *S] to every sample of x[N, C, *S], and put the results side by side."""
    count, *rest = e.shape(x)
    parts = []
    for at in range(count):
        sample = x if count == 1 else e.emit("slice", x, axis=0, start=at, stop=at + 1)
        y = make(e.live(e.reshape(sample, rest)))
        parts.append(e.reshape(y, (1, *e.shape(y))))
    return e.live(parts[0]) if count == 1 else e.emit("concat", *parts, axis=0)


def conv(
    e: Emitter,
    x: Operand,
    weight: Operand,
    bias: Operand | None,
    *,
    stride: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Live:
    """y[n, o] = Σ_c w[o, c] ⋆ x[n, c] + b[o], with zeros around x; weight [O, C / groups, *K]."""
    x = padded(e, x, before, after)
    steps = {"stride": tuple(stride), "dilation": tuple(dilation)}
    known, offset = e.known(weight), None if bias is None else e.known(bias)
    if known is not None and (bias is None or offset is not None):
        extra = () if offset is None else (Known(offset.array.reshape(-1), offset.hint),)
        return _samples(e, e.live(x), lambda s: e.emit("conv", s, known, *extra, groups=groups, **steps))
    y = _samples(e, e.live(e.real(x)), lambda s: _live_conv(e, s, e.live(e.real(weight)), steps, groups))
    return y if bias is None else e.emit("add", y, per_channel(e, bias, len(e.shape(y))))


def _live_conv(e: Emitter, x: Live, weight: Live, steps: dict[str, tuple[int, ...]], groups: int) -> Live:
    """The same with weights that change at run time: rows of windows times a matrix for each group."""
    out, inner, *kernel = e.shape(weight)
    channels, parts = e.shape(x)[0] // groups, []
    for group in range(groups):
        own = x if groups == 1 else e.emit("slice", x, axis=0, start=group * channels, stop=(group + 1) * channels)
        rows, step = e.emit("windows", own, size=tuple(kernel), **steps), out // groups
        spatial = e.shape(rows)[1:-1]
        order = (*range(1, len(spatial) + 1), 0, len(spatial) + 1)
        table = e.reshape(e.transpose(rows, order), (math.prod(spatial), inner * math.prod(kernel)))
        matrix = weight if groups == 1 else e.emit("slice", weight, axis=0, start=group * step, stop=(group + 1) * step)
        y = e.emit("linear", e.live(table), e.reshape(matrix, (step, inner * math.prod(kernel))))
        parts.append(e.reshape(e.transpose(y, (1, 0)), (step, *spatial)))
    return e.live(parts[0]) if groups == 1 else e.emit("concat", *parts, axis=0)


def conv_transpose(
    e: Emitter,
    x: Operand,
    weight: Operand,
    bias: Operand | None,
    *,
    stride: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Live:
    """The transpose of a convolution: x with stride - 1 zeros between its elements, under the flipped kernel.

    weight [C, O / groups, *K]; `before` and `after` are cut off the full result (negative: padded).
    """
    known = e.known(weight)
    if known is None:
        raise Refuse("has weights that change at run time", "use constant weights")
    x, kernel = e.live(e.real(x)), known.array.shape[2:]
    for axis, step in enumerate(stride, start=2):
        if step > 1:
            x = _spread(e, x, axis, step)
    flipped = np.flip(known.array, tuple(range(2, 2 + len(kernel))))
    c_in, c_out = known.array.shape[:2]
    split = flipped.reshape(groups, c_in // groups, c_out, *kernel).swapaxes(1, 2)
    turned = Known(split.reshape(groups * c_out, c_in // groups, *kernel), known.hint)
    reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    low, high = ([r - cut for r, cut in zip(reach, side, strict=True)] for side in (before, after))
    ones = (1,) * len(kernel)
    return conv(e, x, turned, bias, stride=ones, before=low, after=high, dilation=dilation, groups=groups)


def _spread(e: Emitter, x: Live, axis: int, step: int) -> Live:
    """step - 1 zeros between neighbours along an axis."""
    shape = e.shape(x)
    column = e.reshape(x, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
    rest = len(shape) - axis - 1
    wide = padded(e, column, (0, *(0,) * rest), (step - 1, *(0,) * rest))
    joined = e.reshape(wide, (*shape[:axis], shape[axis] * step, *shape[axis + 1 :]))
    return e.emit("slice", e.live(joined), axis=axis, start=0, stop=(shape[axis] - 1) * step + 1)


def max_pool(
    e: Emitter,
    x: Operand,
    *,
    size: Sequence[int],
    stride: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
    dilation: Sequence[int],
) -> Live:
    """The largest element of each window over the last axes; padding never wins."""
    x = padded(e, e.real(x), before, after, -LARGEST)
    rows = e.emit("windows", e.live(x), size=tuple(size), stride=tuple(stride), dilation=tuple(dilation))
    return e.emit("amax", rows, axis=len(e.shape(rows)) - 1, keepdims=False)


def sum_pool(
    e: Emitter,
    x: Operand,
    *,
    size: Sequence[int],
    stride: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
    dilation: Sequence[int] | None = None,
) -> Live:
    """The sum of each window over the last axes, zeros around."""
    x = padded(e, e.real(x), before, after)
    steps = tuple(dilation or (1,) * len(size))
    rows = e.emit("windows", e.live(x), size=tuple(size), stride=tuple(stride), dilation=steps)
    return e.emit("sum", rows, axis=len(e.shape(rows)) - 1, keepdims=False)


def average_pool(
    e: Emitter,
    x: Operand,
    *,
    size: Sequence[int],
    stride: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
    dilation: Sequence[int] | None = None,
    counted: Sequence[Sequence[int]] | None = None,
    divisor: int | None = None,
) -> Live:
    """The mean of each window over the last axes.

    `counted` gives for each axis the padding (before, after) whose zeros count as elements; by default none do.
    `divisor` replaces the number of elements.
    """
    spatial = e.shape(x)[len(e.shape(x)) - len(size) :]
    total = sum_pool(e, x, size=size, stride=stride, before=before, after=after, dilation=dilation)
    if divisor is not None:
        return e.emit("div", total, float(divisor))
    counts = window_counts(
        spatial, size, stride, before=before, after=after, dilation=dilation, counted=counted or [(0, 0)] * len(size)
    )
    if np.unique(counts).size == 1:
        return e.emit("div", total, float(counts.flat[0]))
    return e.emit("div", total, Known(counts, "const.counts"))


def window_counts(
    spatial: Sequence[int],
    size: Sequence[int],
    stride: Sequence[int],
    *,
    before: Sequence[int],
    after: Sequence[int],
    counted: Sequence[Sequence[int]],
    dilation: Sequence[int] | None = None,
) -> Array:
    """How many elements of each window count: those of x, and the padding that `counted` names."""
    counts = np.ones((), np.float32)
    steps = dilation or (1,) * len(size)
    for n, k, s, d, low, high, (a, b) in zip(spatial, size, stride, steps, before, after, counted, strict=True):
        line = np.zeros(low + n + high, np.float32)
        line[low - min(a, low) : low + n + min(b, high)] = 1
        span = (k - 1) * d + 1
        starts = range(0, len(line) - span + 1, s)
        counts = counts[..., None] * np.array([line[i : i + span : d].sum() for i in starts], np.float32)
    return counts


def adaptive_average_pool(e: Emitter, x: Operand, sizes: Sequence[int]) -> Live:
    """The mean of windows that divide the last axes into `sizes` parts, from floor(i·n/m) to ceil((i+1)·n/m)."""
    y = e.live(e.real(x))
    lead = len(e.shape(y)) - len(sizes)
    for axis, parts in enumerate(sizes, start=lead):
        n = e.shape(y)[axis]
        bounds = [(i * n // parts, -(-(i + 1) * n // parts)) for i in range(parts)]
        pieces = [
            mean(e, e.emit("slice", y, axis=axis, start=a, stop=b) if (a, b) != (0, n) else y, (axis,), keepdims=True)
            for a, b in bounds
        ]
        y = pieces[0] if parts == 1 else e.emit("concat", *pieces, axis=axis)
    return y
