"""The body of a fused op as straight-line C: one line per elementwise op, in vector verbs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgekit.ir import FLOAT32, SPIKE, DType
from edgekit.ir.ops.elementwise import Line

# kind: the verb, called with the operands in order
VERBS: Mapping[str, str] = {
    **{k: f"ek_{k}" for k in ("neg", "abs", "sign", "exp", "log", "sqrt", "reciprocal", "tanh", "sigmoid", "relu")},
    **{k: f"ek_{k}" for k in ("erf", "sin", "cos", "floor", "round")},
    **{k: f"ek_{k}" for k in ("flush", "add", "sub", "mul", "div", "gt", "ge", "lt", "le", "eq", "ne")},
    "minimum": "ek_min",
    "maximum": "ek_max",
    "logical_and": "ek_and",
    "logical_or": "ek_or",
    "logical_not": "ek_not",
    "where": "ek_select",
}
CTYPES: Mapping[DType, str] = {FLOAT32: "ekf", SPIKE: "ekm"}


def needed_lines(lines: Sequence[Line], arity: int, results: Sequence[int]) -> list[int]:
    """The numbers of the lines that a result depends on, in order."""
    needed = set(results)
    for at in range(len(lines) - 1, -1, -1):
        if arity + at in needed:
            needed |= set(lines[at][1])
    return [at for at in range(len(lines)) if arity + at in needed]


def line_expression(line: Line, names: Sequence[str]) -> str:
    """The C expression of one line; `names` are the C names of all values before it."""
    kind, operands, pairs = line
    args = [names[o] for o in operands]
    if kind == "cast":
        to_float = dict(pairs)["to"] == "float32"
        return f"ek_keep({args[0]}, ek_set(1.0f))" if to_float else f"ek_ne({args[0]}, ek_set(0.0f))"
    return f"{VERBS[kind]}({', '.join(args)})"
