"""Elementwise ops as ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from edgekit.backends.onnx.body import BOOLEAN, NUMBER, Body
from edgekit.ir import FLOAT32, SPIKE, Op

Row = Callable[[Body, Op], None]

SMALLEST_NORMAL = np.finfo(np.float32).tiny

_UNARY = {
    "neg": "Neg",
    "abs": "Abs",
    "sign": "Sign",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "reciprocal": "Reciprocal",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "relu": "Relu",
    "erf": "Erf",
    "sin": "Sin",
    "cos": "Cos",
    "floor": "Floor",
    "round": "Round",
}
_BINARY = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "minimum": "Min", "maximum": "Max"}
_COMPARE = {"gt": "Greater", "ge": "GreaterOrEqual", "lt": "Less", "le": "LessOrEqual", "eq": "Equal"}
_LOGIC = {"logical_and": "And", "logical_or": "Or", "logical_not": "Not"}

NODES = frozenset({*_UNARY.values(), *_BINARY.values(), *_COMPARE.values(), *_LOGIC.values()})


def _operands(body: Body, op: Op, *forms: str) -> list[str]:
    """The inputs of an op, lined up with its result; of constants alone the first keeps its batch axis."""
    rank = len(body.tensor(op.outputs[0]).shape)
    constant = all(body.tensor(n).is_const for n in op.inputs)
    return [
        body.beside(name, rank, form, whole=constant and at == 0)
        for at, (name, form) in enumerate(zip(op.inputs, forms, strict=True))
    ]


def _plain(kind: str, arity: int, takes: str = NUMBER, gives: str = NUMBER) -> Row:
    def row(body: Body, op: Op) -> None:
        body.result(op, kind, *_operands(body, op, *(takes,) * arity), form=gives)

    return row


def _not_equal(body: Body, op: Op) -> None:
    same = body.made("Equal", *_operands(body, op, NUMBER, NUMBER), stem=f"{op.outputs[0]}/same")
    body.result(op, "Not", same, form=BOOLEAN)


def _where(body: Body, op: Op) -> None:
    body.result(op, "Where", *_operands(body, op, BOOLEAN, NUMBER, NUMBER))


def _flush(body: Body, op: Op) -> None:
    (x,) = _operands(body, op, NUMBER)
    stem = op.outputs[0]
    least = body.constant("smallest_normal", np.asarray(SMALLEST_NORMAL, np.float32))
    tiny = body.made("Less", body.made("Abs", x, stem=f"{stem}/size"), least, stem=f"{stem}/tiny")
    body.result(op, "Where", tiny, body.constant("zero", np.zeros((), np.float32)), x)


def _cast(body: Body, op: Op) -> None:
    """Only between float32 and spike: the program holds nothing else."""
    source, to = body.tensor(op.inputs[0]).dtype, body.tensor(op.outputs[0]).dtype
    if source is FLOAT32 and to is SPIKE:
        body.result(op, "Cast", body.value(op.inputs[0]), form=BOOLEAN, to=np.bool_)
    else:
        body.alias(op)


ELEMENTWISE: Mapping[str, Row] = MappingProxyType(
    {
        **{kind: _plain(name, 1) for kind, name in _UNARY.items()},
        **{kind: _plain(name, 2) for kind, name in _BINARY.items()},
        **{kind: _plain(name, 2, NUMBER, BOOLEAN) for kind, name in _COMPARE.items()},
        **{kind: _plain(name, 1 + (kind != "logical_not"), BOOLEAN, BOOLEAN) for kind, name in _LOGIC.items()},
        "ne": _not_equal,
        "where": _where,
        "flush": _flush,
        "cast": _cast,
    }
)
