"""Rows of elementwise operators: arithmetic, comparison, logic, casts, activations."""

from __future__ import annotations

from collections.abc import Callable

from edgekit.frontends import formulas as f
from edgekit.frontends.emitter import Emitter, Known, Live, Operand, Refuse
from edgekit.frontends.onnx.lowering import Lowering, Node, Row
from edgekit.frontends.onnx.reading import onnx_module

SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


def unary(kind: str) -> Row:
    """A function of the op table under another name."""

    def row(lowering: Lowering, node: Node) -> Operand:
        lowering.floats_only(node)
        return f.apply(lowering.e, kind, lowering.operand(node, 0))

    return row


def exact_unary(kind: str) -> Row:
    """A function that maps whole numbers to whole numbers."""
    return lambda lowering, node: f.apply(lowering.e, kind, lowering.operand(node, 0))


def binary(kind: str) -> Row:
    """Arithmetic of two floats that broadcast."""

    def row(lowering: Lowering, node: Node) -> Operand:
        lowering.floats_only(node)
        return f.apply(lowering.e, kind, lowering.operand(node, 0), lowering.operand(node, 1))

    return row


def compare(kind: str) -> Row:
    """A comparison; truth values count as 0 and 1."""
    return lambda lowering, node: f.apply(lowering.e, kind, lowering.operand(node, 0), lowering.operand(node, 1))


def logic(kind: str) -> Row:
    """Logic on truth values."""

    def row(lowering: Lowering, node: Node) -> Operand:
        return lowering.e.emit(kind, *(lowering.e.spike(v) for v in lowering.operands(node)))

    return row


def many(kind: str, *, exact: bool = False, mean: bool = False) -> Row:
    """An operator over any number of inputs, from left to right."""

    def row(lowering: Lowering, node: Node) -> Operand:
        if not exact:
            lowering.floats_only(node)
        first, *rest = lowering.operands(node)
        y: Operand = first
        for value in rest:
            y = f.apply(lowering.e, kind, y, value)
        return f.apply(lowering.e, "div", y, float(len(rest) + 1)) if mean else y

    return row


def activation(make: Callable[[Emitter, Operand, Node], Operand]) -> Row:
    """A formula of one float input and the node's attributes."""

    def row(lowering: Lowering, node: Node) -> Operand:
        lowering.floats_only(node)
        return make(lowering.e, lowering.e.real(lowering.operand(node, 0)), node)

    return row


def plain(make: Callable[[Emitter, Operand], Operand]) -> Row:
    """A formula of one float input."""
    return activation(lambda e, x, _: make(e, x))


def _ceil(e: Emitter, x: Operand) -> Operand:
    return e.emit("neg", e.emit("floor", e.emit("neg", x)))


def _tan(e: Emitter, x: Operand) -> Operand:
    return e.emit("div", e.emit("sin", x), e.emit("cos", x))


def _sinh(e: Emitter, x: Operand) -> Operand:
    powers = e.emit("exp", x)
    return e.emit("mul", e.emit("sub", powers, e.emit("reciprocal", powers)), 0.5)


def _cosh(e: Emitter, x: Operand) -> Operand:
    powers = e.emit("exp", x)
    return e.emit("mul", e.emit("add", powers, e.emit("reciprocal", powers)), 0.5)


def softsign(e: Emitter, x: Operand) -> Live:
    """x / (1 + |x|)."""
    return e.emit("div", x, e.emit("add", e.emit("abs", x), 1.0))


def thresholded_relu(e: Emitter, x: Operand, alpha: float) -> Live:
    """x where x > alpha, else 0."""
    return e.emit("where", e.emit("gt", x, alpha), x, 0.0)


def _shrink(e: Emitter, x: Operand, node: Node) -> Operand:
    limit, bias = float(node.attr("lambd", 0.5)), float(node.attr("bias", 0.0))
    low, high = e.emit("add", x, bias), e.emit("sub", x, bias)
    above = e.emit("where", e.emit("gt", x, limit), high, 0.0)
    return e.emit("where", e.emit("lt", x, -limit), low, above)


def _celu(e: Emitter, x: Operand, node: Node) -> Operand:
    alpha = float(node.attr("alpha", 1.0))
    return f.elu(e, x, alpha=alpha, input_scale=1 / alpha)


def _selu(e: Emitter, x: Operand, node: Node) -> Operand:
    return f.elu(e, x, alpha=float(node.attr("alpha", SELU_ALPHA)), scale=float(node.attr("gamma", SELU_GAMMA)))


def hard_sigmoid(e: Emitter, x: Operand, alpha: float, beta: float) -> Live:
    """max(0, min(1, alpha · x + beta)) as it stands, without torch's rounding."""
    return f.clip(e, e.emit("add", e.emit("mul", x, alpha), beta), 0.0, 1.0)


def _hard_swish(e: Emitter, x: Operand) -> Operand:
    return e.emit("mul", x, hard_sigmoid(e, x, 1 / 6, 0.5))


def _clip(lowering: Lowering, node: Node) -> Operand:
    return f.clip(lowering.e, lowering.operand(node, 0), lowering.optional(node, 1), lowering.optional(node, 2))


def _prelu(lowering: Lowering, node: Node) -> Operand:
    lowering.floats_only(node)
    return f.leaky_relu(lowering.e, lowering.operand(node, 0), lowering.operand(node, 1))


def _pow(lowering: Lowering, node: Node) -> Operand:
    lowering.floats_only(node)
    return f.power(lowering.e, lowering.operand(node, 0), lowering.operand(node, 1))


def _xor(lowering: Lowering, node: Node) -> Operand:
    return f.apply(lowering.e, "ne", lowering.operand(node, 0), lowering.operand(node, 1))


def _where(lowering: Lowering, node: Node) -> Operand:
    e = lowering.e
    condition, x, y = lowering.operands(node)
    return e.emit("where", e.spike(condition), e.real(x), e.real(y))


def _mod(lowering: Lowering, node: Node) -> Operand:
    """x - y · floor(x / y), or with `fmod` what is left over with the sign of x."""
    lowering.floats_only(node)
    e = lowering.e
    x, y = (e.real(lowering.operand(node, at)) for at in range(2))
    ratio = e.emit("div", x, y)
    whole = f.truncated(e, ratio) if node.attr("fmod", 0) else e.emit("floor", ratio)
    return e.emit("sub", x, e.emit("mul", y, whole))


def _cast(lowering: Lowering, node: Node) -> Operand:
    return cast_to(lowering, node, int(node.attr("to")))


def _cast_like(lowering: Lowering, node: Node) -> Operand:
    like = lowering.type_of(node.inputs[1])
    if not like:
        raise Refuse("casts to a type that the file does not tell", "use Cast")
    return cast_to(lowering, node, like)


def cast_to(lowering: Lowering, node: Node, to: int) -> Operand:
    """An operand as another element type; float16 and float64 are computed in float32."""
    kinds, e = onnx_module().TensorProto, lowering.e
    value, source = lowering.operand(node, 0), lowering.type_of(node.inputs[0])
    if isinstance(value, Known):
        return Known(value.array.astype(onnx_module().helper.tensor_dtype_to_np_dtype(to)), value.hint)
    if to == kinds.BOOL:
        return e.live(e.spike(value))
    if to in (kinds.FLOAT, kinds.DOUBLE, kinds.FLOAT16, kinds.BFLOAT16):
        if to not in (kinds.FLOAT, source) and isinstance(value, Live):
            lowering.note(f"{kinds.DataType.Name(to).lower()} values are computed in float32")
        return e.live(e.real(value))
    if to in lowering.integers:
        whole = source in lowering.integers or lowering.is_bool(value)
        if to not in (kinds.INT32, kinds.INT64) and not lowering.is_bool(value) and source != to:
            # ONNX leaves open what becomes of a value out of range
            lowering.note(
                f"{node.outputs[0]}: what does not fit into {kinds.DataType.Name(to).lower()} is kept as it is"
            )
        return e.live(e.real(value)) if whole else f.truncated(e, e.real(value))
    raise Refuse(f"casts to {kinds.DataType.Name(to).lower()}", "compute in float32, with comparisons as bool")


ROWS: dict[str, Row] = {
    **{
        op: unary(kind)
        for op, kind in {
            "Exp": "exp",
            "Log": "log",
            "Sqrt": "sqrt",
            "Reciprocal": "reciprocal",
            "Tanh": "tanh",
            "Sigmoid": "sigmoid",
            "Erf": "erf",
            "Sin": "sin",
            "Cos": "cos",
            "Floor": "floor",
            "Round": "round",
        }.items()
    },
    **{op: exact_unary(kind) for op, kind in {"Abs": "abs", "Neg": "neg", "Sign": "sign", "Relu": "relu"}.items()},
    **{op: binary(kind) for op, kind in {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}.items()},
    **{
        op: compare(kind)
        for op, kind in {
            "Greater": "gt",
            "GreaterOrEqual": "ge",
            "Less": "lt",
            "LessOrEqual": "le",
            "Equal": "eq",
        }.items()
    },
    "And": logic("logical_and"),
    "Or": logic("logical_or"),
    "Not": logic("logical_not"),
    "Xor": _xor,
    "Max": many("maximum", exact=True),
    "Min": many("minimum", exact=True),
    "Sum": many("add"),
    "Mean": many("add", mean=True),
    "Pow": _pow,
    "Mod": _mod,
    "Where": _where,
    "Cast": _cast,
    "CastLike": _cast_like,
    "Clip": _clip,
    "PRelu": _prelu,
    "Ceil": plain(_ceil),
    "Tan": plain(_tan),
    "Sinh": plain(_sinh),
    "Cosh": plain(_cosh),
    "Celu": activation(_celu),
    "Elu": activation(lambda e, x, n: f.elu(e, x, alpha=float(n.attr("alpha", 1.0)))),
    "Selu": activation(_selu),
    "Gelu": activation(lambda e, x, n: f.gelu(e, x, n.attr("approximate", "none"))),
    "HardSigmoid": activation(
        lambda e, x, n: hard_sigmoid(e, x, float(n.attr("alpha", 0.2)), float(n.attr("beta", 0.5)))
    ),
    "HardSwish": plain(_hard_swish),
    "LeakyRelu": activation(lambda e, x, n: f.leaky_relu(e, x, float(n.attr("alpha", 0.01)))),
    "Mish": plain(f.mish),
    "Softplus": plain(f.softplus),
    "Softsign": plain(softsign),
    "Shrink": activation(_shrink),
    "ThresholdedRelu": activation(lambda e, x, n: thresholded_relu(e, x, float(n.attr("alpha", 1.0)))),
}
