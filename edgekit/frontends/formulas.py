"""Composites in terms of the op table, written once for every front end. Shapes are full: [N, …] with the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgekit.frontends.emitter import Emitter, Known, Live, Operand, Refuse


def apply(e: Emitter, kind: str, *values: Operand) -> Live:
    """An elementwise op on float32 operands that broadcast as numpy broadcasts."""
    return e.emit(kind, *(e.real(value) for value in values))


# --- activations -----------------------------------------------------------------------------------------------------


def silu(e: Emitter, x: Operand) -> Live:
    """x · sigmoid(x)."""
    x = e.real(x)
    return e.emit("mul", x, e.emit("sigmoid", x))


def leaky_relu(e: Emitter, x: Operand, slope: Operand) -> Live:
    """x where x > 0, else slope · x; a slope of several elements broadcasts."""
    x = e.real(x)
    return e.emit("where", e.emit("gt", x, 0.0), x, e.emit("mul", x, e.real(slope)))


def elu(e: Emitter, x: Operand, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Live:
    """scale · (x where x > 0, else alpha · (e^(input_scale · x) - 1)); celu has input_scale = 1 / alpha."""
    x = e.real(x)
    inner = x if input_scale == 1 else e.emit("mul", x, float(input_scale))
    below = e.emit("sub", e.emit("exp", inner), 1.0)
    below = below if alpha == 1 else e.emit("mul", below, float(alpha))
    y = e.emit("where", e.emit("gt", x, 0.0), x, below)
    return y if scale == 1 else e.emit("mul", y, float(scale))


def softplus(e: Emitter, x: Operand, beta: float = 1.0, threshold: float = 20.0) -> Live:
    """log(1 + e^(beta x)) / beta, and x itself where beta · x > threshold."""
    x = e.real(x)
    inner = x if beta == 1 else e.emit("mul", x, float(beta))
    curve = e.emit("log", e.emit("add", e.emit("exp", inner), 1.0))
    curve = curve if beta == 1 else e.emit("div", curve, float(beta))
    return e.emit("where", e.emit("gt", inner, float(threshold)), x, curve)


def mish(e: Emitter, x: Operand) -> Live:
    """x · tanh(softplus(x))."""
    x = e.real(x)
    return e.emit("mul", x, e.emit("tanh", softplus(e, x)))


def gelu(e: Emitter, x: Operand, approximate: str = "none") -> Live:
    """x/2 · (1 + erf(x / sqrt 2)), or with `tanh` x/2 · (1 + tanh(sqrt(2/π) · (x + 0.044715 x³)))."""
    x = e.real(x)
    if approximate == "tanh":
        cubic = e.emit("mul", e.emit("mul", e.emit("mul", x, x), x), 0.044715)
        curve = e.emit("tanh", e.emit("mul", e.emit("add", x, cubic), math.sqrt(2 / math.pi)))
    else:
        curve = e.emit("erf", e.emit("mul", x, math.sqrt(0.5)))
    return e.emit("mul", e.emit("mul", x, 0.5), e.emit("add", curve, 1.0))


def hard_sigmoid(e: Emitter, x: Operand) -> Live:
    """min(max(x + 3, 0), 6) / 6, the way torch rounds it."""
    return e.emit("div", clip(e, e.emit("add", e.real(x), 3.0), 0.0, 6.0), 6.0)


def hard_swish(e: Emitter, x: Operand) -> Live:
    """x · min(max(x + 3, 0), 6) / 6."""
    x = e.real(x)
    return e.emit("div", e.emit("mul", x, clip(e, e.emit("add", x, 3.0), 0.0, 6.0)), 6.0)


def clip(e: Emitter, x: Operand, low: Operand | None, high: Operand | None) -> Live:
    """min(max(x, low), high); a bound that is None is left out."""
    y = e.live(e.real(x))
    if low is not None:
        y = apply(e, "maximum", y, low)
    return y if high is None else apply(e, "minimum", y, high)


def power(e: Emitter, base: Operand, exponent: Operand) -> Live:
    """base^exponent: by products and roots for 1, 2, 3, 4, ±1/2, -1, -2 and 0, else by e^(exponent · log |base|)."""
    x, known = e.live(e.real(base)), e.known(exponent)
    if known is not None and known.array.size == 1:
        chosen = _constant_power(e, x, float(known.array.reshape(())))
        if chosen is not None:
            shape = np.broadcast_shapes(e.shape(x), known.array.shape)
            return e.live(e.expand(chosen, shape))
    if (fixed := e.known(base)) is not None and fixed.array.size == 1 and float(fixed.array.reshape(())) > 0:
        return e.emit("exp", apply(e, "mul", exponent, math.log(float(fixed.array.reshape(())))))
    y = e.real(exponent)
    size = e.emit("exp", e.emit("mul", y, e.emit("log", e.emit("abs", x))))
    whole = e.emit("eq", e.emit("floor", y), y)
    half = e.emit("mul", y, 0.5)
    even = e.emit("eq", e.emit("floor", half), half)
    # below zero the sign follows the parity of a whole exponent; there is no real power else: 0/0 is NaN
    signed = e.emit("where", even, size, e.emit("neg", size))
    nan = e.emit("div", e.emit("sub", size, size), 0.0)
    below = e.emit("where", whole, signed, nan)
    raised = e.emit("where", e.emit("ge", x, 0.0), size, below)
    return e.emit("where", e.emit("eq", y, 0.0), 1.0, raised)


def _constant_power(e: Emitter, x: Live, exponent: float) -> Live | None:
    def squared(value: Live) -> Live:
        return e.emit("mul", value, value)

    if exponent == 0:
        return e.live(e.expand(1.0, e.shape(x)))
    if exponent in (1, 2, 3, 4):
        powers = {1: lambda: x, 2: lambda: squared(x), 3: lambda: e.emit("mul", squared(x), x)}
        return powers.get(int(exponent), lambda: squared(squared(x)))()
    if exponent in (0.5, -0.5):
        root = e.emit("sqrt", x)
        return root if exponent > 0 else e.emit("reciprocal", root)
    if exponent in (-1, -2):
        return e.emit("reciprocal", x if exponent == -1 else squared(x))
    return None


_ACOS = (
    1.5707963050,
    -0.2145988016,
    0.0889789874,
    -0.0501743046,
    0.0308918810,
    -0.0170881256,
    0.0066700901,
    -0.0012624911,
)


def truncated(e: Emitter, x: Operand) -> Live:
    """x without its fraction, towards zero: what a cast to an integer does."""
    x = e.real(x)
    return e.emit("mul", e.emit("sign", x), e.emit("floor", e.emit("abs", x)))


def acos(e: Emitter, x: Operand) -> Live:
    """arc cosine within 1e-6: sqrt(1 - |x|) · polynomial of |x| (Abramowitz, Stegun 4.4.46), π minus it below zero."""
    x = e.real(x)
    size = e.emit("abs", x)
    curve = e.emit("mul", size, _ACOS[-1])
    for factor in reversed(_ACOS[1:-1]):
        curve = e.emit("mul", e.emit("add", curve, factor), size)
    above = e.emit("mul", e.emit("sqrt", e.emit("sub", 1.0, size)), e.emit("add", curve, _ACOS[0]))
    return e.emit("where", e.emit("ge", x, 0.0), above, e.emit("sub", math.pi, above))


def asin(e: Emitter, x: Operand) -> Live:
    """π/2 - acos x."""
    return e.emit("sub", math.pi / 2, acos(e, x))


_ATAN = (
    *(-0.3333314528, 0.1999355085, -0.1420889944, 0.1065626393),
    *(-0.0752896400, 0.0429096138, -0.0161657367, 0.0028662257),
)


def atan(e: Emitter, x: Operand) -> Live:
    """z + z · polynomial of z² (Abramowitz, Stegun 4.4.49) with z = |x| up to 1 and 1 / |x|, from π/2, beyond; odd."""
    x = e.real(x)
    size = e.emit("abs", x)
    beyond = e.emit("gt", size, 1.0)
    z = e.emit("where", beyond, e.emit("reciprocal", e.emit("maximum", size, 1.0)), size)
    square = e.emit("mul", z, z)
    curve = e.emit("mul", square, _ATAN[-1])
    for factor in reversed(_ATAN[:-1]):
        curve = e.emit("mul", e.emit("add", curve, factor), square)
    angle = e.emit("add", z, e.emit("mul", z, curve))
    angle = e.emit("where", beyond, e.emit("sub", math.pi / 2, angle), angle)
    return e.emit("where", e.emit("ge", x, 0.0), angle, e.emit("neg", angle))


# --- reductions and normalisation ------------------------------------------------------------------------------------


def reduce(e: Emitter, kind: str, x: Operand, axes: Sequence[int], *, keepdims: bool) -> Live:
    """`sum` or `amax` over several axes, not negative; over none, the value itself."""
    y = e.live(e.real(x))
    for axis in sorted(axes, reverse=True):
        y = e.emit(kind, y, axis=int(axis), keepdims=keepdims)
    return y


def mean(e: Emitter, x: Operand, axes: Sequence[int], *, keepdims: bool) -> Live:
    """The mean over several axes: their sum divided by the number of elements."""
    count = math.prod(e.shape(x)[axis] for axis in axes)
    return e.emit("div", reduce(e, "sum", x, axes, keepdims=keepdims), float(count))


def softmax(e: Emitter, x: Operand, axis: int, *, log: bool = False) -> Live:
    """e^(x - max x) / Σ e^(x - max x) along an axis, or its logarithm."""
    x = e.real(x)
    shifted = e.emit("sub", x, e.emit("amax", x, axis=axis, keepdims=True))
    powers = e.emit("exp", shifted)
    total = e.emit("sum", powers, axis=axis, keepdims=True)
    return e.emit("sub", shifted, e.emit("log", total)) if log else e.emit("div", powers, total)


def arg_max(e: Emitter, x: Operand, axis: int, *, keepdims: bool) -> Live:
    """The first place of the largest element along an axis, as a whole float32."""
    x = e.real(x)
    shape = e.shape(x)
    largest = e.real(e.emit("eq", x, e.emit("amax", x, axis=axis, keepdims=True)))
    first = e.emit("mul", largest, e.real(e.emit("eq", e.emit("cumsum", largest, axis=axis), 1.0)))
    places = np.arange(shape[axis], dtype=np.float32).reshape(-1, *(1,) * (len(shape) - 1 - axis))
    return e.emit("sum", e.emit("mul", first, Known(places, "const.places")), axis=axis, keepdims=keepdims)


def product(e: Emitter, x: Operand, axis: int, *, keepdims: bool) -> Live:
    """The product along one axis, one factor after another."""
    x = e.live(e.real(x))
    size = e.shape(x)[axis]
    parts = [e.emit("slice", x, axis=axis, start=i, stop=i + 1) if size > 1 else x for i in range(size)]
    y = parts[0]
    for part in parts[1:]:
        y = e.emit("mul", y, part)
    shape = e.shape(y)
    return y if keepdims else e.live(e.reshape(y, (*shape[:axis], *shape[axis + 1 :])))


def log_sum_exp(e: Emitter, x: Operand, axes: Sequence[int], *, keepdims: bool) -> Live:
    """log Σ e^x over axes, shifted by the largest so that nothing overflows."""
    x = e.real(x)
    most = reduce(e, "amax", x, axes, keepdims=True)
    total = reduce(e, "sum", e.emit("exp", e.emit("sub", x, most)), axes, keepdims=keepdims)
    shape = e.shape(total)
    return e.emit("add", e.emit("log", total), e.live(e.reshape(most, shape)))


def standardised(e: Emitter, x: Operand, axes: Sequence[int], eps: float) -> Live:
    """(x - mean x) / sqrt(var x + eps) over axes."""
    x = e.real(x)
    centred = e.emit("sub", x, mean(e, x, axes, keepdims=True))
    variance = mean(e, e.emit("mul", centred, centred), axes, keepdims=True)
    return e.emit("div", centred, e.emit("sqrt", e.emit("add", variance, float(eps))))


def layer_norm(e: Emitter, x: Operand, axes: int, *, weight: Operand | None, bias: Operand | None, eps: float) -> Live:
    """(x - mean x) / sqrt(var x + eps) · weight + bias over the last `axes` axes, which are joined into one."""
    full = e.shape(x)
    size = math.prod(full[len(full) - axes :])
    y = standardised(e, e.reshape(e.real(x), (*full[: len(full) - axes], size)), (len(full) - axes,), eps)
    factors = [
        f if f is None or math.prod(e.shape(f)) != size else e.reshape(e.real(f), (size,)) for f in (weight, bias)
    ]
    return e.live(e.reshape(affine(e, y, *factors), full))


def group_norm(
    e: Emitter, x: Operand, groups: int, *, weight: Operand | None, bias: Operand | None, eps: float
) -> Live:
    """Layer norm of each group of channels (axis 1) of x[N, C, …], then weight and bias per channel."""
    full = e.shape(x)
    grouped = e.reshape(e.real(x), (full[0], groups, math.prod(full[1:]) // groups))
    y = e.live(e.reshape(standardised(e, grouped, (2,), eps), full))
    return channel_affine(e, y, weight, bias)


def channel_norm(e: Emitter, x: Operand, *, weight: Operand | None, bias: Operand | None, eps: float) -> Live:
    """(x - mean) / sqrt(var + eps) · weight + bias, the statistics of each channel (axis 1) over all other axes."""
    rank = len(e.shape(x))
    y = standardised(e, x, [axis for axis in range(rank) if axis != 1], eps)
    return channel_affine(e, y, weight, bias)


def affine(e: Emitter, x: Live, weight: Operand | None, bias: Operand | None) -> Live:
    """x · weight + bias, either of which may be missing."""
    if weight is not None:
        x = e.emit("mul", x, weight)
    return x if bias is None else e.emit("add", x, bias)


def channel_affine(e: Emitter, x: Live, weight: Operand | None, bias: Operand | None) -> Live:
    """x · weight + bias with one weight and one bias per channel (axis 1)."""
    rank = len(e.shape(x))
    return affine(e, x, *(None if factor is None else per_channel(e, factor, rank) for factor in (weight, bias)))


def per_channel(e: Emitter, vector: Operand, rank: int) -> Operand:
    """A vector [C] as operand beside values [N, C, …] of a rank."""
    return e.reshape(e.real(vector), (e.shape(vector)[0], *(1,) * (rank - 2)))


def batch_norm(e: Emitter, x: Operand, factors: Sequence[Operand | None], eps: float, stem: str = "batch_norm") -> Live:
    """(x - mean) / sqrt(var + eps) · weight + bias per channel (axis 1); `factors` are (weight, bias, mean, var)."""
    weight, bias, average, variance = factors
    if average is None or variance is None:
        raise Refuse("normalises with the statistics of the batch", "train with track_running_stats=True")
    rank = len(e.shape(x))
    defaults = zip(factors, (1.0, 0.0, 0.0, 1.0), strict=True)
    known = [Known(np.asarray(default)) if f is None else e.known(f) for f, default in defaults]
    w, b, m, v = (None if k is None else k.array.astype(np.float64).reshape(-1) for k in known)
    if w is not None and b is not None and m is not None and v is not None:
        scale = w / np.sqrt(v + eps)
        parts = [
            Known(t.astype(np.float32).reshape(-1, *(1,) * (rank - 2)), f"{stem}.{n}")
            for t, n in ((scale, "scale"), (b - m * scale, "shift"))
        ]
        return e.emit("add", e.emit("mul", e.real(x), parts[0]), parts[1])
    y = e.emit("sub", e.real(x), per_channel(e, average, rank))
    y = e.emit("div", y, e.emit("sqrt", e.emit("add", e.live(per_channel(e, variance, rank)), float(eps))))
    return channel_affine(e, y, weight, bias)


# --- products --------------------------------------------------------------------------------------------------------


def linear(e: Emitter, x: Operand, weight: Operand, bias: Operand | None = None) -> Live:
    """W x + b over the last axis of x; weight [out, in], bias anything that broadcasts to the result."""
    x = e.live(e.real(x))
    rows = e.shape(weight)[0]
    if isinstance(bias, Known) and math.prod(bias.array.shape) in (1, rows) and _is_vector(bias.array.shape):
        return e.emit("linear", x, e.real(weight), Known(bias.array.reshape(-1), bias.hint))
    y = e.emit("linear", x, e.real(weight))
    return y if bias is None else apply(e, "add", y, bias)


def _is_vector(shape: Sequence[int]) -> bool:
    return all(n == 1 for n in shape[:-1])


def matmul(e: Emitter, a: Operand, b: Operand) -> Live:
    """numpy's matmul: stacks of matrices broadcast, vectors gain an axis that the result loses.

    Where both sides change at run time and come in stacks, it is a product and a sum over the inner axis.
    """
    left, right = e.shape(a), e.shape(b)
    if not left or not right:
        raise Refuse("multiplies a scalar as a matrix", "use mul")
    a = e.reshape(a, (1, *left)) if len(left) == 1 else a
    b = e.reshape(b, (*right, 1)) if len(right) == 1 else b
    y = _matmul(e, e.real(a), e.real(b))
    shape = list(e.shape(y))
    if len(right) == 1:
        shape.pop()
    if len(left) == 1:
        shape.pop(len(shape) - (1 if len(right) == 1 else 2))
    return e.live(e.reshape(y, shape))


def _matmul(e: Emitter, a: Operand, b: Operand) -> Live:
    left, right = e.shape(a), e.shape(b)
    if math.prod(right[:-2]) == 1:  # one matrix meets every row
        shape = np.broadcast_shapes(left[:-2], right[:-2])
        weight = e.transpose(e.reshape(b, right[-2:]), (1, 0))
        y = e.emit("linear", e.live(a), weight)
        return e.live(e.reshape(y, (*shape, left[-2], right[-1])))
    if math.prod(left[:-2]) == 1 and isinstance(a, Known):
        last = (*range(len(right) - 2), len(right) - 1, len(right) - 2)
        y = e.emit("linear", e.live(e.transpose(b, last)), e.reshape(a, left[-2:]))
        return e.live(e.transpose(y, last))
    products = e.emit("mul", e.reshape(a, (*left, 1)), e.reshape(b, (*right[:-2], 1, *right[-2:])))
    return e.emit("sum", products, axis=len(e.shape(products)) - 2, keepdims=False)


# --- recurrent cells -------------------------------------------------------------------------------------------------


def gates(e: Emitter, x: Operand, count: int) -> list[Live]:
    """Equal parts of the last axis."""
    axis, size = len(e.shape(x)) - 1, e.shape(x)[-1] // count
    return [e.emit("slice", e.live(x), axis=axis, start=i * size, stop=(i + 1) * size) for i in range(count)]
