"""Elementwise ops: arithmetic on numbers, comparisons that yield spikes, logic on spikes, and the fused chain.

Integers: both operands of an op have one dtype, and so has its result. What does not fit wraps around, modulo
2^bits, unless the op is said to saturate; `passes/ranges` proves where neither happens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgekit.ir.dtypes import DTYPES, FLOAT32, INT8, INT16, INT32, SPIKE, DType
from edgekit.ir.graph import Tensor
from edgekit.ir.ops.spec import Array, Attr, Attrs, Cost, Evaluate, Infer, OpSpec, Typed, batched, broadcast, need

SMALLEST_NORMAL = np.float32(np.finfo(np.float32).tiny)


def _flush(x: Array) -> Array:
    return np.where(np.abs(x) < SMALLEST_NORMAL, x.dtype.type(0), x)


def _sigmoid(x: Array) -> Array:
    # both branches are finite: exp only ever sees a non-positive argument
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1 / (1 + e), e / (1 + e)), dtype=x.dtype)


def _erf(x: Array) -> Array:
    # numpy has none: in double precision element by element, rounded once
    values = np.fromiter(map(math.erf, x.reshape(-1).tolist()), np.float64, x.size)
    return values.astype(x.dtype).reshape(x.shape)


UNARY: dict[str, tuple[Callable[[Array], Array], str]] = {
    "neg": (np.negative, "-x"),
    "abs": (np.abs, "|x|"),
    "sign": (np.sign, "-1, 0 or 1"),
    "exp": (np.exp, "e^x"),
    "log": (np.log, "natural logarithm"),
    "sqrt": (np.sqrt, "square root"),
    "reciprocal": (np.reciprocal, "1 / x"),
    "tanh": (np.tanh, "hyperbolic tangent"),
    "sigmoid": (_sigmoid, "1 / (1 + e^-x)"),
    "erf": (_erf, "2/√π · the integral of e^-t² from 0 to x"),
    "sin": (np.sin, "sine of x radians"),
    "cos": (np.cos, "cosine of x radians"),
    "floor": (np.floor, "the largest whole number that is not above x"),
    "round": (np.rint, "the nearest whole number, halves to the even one"),
    "relu": (lambda x: np.maximum(x, x.dtype.type(0)), "max(x, 0); NaN stays NaN"),
    "flush": (_flush, "x, but 0 where |x| is below the smallest normal float: denormal states never linger"),
}
BINARY: dict[str, tuple[Callable[[Array, Array], Array], str]] = {
    "add": (np.add, "x + y"),
    "sub": (np.subtract, "x - y"),
    "mul": (np.multiply, "x · y"),
    "div": (np.divide, "x / y"),
    "minimum": (np.minimum, "the smaller; NaN if either is NaN"),
    "maximum": (np.maximum, "the larger; NaN if either is NaN"),
}
COMPARE: dict[str, tuple[Callable[[Array, Array], Array], str]] = {
    "gt": (np.greater, "a spike where x > y"),
    "ge": (np.greater_equal, "a spike where x ≥ y"),
    "lt": (np.less, "a spike where x < y"),
    "le": (np.less_equal, "a spike where x ≤ y"),
    "eq": (np.equal, "a spike where x = y"),
    "ne": (np.not_equal, "a spike where x ≠ y"),
}
LOGIC: dict[str, tuple[Callable[..., Array], int, str]] = {
    "logical_and": (np.logical_and, 2, "both fired"),
    "logical_or": (np.logical_or, 2, "either fired"),
    "logical_not": (np.logical_not, 1, "did not fire"),
}
INTEGER_UNARY = ("neg", "abs", "relu")
INTEGER_BINARY = ("add", "sub", "minimum", "maximum")
MAX_SHIFT = 62  # of a 64-bit product of two int32
FUNCTIONS: dict[str, Callable[..., Array]] = {
    **{k: f for k, (f, _) in UNARY.items()},
    **{k: f for table in (BINARY, COMPARE) for k, (f, _) in table.items()},
    **{k: f for k, (f, _, _) in LOGIC.items()},
    "where": np.where,
}


def clip_to(wide: Array, dtype: DType) -> Array:
    """int64 values as an integer dtype, those outside its range at the nearest end of it."""
    low, high = dtype.limits
    return np.clip(wide, low, high).astype(dtype.numpy)


def _cast(args: Sequence[Array], attrs: Attrs) -> Array:
    x, to = args[0], DTYPES[attrs["to"]]
    if to is SPIKE:
        return np.asarray(x != 0)
    return clip_to(x, to) if to.is_integer and x.dtype.kind == "i" else x.astype(to.numpy)


def _rescale(args: Sequence[Array], attrs: Attrs) -> Array:
    shift = attrs["shift"]
    product = args[0].astype(np.int64) * args[1].astype(np.int64)
    return clip_to((product + ((1 << shift) >> 1)) >> shift, DTYPES[attrs["to"]])


def _saturating(function: Callable[[Array, Array], Array]) -> Callable[[Sequence[Array], Attrs], Array]:
    def apply(args: Sequence[Array], attrs: Attrs) -> Array:
        if not attrs.get("saturate", False):
            return function(*args)
        wide = function(args[0].astype(np.int64), args[1].astype(np.int64))
        return clip_to(wide, DTYPES[args[0].dtype.name])

    return apply


# kinds whose result depends on their attributes
_WITH_ATTRS: dict[str, Callable[[Sequence[Array], Attrs], Array]] = {
    "cast": _cast,
    "rescale": _rescale,
    "add": _saturating(np.add),
    "sub": _saturating(np.subtract),
}


def _apply(kind: str, attrs: Attrs, args: Sequence[Array]) -> Array:
    if kind in _WITH_ATTRS:
        return _WITH_ATTRS[kind](args, attrs)
    return FUNCTIONS[kind](*args)


def _evaluate(kind: str) -> Evaluate:
    def evaluate(inputs: Sequence[Array], attrs: Attrs, tensors: Sequence[Tensor]) -> Sequence[Array]:
        rank = max(len(t.shape) for t in tensors)
        with np.errstate(all="ignore"):  # NaN and Inf are defined results, not accidents
            return [_apply(kind, attrs, [batched(a, t.shape, rank) for a, t in zip(inputs, tensors, strict=True)])]

    return evaluate


def _infer(kind: str, wants: Sequence[DType | None], gives: DType | None, integers: bool) -> Infer:
    """`None` stands for numbers: float32, or where the op has a meaning for `integers`, one integer dtype for all."""

    def infer(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
        numbers = [t for t, want in zip(inputs, wants, strict=True) if want is None]
        number = numbers[0].dtype if numbers else FLOAT32
        known = (FLOAT32, INT8, INT16, INT32) if integers else (FLOAT32,)
        for tensor, want in zip(inputs, wants, strict=True):
            if want is not None:
                need(kind, tensor.dtype is want, f"wants {want}, got {tensor.dtype} ({tensor.name})")
            else:
                names = " or ".join(map(str, known))
                need(kind, tensor.dtype in known, f"wants {names}, got {tensor.dtype} ({tensor.name})")
                need(kind, tensor.dtype is number, f"wants {number} like its first, got {tensor.dtype} ({tensor.name})")
        need(kind, not attrs.get("saturate", False) or number is not FLOAT32, "only integers saturate")
        return [(broadcast(kind, [t.shape for t in inputs]), gives or number)]

    return infer


def _cost(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attrs: Attrs) -> Cost:
    return Cost(acs=outputs[0].size, bytes=sum(t.stored_bytes for t in inputs))


def _spec(
    kind: str, summary: str, wants: Sequence[DType | None], gives: DType | None, *, integers: bool = False
) -> OpSpec:
    saturate = {"saturate": Attr(bool, False, required=False)} if kind in ("add", "sub") else {}
    arity = (len(wants), len(wants))
    infer = _infer(kind, wants, gives, integers)
    return OpSpec(kind, "elementwise", summary, arity, infer, _evaluate(kind), saturate, cost=_cost)


def _infer_cast(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
    need("cast", attrs["to"] in DTYPES, f"no dtype {attrs['to']!r}")
    source, to = inputs[0].dtype, DTYPES[attrs["to"]]
    whole = (INT8, INT16, INT32)
    known = (source, to) in ((SPIKE, FLOAT32), (FLOAT32, SPIKE)) or (source in (SPIKE, *whole) and to in whole)
    need("cast", known, f"cannot go from {source} to {to}")
    return [(inputs[0].shape, to)]


def _infer_rescale(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
    for tensor in inputs:
        need("rescale", tensor.dtype in (INT8, INT16, INT32), f"wants integers, got {tensor.dtype} ({tensor.name})")
    need("rescale", 0 <= attrs["shift"] <= MAX_SHIFT, f"shift {attrs['shift']} is not from 0 to {MAX_SHIFT}")
    return [(broadcast("rescale", [t.shape for t in inputs]), DTYPES[attrs["to"]])]


SCALAR_OPS: dict[str, OpSpec] = {
    **{k: _spec(k, s, (None,), None, integers=k in INTEGER_UNARY) for k, (_, s) in UNARY.items()},
    **{k: _spec(k, s, (None, None), None, integers=k in INTEGER_BINARY) for k, (_, s) in BINARY.items()},
    **{k: _spec(k, s, (None, None), SPIKE, integers=True) for k, (_, s) in COMPARE.items()},
    **{k: _spec(k, s, (SPIKE,) * n, SPIKE) for k, (_, n, s) in LOGIC.items()},
    "where": _spec("where", "x where the condition fired, else y", (SPIKE, None, None), None, integers=True),
    "cast": OpSpec(
        "cast",
        "elementwise",
        "a spike as 0 or 1, a spike where x ≠ 0, or an integer of another width (a narrower one saturates)",
        (1, 1),
        _infer_cast,
        _evaluate("cast"),
        {"to": Attr(str, choices=("float32", "spike", "int8", "int16", "int32"))},
        cost=_cost,
    ),
    "rescale": OpSpec(
        "rescale",
        "elementwise",
        "saturate(floor((x · m + 2^(shift-1)) / 2^shift)): a product of integers, rounded half up once",
        (2, 2),
        _infer_rescale,
        _evaluate("rescale"),
        {"shift": Attr(int), "to": Attr(str, choices=("int8", "int16", "int32"))},
        cost=_cost,
    ),
}


# --- the fused chain -------------------------------------------------------------------------------------------------
#
# `body` is a tuple of lines (kind, operands, attrs as pairs). Values are numbered: the op's inputs first, then one per
# line. `results` are the numbers that leave the op. Inputs have the op's shape, or are constants that broadcast to it.

Line = tuple[str, tuple[int, ...], tuple[tuple[str, Any], ...]]


def body_lines(attrs: Attrs, arity: int) -> list[Line]:
    """The checked lines of a fused body; GraphError when a line is malformed or refers to a later one."""
    lines: list[Line] = []
    for at, line in enumerate(attrs["body"]):
        shaped = isinstance(line, tuple) and len(line) == 3 and isinstance(line[0], str)
        need("fused", shaped and isinstance(line[1], tuple) and isinstance(line[2], tuple), f"line {at} is malformed")
        kind, operands, pairs = line
        need("fused", kind in SCALAR_OPS, f"line {at}: {kind!r} is not elementwise")
        fits = all(isinstance(o, int) and 0 <= o < arity + at for o in operands)
        need("fused", fits, f"line {at} refers to a value that does not exist yet")
        need("fused", all(isinstance(p, tuple) and len(p) == 2 for p in pairs), f"line {at} has malformed attributes")
        lines.append((kind, operands, pairs))
    return lines


def fused_types(inputs: Sequence[Tensor], attrs: Attrs) -> list[Tensor]:
    """Every value of a fused body in order: the inputs, then one tensor per line."""
    values = list(inputs)
    for at, (kind, operands, pairs) in enumerate(body_lines(attrs, len(inputs))):
        shape, dtype = SCALAR_OPS[kind].check([values[o] for o in operands], dict(pairs))[0]
        values.append(Tensor(f"line{at}", shape, dtype))
    return values


def _infer_fused(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
    values = fused_types(inputs, attrs)
    shape = broadcast("fused", [t.shape for t in inputs])
    for tensor in inputs:
        need(
            "fused",
            tensor.is_const or tensor.shape == shape,
            f"input {tensor.name} of shape {tensor.shape} is neither constant nor of the op's shape {shape}",
        )
    need("fused", len(attrs["results"]) > 0, "has no results")
    typed: list[Typed] = []
    for r in attrs["results"]:
        need("fused", len(inputs) <= r < len(values), f"result {r} is not one of its lines")
        need("fused", values[r].shape == shape, f"result {r} has shape {values[r].shape}, the op {shape}")
        typed.append((shape, values[r].dtype))
    return typed


def _evaluate_fused(inputs: Sequence[Array], attrs: Attrs, tensors: Sequence[Tensor]) -> Sequence[Array]:
    # constants are aligned with the op's shape once; from there on every line broadcasts by itself
    rank = max(len(t.shape) for t in tensors)
    values = [batched(a, t.shape, rank) for a, t in zip(inputs, tensors, strict=True)]
    with np.errstate(all="ignore"):
        for kind, operands, pairs in attrs["body"]:
            values.append(_apply(kind, dict(pairs), [values[o] for o in operands]))
    return [values[r] for r in attrs["results"]]


def _cost_fused(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attrs: Attrs) -> Cost:
    return Cost(acs=outputs[0].size * len(attrs["body"]), bytes=sum(t.stored_bytes for t in inputs))


FUSED = OpSpec(
    "fused",
    "elementwise",
    "a chain of elementwise ops in one loop",
    (1, None),
    _infer_fused,
    _evaluate_fused,
    {"body": Attr("body"), "results": Attr("ints")},
    outputs=None,
    cost=_cost_fused,
)

ELEMENTWISE: dict[str, OpSpec] = {**SCALAR_OPS, "fused": FUSED}
