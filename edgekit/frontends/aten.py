"""The lowering table: one row for each ATen call, from its arguments to ops of the graph, in full shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import torch
from torch._decomp import decomposition_table
from torch._ops import OpOverload

from edgekit.frontends import formulas
from edgekit.frontends.emitter import LARGEST, Known, Live, Operand, Refuse
from edgekit.frontends.formulas import apply
from edgekit.frontends.lower import WHOLE, Call, Lost, Lowering, Row
from edgekit.frontends.record import Decomposed, key_of

ROWS: dict[str, Row] = {}


def decomposer(known: Collection[str]) -> Decomposed:
    """torch's own way to compute an operator without a row from simpler ones, None where there is no need or no way."""

    def decomposed(target: OpOverload) -> Callable[..., Any] | None:
        if key_of(target) in known:
            return None
        simpler = decomposition_table.get(target)
        return target.decompose if simpler is None and target._can_decompose() else simpler

    return decomposed


def row(*names: str) -> Callable[[Row], Row]:
    """Add a function to the table under the names of its ATen operators."""

    def add(function: Row) -> Row:
        ROWS.update({name if ":" in name else f"aten::{name}": function for name in names})
        return function

    return add


def axis_of(axis: int, rank: int) -> int:
    """An axis of torch, counted from the end if negative, as one of the graph."""
    return axis % rank if rank else axis


def axes_of(axes: Any, rank: int) -> list[int]:
    """One axis, several, or all of them."""
    if axes is None or axes == ():
        return list(range(rank))
    return sorted({axis_of(a, rank) for a in ([axes] if isinstance(axes, int) else axes)})


# --- values that pass through ----------------------------------------------------------------------------------------


@row("clone", "detach", "alias", "lift_fresh_copy")
def _same(_: Lowering, call: Call) -> Any:
    return next(iter(call.args.values()))


@row("_to_copy")
def _convert(low: Lowering, call: Call) -> Any:
    value = next(iter(call.args.values()))
    if call.dtype is torch.bool:
        return low.spike(value)
    value, whole = low.real(value), call.dtype in WHOLE
    if whole and not low.is_whole(value):  # towards zero
        return formulas.truncated(low, value)
    return value


# --- elementwise -----------------------------------------------------------------------------------------------------

UNARY = ("neg", "abs", "sign", "exp", "log", "sqrt", "reciprocal", "tanh", "sigmoid", "relu", "erf", "sin", "cos")
for _name in (*UNARY, "floor", "round"):

    @row(_name)
    def _unary(low: Lowering, call: Call, kind: str = _name) -> Live:
        if call.args.get("decimals"):
            raise Refuse("rounds to decimals", "scale before and after")
        return apply(low, kind, call["self"])


@row("ceil")
def _ceil(low: Lowering, call: Call) -> Live:
    return low.emit("neg", low.emit("floor", apply(low, "neg", call["self"])))


@row("trunc")
def _trunc(low: Lowering, call: Call) -> Live:
    return formulas.truncated(low, call["self"])


@row("tan")
def _tan(low: Lowering, call: Call) -> Live:
    x = low.real(call["self"])
    return low.emit("div", low.emit("sin", x), low.emit("cos", x))


@row("acos", "asin", "atan")
def _inverse(low: Lowering, call: Call) -> Live:
    rows = {"acos": formulas.acos, "asin": formulas.asin, "atan": formulas.atan}
    return rows[call.name.removeprefix("aten::")](low, call["self"])


@row("atan2")
def _atan2(low: Lowering, call: Call) -> Live:
    """atan(y / x), turned by π where x < 0; 0 where both are 0."""
    y, x = low.real(call["self"]), low.real(call["other"])
    upright = low.emit("eq", x, 0.0)
    angle = formulas.atan(low, low.emit("div", y, low.emit("where", upright, 1.0, x)))
    half = low.emit("where", low.emit("ge", y, 0.0), math.pi, -math.pi)
    turned = low.emit("where", low.emit("gt", 0.0, x), low.emit("add", angle, half), angle)
    vertical = low.emit("mul", low.emit("sign", y), math.pi / 2)
    return low.emit("where", upright, vertical, turned)


@row("hypot")
def _hypot(low: Lowering, call: Call) -> Live:
    """sqrt(x² + y²)."""
    squares = [low.emit("mul", v, v) for v in (low.real(call["self"]), low.real(call["other"]))]
    return low.emit("sqrt", apply(low, "add", *squares))


@row("logaddexp")
def _log_add_exp(low: Lowering, call: Call) -> Live:
    """max(x, y) + log(1 + e^-|x - y|)."""
    x, y = low.real(call["self"]), low.real(call["other"])
    gap = low.emit("neg", low.emit("abs", apply(low, "sub", x, y)))
    return low.emit("add", apply(low, "maximum", x, y), low.emit("log", low.emit("add", low.emit("exp", gap), 1.0)))


@row("isnan")
def _is_nan(low: Lowering, call: Call) -> Live:
    x = low.real(call["self"])
    return low.emit("ne", x, x)


@row("nan_to_num")
def _nan_to_num(low: Lowering, call: Call) -> Live:
    """NaN as `nan`, infinities as the ends of the range."""
    x = low.real(call["self"])
    ends = [call[n] if call[n] is not None else end for n, end in (("neginf", -LARGEST), ("posinf", LARGEST))]
    known = low.emit("where", low.emit("ne", x, x), float(call["nan"] or 0.0), x)
    return formulas.clip(low, known, *map(float, ends))


@row("copysign")
def _copysign(low: Lowering, call: Call) -> Live:
    size = apply(low, "abs", call["self"])
    return low.emit("where", low.emit("ge", low.real(call["other"]), 0.0), size, low.emit("neg", size))


@row("rsqrt")
def _rsqrt(low: Lowering, call: Call) -> Live:
    return low.emit("reciprocal", apply(low, "sqrt", call["self"]))


@row("log1p")
def _log1p(low: Lowering, call: Call) -> Live:
    return low.emit("log", apply(low, "add", call["self"], 1.0))


@row("log2", "log10")
def _log_of_base(low: Lowering, call: Call) -> Live:
    return low.emit("mul", apply(low, "log", call["self"]), 1 / math.log(2 if call.name.endswith("2") else 10))


@row("exp2")
def _exp2(low: Lowering, call: Call) -> Live:
    return low.emit("exp", apply(low, "mul", call["self"], math.log(2)))


@row("expm1")
def _expm1(low: Lowering, call: Call) -> Live:
    return low.emit("sub", apply(low, "exp", call["self"]), 1.0)


@row("sinh", "cosh")
def _hyperbolic(low: Lowering, call: Call) -> Live:
    """(e^x ∓ e^-x) / 2."""
    up = apply(low, "exp", call["self"])
    pair = low.emit("sub" if call.name.endswith("sinh") else "add", up, low.emit("reciprocal", up))
    return low.emit("mul", pair, 0.5)


@row("add", "sub")
def _sum(low: Lowering, call: Call) -> Live:
    """self ± alpha · other."""
    return apply(
        low, call.name.removeprefix("aten::"), call["self"], _scaled(low, call["other"], call.args.get("alpha", 1))
    )


def _scaled(low: Lowering, value: Any, factor: float) -> Any:
    if factor == 1:
        return value
    if isinstance(value, Known):
        return Known(value.array * factor, value.hint)
    return apply(low, "mul", value, float(factor)) if isinstance(value, Live) else value * factor


@row("rsub")
def _rsub(low: Lowering, call: Call) -> Live:
    """other - alpha · self."""
    return apply(low, "sub", call["other"], _scaled(low, call["self"], call["alpha"]))


@row("mul")
def _mul(low: Lowering, call: Call) -> Live:
    if call.dtype is torch.bool:
        return _logic(low, call, "logical_and")
    for value, factor in ((call["self"], call["other"]), (call["other"], call["self"])):
        if _is_one(low, call, value, factor):
            return low.real(value)  # type: ignore[no-any-return]
    return apply(low, "mul", call["self"], call["other"])


def _is_one(low: Lowering, call: Call, value: Any, factor: Any) -> bool:
    """Whether a product or quotient changes nothing, so that snnTorch's ungraded spikes stay spikes."""
    if isinstance(factor, Known):
        factor = 1 if bool((factor.array == 1).all()) else 0
    return factor == 1 and isinstance(value, Live) and low.shape(value) == call.shape


@row("div")
def _div(low: Lowering, call: Call) -> Live:
    mode = call.args.get("rounding_mode")
    if mode is None and _is_one(low, call, call["self"], call["other"]):
        return low.real(call["self"])  # type: ignore[no-any-return]
    y = apply(low, "div", call["self"], call["other"])
    if mode == "trunc":
        return formulas.truncated(low, y)
    return y if mode is None else low.emit("floor", y)


@row("floor_divide")
def _floor_divide(low: Lowering, call: Call) -> Live:
    return low.emit("floor", apply(low, "div", call["self"], call["other"]))


@row("remainder", "fmod")
def _remainder(low: Lowering, call: Call) -> Live:
    """self - other · floor(self / other), or of the quotient cut towards zero."""
    x, y = low.real(call["self"]), low.real(call["other"])
    quotient = low.emit("div", x, y)
    floor = call.name.endswith("remainder")
    whole = low.emit("floor", quotient) if floor else formulas.truncated(low, quotient)
    return low.emit("sub", x, low.emit("mul", whole, y))


@row("pow")
def _pow(low: Lowering, call: Call) -> Live:
    return formulas.power(low, call["self"], call["exponent"])


@row("maximum", "minimum")
def _extreme(low: Lowering, call: Call) -> Live:
    return apply(low, call.name.removeprefix("aten::"), call["self"], call["other"])


@row("clamp", "clamp_min", "clamp_max", "hardtanh")
def _clamp(low: Lowering, call: Call) -> Live:
    """min(max(x, low), high)."""
    least, most = (call.args.get(name, call.args.get(f"{name}_val")) for name in ("min", "max"))
    return formulas.clip(low, call["self"], least, most)


@row("lerp")
def _lerp(low: Lowering, call: Call) -> Live:
    """self + weight · (end - self)."""
    change = apply(low, "mul", apply(low, "sub", call["end"], call["self"]), call["weight"])
    return apply(low, "add", call["self"], change)


@row("addcmul", "addcdiv")
def _addc(low: Lowering, call: Call) -> Live:
    """self + value · tensor1 · tensor2, or tensor1 / tensor2."""
    term = apply(low, "mul" if call.name.endswith("mul") else "div", call["tensor1"], call["tensor2"])
    return apply(low, "add", call["self"], _scaled(low, term, call["value"]))


# --- activations -----------------------------------------------------------------------------------------------------


@row("silu", "mish")
def _gated(low: Lowering, call: Call) -> Live:
    return (formulas.silu if call.name.endswith("silu") else formulas.mish)(low, call["self"])


@row("leaky_relu")
def _leaky_relu(low: Lowering, call: Call) -> Live:
    return formulas.leaky_relu(low, call["self"], float(call["negative_slope"]))


@row("_prelu_kernel", "prelu")
def _prelu(low: Lowering, call: Call) -> Live:
    weight = call["weight"]
    if math.prod(low.shape(weight)) > 1 and len(low.shape(weight)) == 1:
        weight = formulas.per_channel(low, weight, call.rank)
    return formulas.leaky_relu(low, call["self"], weight)


@row("elu", "celu")
def _elu(low: Lowering, call: Call) -> Live:
    alpha = float(call["alpha"])
    scales = call.args.get("scale", 1.0), call.args.get("input_scale", 1 / alpha)
    return formulas.elu(low, call["self"], alpha, *map(float, scales))


@row("softplus")
def _softplus(low: Lowering, call: Call) -> Live:
    return formulas.softplus(low, call["self"], float(call["beta"]), float(call["threshold"]))


@row("log_sigmoid_forward")
def _log_sigmoid(low: Lowering, call: Call) -> tuple[Live, Lost]:
    """-softplus(-x)."""
    negated = formulas.softplus(low, apply(low, "neg", call["self"]))
    return low.emit("neg", negated), Lost("the buffer of a log sigmoid is not kept")


@row("gelu")
def _gelu(low: Lowering, call: Call) -> Live:
    return formulas.gelu(low, call["self"], call["approximate"])


@row("hardsigmoid", "hardswish")
def _hardsigmoid(low: Lowering, call: Call) -> Live:
    return (formulas.hard_swish if call.name.endswith("swish") else formulas.hard_sigmoid)(low, call["self"])


@row("threshold")
def _threshold(low: Lowering, call: Call) -> Live:
    x = low.real(call["self"])
    return low.emit("where", low.emit("gt", x, float(call["threshold"])), x, float(call["value"]))


@row("_softmax", "_log_softmax", "_safe_softmax")
def _softmax(low: Lowering, call: Call) -> Live:
    return formulas.softmax(low, call["self"], axis_of(call["dim"], call.rank), log="log" in call.name)


# --- comparisons, logic, choice --------------------------------------------------------------------------------------

for _name in ("gt", "ge", "lt", "le", "eq", "ne"):

    @row(_name)
    def _compare(low: Lowering, call: Call, kind: str = _name) -> Live:
        """a ∘ b, with a < b as b > a.

        A difference compared with zero is the comparison of its terms: with gradual underflow a - b rounds to zero only
        if a = b, and so snnTorch's `mem - threshold > 0` is the strict threshold.
        """
        left, right = (low.real(call[n]) for n in ("self", "other"))
        maker, terms = low.producer(left)
        if maker == "sub" and _is_zero(right) and low.shape(left) == call.shape:
            left, right = (Live(term) for term in terms)
        if kind in ("lt", "le"):
            return low.emit("gt" if kind == "lt" else "ge", right, left)
        return low.emit(kind, left, right)


def _is_zero(value: Any) -> bool:
    return not value.array.any() if isinstance(value, Known) else value == 0


@row("heaviside")
def _heaviside(low: Lowering, call: Call) -> Live:
    """1 where x > 0, `values` where x = 0."""
    at_zero = call["values"]
    if isinstance(at_zero, Known) and set(at_zero.array.reshape(-1).tolist()) in ({0.0}, {1.0}):
        kind = "ge" if at_zero.array.any() else "gt"
        return low.emit("cast", apply(low, kind, call["self"], 0.0), to="float32")
    raise Refuse("has values at zero other than 0 or 1", "use a comparison")


def _logic(low: Lowering, call: Call, kind: str) -> Live:
    return low.emit(kind, *(low.spike(call[n]) for n in ("self", "other")))


@row("logical_and", "bitwise_and", "logical_or", "bitwise_or")
def _and_or(low: Lowering, call: Call) -> Live:
    if call.dtype is not torch.bool:
        raise Refuse("works on the bits of integers", "use comparisons and logical operators")
    return _logic(low, call, "logical_and" if "and" in call.name else "logical_or")


@row("logical_not", "bitwise_not")
def _not(low: Lowering, call: Call) -> Live:
    return low.emit("logical_not", low.spike(call["self"]))


@row("logical_xor", "bitwise_xor")
def _xor(low: Lowering, call: Call) -> Live:
    """Either and not both."""
    both = low.emit("logical_not", _logic(low, call, "logical_and"))
    return low.emit("logical_and", _logic(low, call, "logical_or"), both)


@row("any", "all")
def _any(low: Lowering, call: Call) -> Live:
    """Whether the largest is not zero; all, where none of them fails."""
    every = call.name.endswith("all")
    x = low.spike(call["self"])
    x = low.real(low.emit("logical_not", x) if every else x)
    axes = axes_of(call.args.get("dim"), len(low.shape(x)))
    found = low.spike(formulas.reduce(low, "amax", x, axes, keepdims=call.rank == len(low.shape(x))))
    return low.emit("logical_not", found) if every else low.live(found)


@row("where")
def _where(low: Lowering, call: Call) -> Live:
    chosen = [call[name] for name in ("self", "other")]
    if call.dtype is torch.bool:
        yes, no = map(low.spike, chosen)
        condition = low.spike(call["condition"])
        kept = low.emit("logical_and", low.emit("logical_not", condition), no)
        return low.emit("logical_or", low.emit("logical_and", condition, yes), kept)
    return low.emit("where", low.spike(call["condition"]), *map(low.real, chosen))


@row("masked_fill")
def _masked_fill(low: Lowering, call: Call) -> Live:
    return low.emit("where", low.spike(call["mask"]), low.real(call["value"]), low.real(call["self"]))


@row("fake_quantize_per_tensor_affine_cachemask", "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams")
def _fake_quantize(low: Lowering, call: Call) -> Any:
    """(clamp(round(x / scale) + zero_point, low, high) - zero_point) · scale."""
    scale, zero = low.real(call["scale"]), low.real(call["zero_point"])
    inverse = low.known(scale)
    if inverse is None:
        raise Refuse("has a scale that changes at run time", "freeze the observers")
    steps = Known(np.float32(1) / inverse.array.astype(np.float32), "const.inverse")  # as torch does it
    shifted = apply(low, "add", low.emit("round", apply(low, "mul", call["self"], steps)), zero)
    kept = formulas.clip(low, shifted, float(call["quant_min"]), float(call["quant_max"]))
    y = apply(low, "mul", apply(low, "sub", kept, zero), scale)
    return low.reshape(y, call.shape), Lost("the mask of a fake quantisation is not kept")


# --- linear ----------------------------------------------------------------------------------------------------------


@row("mm", "bmm")
def _mm(low: Lowering, call: Call) -> Live:
    return formulas.matmul(low, call["self"], call["mat2"])


@row("mv", "dot")
def _mv(low: Lowering, call: Call) -> Live:
    return formulas.matmul(low, call["self"], call["vec" if call.name.endswith("mv") else "tensor"])


@row("addmm", "baddbmm", "addmv")
def _addmm(low: Lowering, call: Call) -> Live:
    """beta · self + alpha · mat1 mat2."""
    names = {"aten::addmm": ("mat1", "mat2"), "aten::baddbmm": ("batch1", "batch2")}.get(call.name, ("mat", "vec"))
    left, right = (call[n] for n in names)
    bias, right = _scaled(low, call["self"], call["beta"]), _scaled(low, right, call["alpha"])
    if isinstance(right, Known) and right.array.ndim == 2:
        turned = Known(np.ascontiguousarray(right.array.T), right.hint)
        return formulas.linear(low, left, turned, bias)
    return apply(low, "add", formulas.matmul(low, left, right), bias)


@row("_trilinear")
def _trilinear(low: Lowering, call: Call) -> Live:
    """Σ i1 · i2 · i3 over `sumdim`, each factor with axes of length one put in where it has none."""
    factors = []
    for name, key in (("i1", "expand1"), ("i2", "expand2"), ("i3", "expand3")):
        shape = list(low.shape(call[name]))
        for axis in sorted(call[key]):
            shape.insert(axis, 1)
        factors.append(low.reshape(low.real(call[name]), shape))
    y = apply(low, "mul", apply(low, "mul", factors[0], factors[2]), factors[1])
    return formulas.reduce(low, "sum", y, list(call["sumdim"]), keepdims=False)


# --- normalisation ---------------------------------------------------------------------------------------------------


@row("native_batch_norm", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit")
def _batch_norm(low: Lowering, call: Call) -> Any:
    """(x - mean) / sqrt(var + eps) · weight + bias per channel (axis 1), with the stored statistics.

    With those of the batch, which is one sample here, it is the norm of each channel of a sample: discovery has seen
    that samples do not mix (torch computes instance norms so).
    """
    factors = [call.args.get(n) for n in ("weight", "bias", "running_mean", "running_var")]
    mean = factors[2]
    stem = mean.hint.removesuffix("running_mean").rstrip(".") if isinstance(mean, Known) else ""
    if call.args.get("training"):
        y = formulas.channel_norm(low, call["input"], weight=factors[0], bias=factors[1], eps=call["eps"])
    else:
        y = formulas.batch_norm(low, call["input"], factors, call["eps"], stem or "batch_norm")
    return y, *(Lost("batch statistics are not computed"),) * 2


@row("native_layer_norm")
def _layer_norm(low: Lowering, call: Call) -> Any:
    axes = len(call["normalized_shape"])
    y = formulas.layer_norm(low, call["input"], axes, weight=call["weight"], bias=call["bias"], eps=call["eps"])
    return y, Lost("the mean of a layer norm is not kept"), Lost("the deviation of a layer norm is not kept")


@row("native_group_norm")
def _group_norm(low: Lowering, call: Call) -> Any:
    y = formulas.group_norm(
        low, call["input"], call["group"], weight=call["weight"], bias=call["bias"], eps=call["eps"]
    )
    return y, Lost("the mean of a group norm is not kept"), Lost("the deviation of a group norm is not kept")


# --- reductions ------------------------------------------------------------------------------------------------------


def _reduced(low: Lowering, call: Call, kind: str, value: Any) -> Live:
    rank = len(low.shape(value))
    return formulas.reduce(low, kind, value, axes_of(call.args.get("dim"), rank), keepdims=call.rank == rank > 0)


@row("sum")
def _torch_sum(low: Lowering, call: Call) -> Live:
    return _reduced(low, call, "sum", call["self"])


@row("mean")
def _torch_mean(low: Lowering, call: Call) -> Live:
    rank = len(low.shape(call["self"]))
    return formulas.mean(low, call["self"], axes_of(call.args.get("dim"), rank), keepdims=call.rank == rank > 0)


@row("var")
def _variance(low: Lowering, call: Call) -> Live:
    """Σ (x - mean)² / (n - correction)."""
    x, rank = low.real(call["self"]), len(low.shape(call["self"]))
    correction = call.args.get("correction")
    correction = (1 if call.args.get("unbiased", True) else 0) if correction is None else correction
    axes = axes_of(call.args.get("dim"), rank)
    centred = low.emit("sub", x, formulas.mean(low, x, axes, keepdims=True))
    total = formulas.reduce(low, "sum", low.emit("mul", centred, centred), axes, keepdims=call.rank == rank > 0)
    return low.emit("div", total, float(math.prod(low.shape(x)[a] for a in axes) - correction))


@row("cumsum")
def _cumsum(low: Lowering, call: Call) -> Live:
    return low.emit("cumsum", low.live(low.real(call["self"])), axis=axis_of(call["dim"], call.rank))


@row("amax", "amin")
def _amax(low: Lowering, call: Call) -> Live:
    if call.name == "aten::amax":
        return _reduced(low, call, "amax", call["self"])
    return low.emit("neg", _reduced(low, call, "amax", low.emit("neg", low.real(call["self"]))))


@row("argmax", "argmin")
def _argmax(low: Lowering, call: Call) -> Operand:
    """The first place of the largest or smallest element, along an axis or of all in a row."""
    x = low.live(low.real(call["self"]))
    x = low.emit("neg", x) if call.name.endswith("min") else x
    if call["dim"] is None:
        flat = low.live(low.reshape(x, (math.prod(low.shape(x)),)))
        return low.reshape(formulas.arg_max(low, flat, 0, keepdims=False), call.shape)
    axis = axis_of(call["dim"], len(low.shape(x)))
    return formulas.arg_max(low, x, axis, keepdims=call["keepdim"])


@row("max", "min")
def _max(low: Lowering, call: Call) -> Any:
    kind = call.name.removeprefix("aten::")
    values = _amax(low, Call(f"aten::a{kind}", call.args, call.shape, call.dtype))
    if "dim" not in call.args:
        return values
    return values, _argmax(low, Call(f"aten::arg{kind}", call.args, call.shape, torch.int64))


@row("prod")
def _prod(low: Lowering, call: Call) -> Live:
    x = low.live(low.real(call["self"]))
    if call.args.get("dim") is None:
        return formulas.product(low, low.reshape(x, (math.prod(low.shape(x)),)), 0, keepdims=False)
    return formulas.product(low, x, axis_of(call["dim"], len(low.shape(x))), keepdims=call["keepdim"])


@row("logsumexp")
def _log_sum_exp(low: Lowering, call: Call) -> Live:
    rank = len(low.shape(call["self"]))
    return formulas.log_sum_exp(low, call["self"], axes_of(call["dim"], rank), keepdims=call.rank == rank)
