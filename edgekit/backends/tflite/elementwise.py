"""Rows for elementwise ops: most are one builtin, the rest are made of a few that every TFLite runtime has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from edgekit.backends.tflite.context import FLAG, Context
from edgekit.ir import Op

Row = Callable[[Context, Op], None]

UNARY = {
    "neg": "NEG",
    "abs": "ABS",
    "exp": "EXP",
    "log": "LOG",
    "sqrt": "SQRT",
    "tanh": "TANH",
    "sigmoid": "LOGISTIC",
    "relu": "RELU",
    "sin": "SIN",
    "cos": "COS",
    "floor": "FLOOR",
}
BINARY = {"add": "ADD", "sub": "SUB", "mul": "MUL", "div": "DIV", "minimum": "MINIMUM", "maximum": "MAXIMUM"}
COMPARE = {
    "gt": "GREATER",
    "ge": "GREATER_EQUAL",
    "lt": "LESS",
    "le": "LESS_EQUAL",
    "eq": "EQUAL",
    "ne": "NOT_EQUAL",
}
LOGIC = {"logical_and": "LOGICAL_AND", "logical_or": "LOGICAL_OR", "logical_not": "LOGICAL_NOT"}

# erf(x) = x P(s) / Q(s) with s = (x / ERF_END)², x clipped to ±ERF_END: a least-maximum fit of our own, off by at most
# 2e-7 in float64 and 5.1e-7 in float32, and ±1 beyond. Coefficients from the constant on.
ERF_END = 3.8
ERF_P = (1.12837768, 4.42138958, 13.7999964, 24.8322468, 13.0361595)
ERF_Q = (1.0, 8.73144054, 33.4188957, 72.1798553, 90.9675827, 11.1313267)


def _operands(context: Context, op: Op, builtin: str, dtype: str = "FLOAT32") -> int:
    return context.elementwise(builtin, [context.real(n) for n in op.inputs], context.shape(op.outputs[0]), dtype=dtype)


def _real(builtin: str, context: Context, op: Op) -> None:
    context.set_real(op.outputs[0], _operands(context, op, builtin))


def _compare(builtin: str, context: Context, op: Op) -> None:
    context.set_flag(op.outputs[0], _operands(context, op, builtin, FLAG))


def _logic(builtin: str, context: Context, op: Op) -> None:
    flags = [context.flag(n) for n in op.inputs]
    context.set_flag(op.outputs[0], context.elementwise(builtin, flags, context.shape(op.outputs[0]), dtype=FLAG))


def _reciprocal(context: Context, op: Op) -> None:
    x = context.real(op.inputs[0])
    context.set_real(op.outputs[0], context.elementwise("DIV", [context.number(1), x], context.shape(op.outputs[0])))


def _sign(context: Context, op: Op) -> None:
    """(x > 0) - (x < 0): TFLite-Micro has no SIGN."""
    x, zero, shape = context.real(op.inputs[0]), context.number(0), context.shape(op.outputs[0])
    sides = [context.cast(context.elementwise(b, [x, zero], shape, dtype=FLAG)) for b in ("GREATER", "LESS")]
    context.set_real(op.outputs[0], context.elementwise("SUB", sides, shape))


def _round(context: Context, op: Op) -> None:
    """Half to even, by a sum that leaves float32 no room for fractions: LiteRT 2.3 has no ROUND."""
    x, shape, whole = context.real(op.inputs[0]), context.shape(op.outputs[0]), context.number(2.0**23)
    size = context.elementwise("ABS", [x], shape)
    rounded = context.elementwise("SUB", [context.elementwise("ADD", [size, whole], shape), whole], shape)
    negative = context.elementwise("LESS", [x, context.number(0)], shape, dtype=FLAG)
    signed = context.elementwise("SELECT_V2", [negative, context.elementwise("NEG", [rounded], shape), rounded], shape)
    fraction = context.elementwise("LESS", [size, whole], shape, dtype=FLAG)  # not so for NaN
    context.set_real(op.outputs[0], context.elementwise("SELECT_V2", [fraction, signed, x], shape))


def _flush(context: Context, op: Op) -> None:
    x, shape = context.real(op.inputs[0]), context.shape(op.outputs[0])
    smallest = context.number(float(np.finfo(np.float32).tiny))
    tiny = context.elementwise("LESS", [context.elementwise("ABS", [x], shape), smallest], shape, dtype=FLAG)
    context.set_real(op.outputs[0], context.elementwise("SELECT_V2", [tiny, context.number(0), x], shape))


def _erf(context: Context, op: Op) -> None:
    shape = context.shape(op.outputs[0])

    def do(builtin: str, *operands: int | float) -> int:
        tensors = [o if isinstance(o, int) else context.number(o) for o in operands]
        return context.elementwise(builtin, tensors, shape)

    def polynomial(coefficients: tuple[float, ...], s: int) -> int:
        *lower, top = coefficients
        total: int | float = top
        for c in reversed(lower):
            total = do("ADD", do("MUL", s, total), c)
        return int(total)

    given = context.real(op.inputs[0])
    x = do("MINIMUM", do("MAXIMUM", given, -ERF_END), ERF_END)
    scaled = do("MUL", x, 1 / ERF_END)
    s = do("MUL", scaled, scaled)
    numerator = do("MUL", x, polynomial(ERF_P, s))
    fitted = do("DIV", numerator, polynomial(ERF_Q, s))
    beyond = do("ADD", fitted, do("SUB", given, x))  # +-1 exactly where x was clipped: gelu multiplies what is missing
    context.set_real(op.outputs[0], do("MINIMUM", do("MAXIMUM", beyond, -1.0), 1.0))


def _where(context: Context, op: Op) -> None:
    condition, x, y = op.inputs
    operands = [context.flag(condition), context.real(x), context.real(y)]
    context.set_real(op.outputs[0], context.elementwise("SELECT_V2", operands, context.shape(op.outputs[0])))


def _cast(context: Context, op: Op) -> None:
    (x,), (y,) = op.inputs, op.outputs
    if op.attrs["to"] == "float32":
        context.set_real(y, context.real(x))
    else:
        context.set_flag(y, context.spike(context.real(x)))


ROWS: Mapping[str, Row] = {
    **{kind: partial(_real, builtin) for kind, builtin in (UNARY | BINARY).items()},
    **{kind: partial(_compare, builtin) for kind, builtin in COMPARE.items()},
    **{kind: partial(_logic, builtin) for kind, builtin in LOGIC.items()},
    "reciprocal": _reciprocal,
    "sign": _sign,
    "round": _round,
    "flush": _flush,
    "erf": _erf,
    "where": _where,
    "cast": _cast,
}
