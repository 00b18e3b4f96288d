"""The lowering table: one row for each ATen call, from its arguments to ops of the graph.

Rows see shapes with the batch (axis 0 in torch) left out; an axis argument is refused when it names the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch._decomp import decomposition_table
from torch._ops import OpOverload

from edgekit.frontends.lower import BATCH_REMEDY, Call, Known, Live, Lost, Lowering, Refuse, Row, key_of

ROWS: dict[str, Row] = {}


def decomposed(target: OpOverload) -> Callable[..., Any] | None:
    """torch's own way to compute an operator without a row from simpler ones, None where there is no need or no way."""
    if key_of(target) in ROWS:
        return None
    simpler = decomposition_table.get(target)
    return target.decompose if simpler is None and target._can_decompose() else simpler


def _row(*names: str) -> Callable[[Row], Row]:
    def add(row: Row) -> Row:
        ROWS.update({f"aten::{name}": row for name in names})
        return row

    return add


def _axis(axis: int, rank: int) -> int:
    """An axis of torch as one of the graph."""
    axis = axis % rank if rank else axis
    if axis == 0:
        raise Refuse("works along the batch axis", BATCH_REMEDY)
    return axis - 1


def _rank(low: Lowering, value: Live) -> int:
    return len(low.shape(value)) + 1


def _apply(low: Lowering, call: Call, kind: str, *values: Any) -> Live:
    """An elementwise op on float32 operands that broadcast to the result."""
    return low.emit(kind, *(low.operand(low.real(value), call.rank) for value in values))


# --- values that pass through ----------------------------------------------------------------------------------------


@_row("clone", "detach", "alias", "lift_fresh_copy")
def _same(_: Lowering, call: Call) -> Any:
    return next(iter(call.args.values()))


@_row("_to_copy")
def _convert(low: Lowering, call: Call) -> Any:
    value = next(iter(call.args.values()))
    if call.dtype not in (torch.float32, torch.bool):
        raise Refuse(f"converts to {str(call.dtype).removeprefix('torch.')}", "stay in float32 or bool")
    return low.real(value) if call.dtype is torch.float32 else low.spike(value)


@_row("zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty")
def _filled(_: Lowering, call: Call) -> Known:
    """A tensor in the shape of another one: it reads the shape and no value."""
    fill = call.args.get("fill_value", 1.0 if "ones" in call.name else 0.0)
    if not isinstance(fill, (int, float)):
        raise Refuse("fills with a tensor", "use a number")
    return Known(torch.full(call.shape, fill, dtype=call.dtype), f"const.{np.float32(fill)!s}", batched=True)


@_row("copy", "fill", "zero")
def _overwrite(low: Lowering, call: Call) -> Any:
    """What a tensor holds after it was written as a whole."""
    value = call["src"] if call.name == "aten::copy" else call.args.get("value", 0.0)
    return low.spread(low.operand(value, call.rank), call.shape, call.dtype)


# --- elementwise -----------------------------------------------------------------------------------------------------

for _name in ("neg", "abs", "sign", "exp", "log", "sqrt", "reciprocal", "tanh", "sigmoid", "relu"):

    @_row(_name)
    def _unary(low: Lowering, call: Call, kind: str = _name) -> Live:
        return _apply(low, call, kind, call["self"])


@_row("rsqrt")
def _rsqrt(low: Lowering, call: Call) -> Live:
    return low.emit("reciprocal", _apply(low, call, "sqrt", call["self"]))


@_row("log1p")
def _log1p(low: Lowering, call: Call) -> Live:
    return low.emit("log", _apply(low, call, "add", call["self"], 1.0))


@_row("expm1")
def _expm1(low: Lowering, call: Call) -> Live:
    return low.emit("sub", _apply(low, call, "exp", call["self"]), 1.0)


@_row("add", "sub")
def _sum(low: Lowering, call: Call) -> Live:
    """self ± alpha · other."""
    other, alpha = call["other"], call.args.get("alpha", 1)
    if alpha != 1:
        other = _apply(low, call, "mul", other, float(alpha)) if isinstance(other, Live) else _scaled(other, alpha)
    return _apply(low, call, call.name.removeprefix("aten::"), call["self"], other)


def _scaled(value: Any, factor: float) -> Any:
    if isinstance(value, Known):
        return Known(value.tensor * factor, value.hint, value.batched)
    return value * factor


@_row("rsub")
def _rsub(low: Lowering, call: Call) -> Live:
    """other - alpha · self."""
    scaled = call["self"] if call["alpha"] == 1 else _apply(low, call, "mul", call["self"], float(call["alpha"]))
    return _apply(low, call, "sub", call["other"], scaled)


@_row("mul")
def _mul(low: Lowering, call: Call) -> Live:
    if call.dtype is torch.bool:
        return _logic(low, call, "logical_and")
    for value, factor in ((call["self"], call["other"]), (call["other"], call["self"])):
        if _is_one(low, call, value, factor):
            return low.real(value)  # type: ignore[no-any-return]
    return _apply(low, call, "mul", call["self"], call["other"])


def _is_one(low: Lowering, call: Call, value: Any, factor: Any) -> bool:
    """Whether a product or quotient changes nothing, so that snnTorch's ungraded spikes stay spikes."""
    if isinstance(factor, Known):
        factor = 1 if bool((factor.tensor == 1).all()) else 0
    return factor == 1 and isinstance(value, Live) and low.shape(value) == call.shape


@_row("div")
def _div(low: Lowering, call: Call) -> Live:
    if call.args.get("rounding_mode") is not None:
        raise Refuse("divides to whole numbers", "use true division")
    if _is_one(low, call, call["self"], call["other"]):
        return low.real(call["self"])  # type: ignore[no-any-return]
    return _apply(low, call, "div", call["self"], call["other"])


@_row("pow")
def _pow(low: Lowering, call: Call) -> Live:
    base, exponent = call["self"], call["exponent"]
    if isinstance(base, (int, float)) and base > 0:
        return low.emit("exp", _apply(low, call, "mul", exponent, math.log(base)))
    x = low.real(base)
    powers: dict[float, Callable[[], Live]] = {
        1: lambda: x,
        2: lambda: _apply(low, call, "mul", x, x),
        3: lambda: low.emit("mul", _apply(low, call, "mul", x, x), x),
        0.5: lambda: _apply(low, call, "sqrt", x),
        -1: lambda: _apply(low, call, "reciprocal", x),
        -0.5: lambda: low.emit("reciprocal", _apply(low, call, "sqrt", x)),
    }
    if isinstance(exponent, (int, float)) and exponent in powers:
        return powers[exponent]()
    raise Refuse("has an exponent other than 1, 2, 3, 1/2, -1/2 and -1", "write it as products, exp and log")


@_row("maximum", "minimum")
def _extreme(low: Lowering, call: Call) -> Live:
    return _apply(low, call, call.name.removeprefix("aten::"), call["self"], call["other"])


@_row("clamp", "clamp_min", "clamp_max", "hardtanh")
def _clamp(low: Lowering, call: Call) -> Live:
    """min(max(x, low), high)."""
    least, most = (call.args.get(name, call.args.get(f"{name}_val")) for name in ("min", "max"))
    value = call["self"]
    if least is not None:
        value = _apply(low, call, "maximum", value, least)
    if most is not None:
        value = _apply(low, call, "minimum", value, most)
    return value  # type: ignore[no-any-return]


@_row("lerp")
def _lerp(low: Lowering, call: Call) -> Live:
    """self + weight · (end - self)."""
    change = _apply(low, call, "mul", _apply(low, call, "sub", call["end"], call["self"]), call["weight"])
    return _apply(low, call, "add", call["self"], change)


@_row("addcmul", "addcdiv")
def _addc(low: Lowering, call: Call) -> Live:
    """self + value · tensor1 · tensor2, or tensor1 / tensor2."""
    term = _apply(low, call, "mul" if call.name.endswith("mul") else "div", call["tensor1"], call["tensor2"])
    if call["value"] != 1:
        term = low.emit("mul", term, float(call["value"]))
    return _apply(low, call, "add", call["self"], term)


# --- activations -----------------------------------------------------------------------------------------------------


@_row("silu")
def _silu(low: Lowering, call: Call) -> Live:
    x = low.real(call["self"])
    return _apply(low, call, "mul", x, low.emit("sigmoid", x))


@_row("leaky_relu")
def _leaky_relu(low: Lowering, call: Call) -> Live:
    x = low.real(call["self"])
    return low.emit("where", low.emit("gt", x, 0.0), x, low.emit("mul", x, float(call["negative_slope"])))


@_row("_prelu_kernel")
def _prelu(low: Lowering, call: Call) -> Live:
    x, weight = low.real(call["self"]), call["weight"]
    if not isinstance(weight, Known) or (weight.tensor.numel() > 1 and call.rank > 2):
        raise Refuse("has slopes that are not constants of the last axis", "use one slope")
    slope = Known(weight.tensor.reshape(-1), weight.hint)
    return low.emit("where", low.emit("gt", x, 0.0), x, low.emit("mul", x, slope))


@_row("elu", "celu")
def _elu(low: Lowering, call: Call) -> Live:
    """scale · (x where x > 0, else alpha · (e^(input_scale · x) - 1)); celu has input_scale = 1 / alpha."""
    x, alpha, scale = low.real(call["self"]), float(call["alpha"]), float(call.args.get("scale", 1.0))
    inner_scale = call.args.get("input_scale", 1 / alpha)
    inner = x if inner_scale == 1 else low.emit("mul", x, float(inner_scale))
    below = low.emit("mul", low.emit("sub", low.emit("exp", inner), 1.0), alpha)
    y = low.emit("where", low.emit("gt", x, 0.0), x, below)
    return y if scale == 1 else low.emit("mul", y, scale)


@_row("mish")
def _mish(low: Lowering, call: Call) -> Live:
    """x · tanh(softplus(x))."""
    return low.emit("mul", low.real(call["self"]), low.emit("tanh", _softplus(low, call)))


@_row("softplus")
def _softplus(low: Lowering, call: Call) -> Live:
    """log(1 + e^(beta x)) / beta, and x itself where beta · x > threshold."""
    x, beta, threshold = low.real(call["self"]), float(call.args.get("beta", 1)), float(call.args.get("threshold", 20))
    inner = x if beta == 1 else low.emit("mul", x, beta)
    curve = low.emit("log", low.emit("add", low.emit("exp", inner), 1.0))
    curve = curve if beta == 1 else low.emit("div", curve, beta)
    return low.emit("where", low.emit("gt", inner, threshold), x, curve)


@_row("log_sigmoid_forward")
def _log_sigmoid(low: Lowering, call: Call) -> tuple[Live, Lost]:
    """-softplus(-x)."""
    negated = Call(call.name, {"self": low.emit("neg", low.real(call["self"]))}, call.shape, call.dtype)
    return low.emit("neg", _softplus(low, negated)), Lost("the buffer of a log sigmoid is not kept")


@_row("gelu")
def _gelu(low: Lowering, call: Call) -> Live:
    """x/2 · (1 + tanh(sqrt(2/π) · (x + 0.044715 x³))), the tanh form."""
    if call["approximate"] != "tanh":
        raise Refuse("needs the error function", "use GELU(approximate='tanh')")
    x = low.real(call["self"])
    cubic = low.emit("mul", low.emit("mul", low.emit("mul", x, x), x), 0.044715)
    inner = low.emit("mul", low.emit("add", x, cubic), math.sqrt(2 / math.pi))
    return low.emit("mul", low.emit("mul", x, 0.5), low.emit("add", low.emit("tanh", inner), 1.0))


@_row("hardsigmoid", "hardswish")
def _hardsigmoid(low: Lowering, call: Call) -> Live:
    """min(max(x + 3, 0), 6) / 6, times x for hardswish."""
    x = low.real(call["self"])
    gate = low.emit("minimum", low.emit("maximum", low.emit("add", x, 3.0), 0.0), 6.0)
    return low.emit("div", low.emit("mul", x, gate) if call.name.endswith("swish") else gate, 6.0)


@_row("threshold")
def _threshold(low: Lowering, call: Call) -> Live:
    x = low.real(call["self"])
    return low.emit("where", low.emit("gt", x, float(call["threshold"])), x, float(call["value"]))


@_row("_softmax", "_log_softmax")
def _softmax(low: Lowering, call: Call) -> Live:
    """e^(x - max x) / Σ e^(x - max x) along an axis, or its logarithm."""
    x = low.real(call["self"])
    axis = _axis(call["dim"], call.rank)
    shifted = low.emit("sub", x, low.emit("amax", x, axis=axis, keepdims=True))
    powers = low.emit("exp", shifted)
    total = low.emit("sum", powers, axis=axis, keepdims=True)
    return low.emit("sub", shifted, low.emit("log", total)) if "log" in call.name else low.emit("div", powers, total)


# --- comparisons, logic, choice --------------------------------------------------------------------------------------

for _name in ("gt", "ge", "lt", "le", "eq", "ne"):

    @_row(_name)
    def _compare(low: Lowering, call: Call, kind: str = _name) -> Live:
        """a ∘ b, with a < b as b > a.

        A difference compared with zero is the comparison of its terms: with gradual underflow a - b rounds to zero only
        if a = b, and so snnTorch's `mem - threshold > 0` is the strict threshold.
        """
        left, right = (low.operand(low.real(call[n]), call.rank) for n in ("self", "other"))
        maker, terms = low.producer(left)
        if maker == "sub" and _is_zero(right) and low.shape(left) == call.shape:
            left, right = (Live(term) for term in terms)
        if kind in ("lt", "le"):
            return low.emit("gt" if kind == "lt" else "ge", right, left)
        return low.emit(kind, left, right)


def _is_zero(value: Any) -> bool:
    return not value.tensor.any() if isinstance(value, Known) else value == 0


@_row("heaviside")
def _heaviside(low: Lowering, call: Call) -> Live:
    """1 where x > 0, `values` where x = 0."""
    at_zero = call["values"]
    if isinstance(at_zero, Known) and set(at_zero.tensor.reshape(-1).tolist()) in ({0.0}, {1.0}):
        kind = "ge" if at_zero.tensor.any() else "gt"
        return low.emit("cast", _apply(low, call, kind, call["self"], 0.0), to="float32")
    raise Refuse("has values at zero other than 0 or 1", "use a comparison")


def _logic(low: Lowering, call: Call, kind: str) -> Live:
    return low.emit(kind, *(low.operand(low.spike(call[n]), call.rank) for n in ("self", "other")))


@_row("logical_and", "bitwise_and", "logical_or", "bitwise_or")
def _and_or(low: Lowering, call: Call) -> Live:
    return _logic(low, call, "logical_and" if "and" in call.name else "logical_or")


@_row("logical_not", "bitwise_not")
def _not(low: Lowering, call: Call) -> Live:
    return low.emit("logical_not", low.spike(call["self"]))


@_row("where")
def _where(low: Lowering, call: Call) -> Live:
    condition = low.operand(low.spike(call["condition"]), call.rank)
    chosen = [low.operand(low.real(call[name]), call.rank) for name in ("self", "other")]
    return low.emit("where", condition, *chosen)


@_row("masked_fill")
def _masked_fill(low: Lowering, call: Call) -> Live:
    mask = low.operand(low.spike(call["mask"]), call.rank)
    return low.emit("where", mask, low.real(call["value"]), low.operand(low.real(call["self"]), call.rank))


# --- linear ----------------------------------------------------------------------------------------------------------


def _matrix(value: Any) -> Known:
    if not isinstance(value, Known) or value.batched:
        raise Refuse("combines values that change at run time where one must be constant", "use constant weights")
    return value


def _linear(low: Lowering, x: Any, weight: Known, bias: Any = None) -> Live:
    """W x + b over the last axis of x; weight [out, in]."""
    x = low.real(_live(x))
    if bias is None:
        return low.emit("linear", x, weight)
    if isinstance(bias, Known) and not bias.batched:
        vector = Known(bias.tensor.reshape(-1), bias.hint)
        if vector.tensor.numel() in (1, weight.tensor.shape[0]):
            return low.emit("linear", x, weight, vector)
    y = low.emit("linear", x, weight)
    return low.emit("add", y, low.operand(low.real(bias), _rank(low, y)))


def _live(value: Any) -> Live:
    if isinstance(value, Live):
        return value
    raise Refuse("has a constant where the input is expected", "use torch.nn.Linear")


def _turned(weight: Known) -> Known:
    return Known(weight.tensor.t().contiguous(), weight.hint)


@_row("mm")
def _mm(low: Lowering, call: Call) -> Live:
    return _linear(low, call["self"], _turned(_matrix(call["mat2"])))


@_row("mv")
def _mv(low: Lowering, call: Call) -> Live:
    vector = _matrix(call["vec"])
    y = _linear(low, call["self"], Known(vector.tensor[None], vector.hint))
    return low.emit("reshape", y, shape=call.shape)


@_row("addmm")
def _addmm(low: Lowering, call: Call) -> Live:
    """beta · self + alpha · mat1 mat2."""
    weight, bias = _turned(_matrix(call["mat2"])), call["self"]
    if call["alpha"] != 1:
        weight = _scaled(weight, call["alpha"])
    if call["beta"] != 1:
        bias = low.emit("mul", bias, float(call["beta"])) if isinstance(bias, Live) else _scaled(bias, call["beta"])
    return _linear(low, call["mat1"], weight, bias)


@_row("bmm")
def _bmm(low: Lowering, call: Call) -> Live:
    """A stack of products in which every sample meets the same constant matrix."""
    left, right = call["self"], call["mat2"]
    if isinstance(left, Live) and isinstance(right, Known) and right.batched:
        return _linear(low, left, _turned(right))
    if isinstance(right, Live) and isinstance(left, Known) and left.batched:
        y = _linear(low, low.emit("transpose", right, perm=(1, 0)), left)
        return low.emit("transpose", y, perm=(1, 0))
    raise Refuse("multiplies two values that change at run time", "use constant weights")


# --- normalisation ---------------------------------------------------------------------------------------------------


@_row("native_batch_norm", "_native_batch_norm_legit_no_training")
def _batch_norm(low: Lowering, call: Call) -> Any:
    """(x - mean) / sqrt(var + eps) · weight + bias per channel (axis 1), with the stored statistics."""
    if call.args.get("training"):
        raise Refuse("normalises with the statistics of the batch", "set track_running_stats=True and train with it")
    mean, variance = _matrix(call["running_mean"]), _matrix(call["running_var"])
    scale = (variance.tensor.double() + call["eps"]).rsqrt()
    if call["weight"] is not None:
        scale = scale * _matrix(call["weight"]).tensor.double()
    shift = -mean.tensor.double() * scale
    if call["bias"] is not None:
        shift = shift + _matrix(call["bias"]).tensor.double()
    ones = (1,) * (call.rank - 2)
    stem = mean.hint.removesuffix("running_mean").rstrip(".") or "batch_norm"
    parts = [Known(t.float().reshape(-1, *ones), f"{stem}.{n}") for t, n in ((scale, "scale"), (shift, "shift"))]
    y = low.emit("add", low.emit("mul", low.real(_live(call["input"])), parts[0]), parts[1])
    return y, *(Lost("batch statistics are not computed"),) * 2


@_row("native_layer_norm")
def _layer_norm(low: Lowering, call: Call) -> Any:
    """(x - mean x) / sqrt(var x + eps) · weight + bias over the last axes."""
    axes, x = len(call["normalized_shape"]), low.real(_live(call["input"]))
    size = math.prod(call["normalized_shape"])
    if axes >= call.rank:
        raise Refuse("normalises over the batch axis", BATCH_REMEDY)
    x = low.emit("reshape", x, shape=(*call.shape[:-axes], size)) if axes > 1 else x
    centred = low.emit("sub", x, _mean(low, x, len(low.shape(x)) - 1))
    variance = _mean(low, low.emit("mul", centred, centred), len(low.shape(x)) - 1)
    deviation = low.emit("sqrt", low.emit("add", variance, float(call["eps"])))
    y = low.emit("div", centred, deviation)
    for kind, name in (("mul", "weight"), ("add", "bias")):
        if call[name] is not None:
            factor = _matrix(call[name])
            y = low.emit(kind, y, Known(factor.tensor.reshape(-1), factor.hint))
    y = low.emit("reshape", y, shape=call.shape) if axes > 1 else y
    return y, Lost("the mean of a layer norm is not kept"), Lost("the deviation of a layer norm is not kept")


def _mean(low: Lowering, x: Live, axis: int) -> Live:
    total = low.emit("sum", x, axis=axis, keepdims=True)
    return low.emit("div", total, float(low.shape(x)[axis]))


# --- reductions ------------------------------------------------------------------------------------------------------


def _reduce(low: Lowering, call: Call, kind: str, value: Any) -> Live:
    """Reduce one axis after another, the last first, so that those before keep their numbers."""
    x: Live = low.real(_live(value))
    axes = call.args.get("dim")
    if axes is None or axes == ():
        raise Refuse("reduces the batch axis too", "name the axes: dim=1, …")
    keepdims = call.rank == _rank(low, x)
    for axis in sorted({_axis(a, _rank(low, x)) for a in ([axes] if isinstance(axes, int) else axes)}, reverse=True):
        x = low.emit(kind, x, axis=axis, keepdims=keepdims)
    return x


@_row("sum")
def _torch_sum(low: Lowering, call: Call) -> Live:
    return _reduce(low, call, "sum", call["self"])


@_row("mean")
def _torch_mean(low: Lowering, call: Call) -> Live:
    total = _reduce(low, call, "sum", call["self"])
    return low.emit("div", total, low.builder.tensor(call["self"].name).size / max(math.prod(call.shape), 1))


@_row("var")
def _var(low: Lowering, call: Call) -> Live:
    """Σ (x - mean x)² / (n - correction) over one axis."""
    axes = call.args.get("dim")
    if axes is None or len(axes) != 1:
        raise Refuse("takes the variance over several axes", "name one axis: dim=1, …")
    x = low.real(_live(call["self"]))
    axis = _axis(axes[0], _rank(low, x))
    correction = call.args.get("correction", 1 if call.args.get("unbiased", True) else 0)
    correction = 1 if correction is None else correction
    centred = low.emit("sub", x, _mean(low, x, axis))
    total = _reduce(low, call, "sum", low.emit("mul", centred, centred))
    return low.emit("div", total, float(low.shape(x)[axis] - correction))


@_row("cumsum")
def _cumsum(low: Lowering, call: Call) -> Live:
    return low.emit("cumsum", low.real(_live(call["self"])), axis=_axis(call["dim"], call.rank))


@_row("amax", "amin")
def _amax(low: Lowering, call: Call) -> Live:
    if call.name == "aten::amax":
        return _reduce(low, call, "amax", call["self"])
    return low.emit("neg", _reduce(low, call, "amax", low.emit("neg", low.real(_live(call["self"])))))


@_row("max", "min")
def _max(low: Lowering, call: Call) -> tuple[Live, Lost]:
    kind = call.name.removeprefix("aten::")
    values = _amax(low, Call(f"aten::a{kind}", call.args, call.shape, call.dtype))
    return values, Lost(f"the index of the {kind}imum is not computed; return the scores")


# --- movement --------------------------------------------------------------------------------------------------------


@_row("view", "_unsafe_view", "squeeze", "unsqueeze")
def _view(low: Lowering, call: Call) -> Live:
    """Any view that keeps the batch first: the same elements of each sample, row-major."""
    if isinstance(call["self"], Live) and low.shape(call["self"]) == call.shape:
        return call["self"]
    return low.emit("reshape", call["self"], shape=call.shape)


@_row("permute", "transpose", "t")
def _permute(low: Lowering, call: Call) -> Live:
    x = call["self"]
    order = list(range(_rank(low, x)))
    if call.name == "aten::permute":
        order = [d % len(order) for d in call["dims"]]
    else:
        a, b = (0, 1) if call.name == "aten::t" else (call["dim0"], call["dim1"])
        order[a], order[b] = order[b], order[a]
    if order[0] != 0:
        raise Refuse("moves the batch axis", BATCH_REMEDY)
    return low.emit("transpose", x, perm=tuple(d - 1 for d in order[1:]))


@_row("expand")
def _expand(low: Lowering, call: Call) -> Live:
    if _rank(low, call["self"]) < call.rank:
        raise Refuse("puts an axis before the batch", BATCH_REMEDY)
    return low.emit("expand", call["self"], shape=call.shape)


@_row("repeat")
def _repeat(low: Lowering, call: Call) -> Live:
    x, repeats = call["self"], call["repeats"]
    if len(repeats) != _rank(low, x) or repeats[0] != 1:
        raise Refuse("repeats the batch", BATCH_REMEDY)
    for axis, count in enumerate(repeats[1:]):
        if count != 1:
            x = low.emit("concat", *[x] * count, axis=axis)
    return x  # type: ignore[no-any-return]


@_row("slice")
def _slice(low: Lowering, call: Call) -> Live:
    x = call["self"]
    start, stop, step = call["start"] or 0, call["end"], call["step"]
    if call["dim"] % _rank(low, x) == 0:
        if start == 0 and step == 1 and (stop is None or stop >= 2**31):
            return x  # type: ignore[no-any-return]
        raise Refuse("takes some samples of the batch", BATCH_REMEDY)
    axis = _axis(call["dim"], _rank(low, x))
    size = low.shape(x)[axis]
    first, last, _ = slice(start, stop, step).indices(size)
    return low.emit("slice", x, axis=axis, start=first, stop=max(first, last), step=step)


@_row("select")
def _select(low: Lowering, call: Call) -> Live:
    x = call["self"]
    axis = _axis(call["dim"], _rank(low, x))
    at = call["index"] % low.shape(x)[axis]
    return low.emit("reshape", low.emit("slice", x, axis=axis, start=at, stop=at + 1), shape=call.shape)


@_row("split", "split_with_sizes", "unbind", "unsafe_split")
def _split(low: Lowering, call: Call) -> list[Live]:
    x = call["self"]
    axis = _axis(call["dim"], _rank(low, x))
    size = low.shape(x)[axis]
    sizes = 1 if call.name == "aten::unbind" else call.args.get("split_sizes", call.args.get("split_size"))
    if isinstance(sizes, int):
        sizes = [min(sizes, size - at) for at in range(0, size, sizes)]
    ends = np.cumsum(sizes).tolist()
    parts = [
        low.emit("slice", x, axis=axis, start=end - length, stop=end) for end, length in zip(ends, sizes, strict=True)
    ]
    return [low.emit("reshape", p, shape=call.shape) for p in parts] if call.name == "aten::unbind" else parts


@_row("cat", "stack")
def _concat(low: Lowering, call: Call) -> Live:
    axis = _axis(call["dim"], call.rank)
    parts = []
    for value in call["tensors"]:
        if not isinstance(value, Live) and not isinstance(value, Known):
            raise Refuse("joins something that is not a tensor")
        part = low.real(value) if call.dtype is torch.float32 else low.spike(value)
        if isinstance(part, Known) and not part.batched:
            raise Refuse("joins a constant for each sample of the batch", BATCH_REMEDY)
        if call.name == "aten::stack":
            own = low.shape(part) if isinstance(part, Live) else tuple(part.tensor.shape)
            part = low.emit("reshape", part, shape=(*own[:axis], 1, *own[axis:]))
        parts.append(part)
    return low.emit("concat", *parts, axis=axis)


def _gather(low: Lowering, x: Live, axis: int, indices: Sequence[int]) -> Live:
    size = low.shape(x)[axis]
    return low.emit("gather", x, axis=axis, indices=tuple(i % size for i in indices))


@_row("index_select")
def _index_select(low: Lowering, call: Call) -> Live:
    indices = _matrix(call["index"]).tensor.reshape(-1).tolist()
    return _gather(low, call["self"], _axis(call["dim"], _rank(low, call["self"])), indices)


@_row("gather")
def _torch_gather(low: Lowering, call: Call) -> Live:
    """x[…, index[…, i, …], …] where the index is constant, and alike along every other axis."""
    index, axis = call["index"], _axis(call["dim"], call.rank)
    known = isinstance(index, Known) and index.batched
    table = index.tensor.movedim(axis, -1).reshape(-1, call.shape[axis]) if known else None
    if table is None or bool((table != table[0]).any()):
        raise Refuse("picks by an index that differs between samples or rows", "pick along one axis: index_select")
    return _gather(low, call["self"], axis, table[0].tolist())


@_row("index")
def _index(low: Lowering, call: Call) -> Live:
    chosen = [(at, index) for at, index in enumerate(call["indices"]) if index is not None]
    if len(chosen) != 1:
        raise Refuse("indexes several axes at once", "index one axis after another")
    dim, index = chosen[0]
    indices = _matrix(index).tensor
    if indices.ndim != 1:
        raise Refuse("indexes with a table", "index with a vector")
    if indices.dtype is torch.bool:
        indices = indices.nonzero()[:, 0]
    return _gather(low, call["self"], _axis(dim, _rank(low, call["self"])), indices.tolist())


@_row("flip", "roll")
def _reorder(low: Lowering, call: Call) -> Live:
    x = call["self"]
    dims = call["dims"]
    shifts = call.args.get("shifts", [0] * len(dims))
    if not dims:
        raise Refuse("rolls the batch too", "name the axis: dims=1, …")
    for dim, shift in zip(dims, shifts, strict=True):
        axis = _axis(dim, _rank(low, x))
        size = low.shape(x)[axis]
        x = _gather(low, x, axis, [size - 1 - i if call.name == "aten::flip" else i - shift for i in range(size)])
    return x  # type: ignore[no-any-return]


@_row("constant_pad_nd")
def _pad(low: Lowering, call: Call) -> Live:
    x: Live = low.real(_live(call["self"]))
    widths = call["pad"]
    if min(widths) < 0 or len(widths) // 2 >= call.rank:
        raise Refuse("cuts, or pads the batch", "use torch.cat with constants")
    for at in range(len(widths) // 2):  # the last axis comes first
        axis = len(low.shape(x)) - 1 - at
        sides = []
        for width in widths[2 * at : 2 * at + 2]:
            shape = (*low.shape(x)[:axis], width, *low.shape(x)[axis + 1 :])
            sides.append([Known(torch.full(shape, float(call["value"])), "const.pad")] if width else [])
        x = low.emit("concat", *sides[0], x, *sides[1], axis=axis)
    return x
