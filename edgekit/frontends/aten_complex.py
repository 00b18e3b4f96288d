"""Complex values as pairs of real ones: the rows of the lowering table where an operand or a result is complex."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from edgekit.frontends import formulas
from edgekit.frontends.emitter import Known, Live, Operand, Refuse
from edgekit.frontends.formulas import apply
from edgekit.frontends.lower import Call, Complex, Lowering, Row

PARTWISE = frozenset(
    f"aten::{name}"
    for name in [
        "clone",
        "detach",
        "alias",
        "lift_fresh_copy",
        "copy",
        "zero",
        "view",
        "_unsafe_view",
        "reshape",
        "squeeze",
        "unsqueeze",
        "permute",
        "transpose",
        "t",
        "expand",
        "repeat",
        "slice",
        "select",
        "slice_scatter",
        "select_scatter",
        "split",
        "split_with_sizes",
        "unbind",
        "unsafe_split",
        "cat",
        "stack",
        "index_select",
        "gather",
        "index",
        "index_put",
        "diagonal",
        "tril",
        "triu",
        "flip",
        "roll",
        "unfold",
        "constant_pad_nd",
        "sum",
        "mean",
        "cumsum",
        "neg",
        "where",
        "masked_fill",
    ]
) | {"edgekit::overwrite"}
"""What is done to a complex value by doing it to both of its parts."""

TABLE: dict[str, Row] = {}


def _row(*names: str) -> Callable[[Row], Row]:
    def add(function: Row) -> Row:
        TABLE.update({f"aten::{name}": function for name in names})
        return function

    return add


def complex_rows(rows: Mapping[str, Row]) -> dict[str, Row]:
    """The table for calls with complex values, on top of the rows for real ones."""
    return {**{name: _in_parts(rows[name]) for name in PARTWISE & rows.keys()}, **TABLE}


def _in_parts(row: Row) -> Row:
    def both(low: Lowering, call: Call) -> Any:
        parts = []
        for part in ("re", "im"):
            args = {name: _part(low, value, part) for name, value in call.args.items()}
            parts.append(row(low, dataclasses.replace(call, args=args, dtype=torch.float32)))
        real, imaginary = parts
        if isinstance(real, (tuple, list)):
            return [Complex(a, b) for a, b in zip(real, imaginary, strict=True)]
        return Complex(real, imaginary)

    return both


def _part(low: Lowering, value: Any, part: str) -> Any:
    """One part of every complex value in an argument; of a real tensor the imaginary part is zero."""
    if isinstance(value, Complex):
        return value.re if part == "re" else value.im
    if isinstance(value, tuple):
        return tuple(_part(low, item, part) for item in value)
    return value


def pair(low: Lowering, value: Any) -> Complex:
    """An operand as a complex one."""
    if isinstance(value, Complex):
        return value
    if isinstance(value, complex):
        return Complex(value.real, value.imag)
    return Complex(low.real(value), 0.0)


def _product(low: Lowering, a: Complex, b: Complex, multiply: Callable[[Operand, Operand], Operand]) -> Complex:
    """(a.re b.re - a.im b.im) + i (a.re b.im + a.im b.re), without the terms of parts that are zero."""

    def times(x: Operand, y: Operand) -> Operand | None:
        return None if _is_zero(x) or _is_zero(y) else multiply(x, y)

    def joined(kind: str, x: Operand | None, y: Operand | None) -> Operand:
        if x is None or y is None:
            only = x if x is not None else y
            if only is None:
                return 0.0
            return only if x is not None or kind == "add" else apply(low, "neg", only)
        return apply(low, kind, x, y)

    real = joined("sub", times(a.re, b.re), times(a.im, b.im))
    return Complex(real, joined("add", times(a.re, b.im), times(a.im, b.re)))


def _is_zero(value: Operand) -> bool:
    return isinstance(value, (int, float)) and value == 0


def _scaled(low: Lowering, value: Complex, factor: float) -> Complex:
    return value if factor == 1 else Complex(*(apply(low, "mul", p, float(factor)) for p in (value.re, value.im)))


@_row("add", "sub")
def _sum(low: Lowering, call: Call) -> Complex:
    a, b = pair(low, call["self"]), _scaled(low, pair(low, call["other"]), call.args.get("alpha", 1))
    kind = call.name.removeprefix("aten::")
    imaginary = apply(low, kind, a.im, b.im) if not (_is_zero(a.im) and _is_zero(b.im)) else 0.0
    return Complex(apply(low, kind, a.re, b.re), imaginary)


@_row("mul")
def _mul(low: Lowering, call: Call) -> Complex:
    return _product(low, pair(low, call["self"]), pair(low, call["other"]), lambda x, y: apply(low, "mul", x, y))


@_row("mm", "bmm")
def _mm(low: Lowering, call: Call) -> Complex:
    a, b = pair(low, call["self"]), pair(low, call["mat2"])
    return _product(low, a, b, lambda x, y: formulas.matmul(low, x, y))


@_row("mv", "dot")
def _mv(low: Lowering, call: Call) -> Complex:
    other = call["vec" if call.name.endswith("mv") else "tensor"]
    return _product(low, pair(low, call["self"]), pair(low, other), lambda x, y: formulas.matmul(low, x, y))


@_row("div")
def _div(low: Lowering, call: Call) -> Complex:
    a, b = pair(low, call["self"]), pair(low, call["other"])
    if _is_zero(b.im):
        return Complex(*(apply(low, "div", part, b.re) for part in (a.re, a.im)))
    size = _squared(low, b)
    over = _product(low, a, Complex(b.re, apply(low, "neg", b.im)), lambda x, y: apply(low, "mul", x, y))
    return Complex(*(apply(low, "div", part, size) for part in (over.re, over.im)))


@_row("reciprocal")
def _reciprocal(low: Lowering, call: Call) -> Complex:
    x = pair(low, call["self"])
    size = _squared(low, x)
    return Complex(apply(low, "div", x.re, size), low.emit("neg", apply(low, "div", x.im, size)))


def _squared(low: Lowering, x: Complex) -> Live:
    return low.emit("add", apply(low, "mul", x.re, x.re), apply(low, "mul", x.im, x.im))


@_row("abs")
def _abs(low: Lowering, call: Call) -> Live:
    return low.emit("sqrt", _squared(low, pair(low, call["self"])))


@_row("exp")
def _exp(low: Lowering, call: Call) -> Complex:
    """e^re (cos im + i sin im)."""
    x = pair(low, call["self"])
    size = apply(low, "exp", x.re)
    return Complex(*(low.emit("mul", size, apply(low, kind, x.im)) for kind in ("cos", "sin")))


@_row("_conj", "conj_physical", "_conj_physical", "resolve_conj")
def _conj(low: Lowering, call: Call) -> Complex:
    x = pair(low, call["self"])
    return x if call.name.endswith("resolve_conj") else Complex(x.re, apply(low, "neg", x.im))


@_row("complex", "polar")
def _complex(low: Lowering, call: Call) -> Complex:
    if call.name.endswith("complex"):
        return Complex(call["real"], call["imag"])
    size, angle = call["abs"], call["angle"]
    return Complex(*(apply(low, "mul", size, apply(low, kind, angle)) for kind in ("cos", "sin")))


@_row("_fft_r2c", "_fft_c2c", "_fft_c2r")
def _fft(low: Lowering, call: Call) -> Any:
    """A discrete Fourier transform along one axis as products with its matrix."""
    if len(call["dim"]) != 1:
        raise Refuse("transforms several axes at once", "transform one axis after another")
    x = pair(low, call["self"])
    rank = len(call.shape)
    axis = call["dim"][0] % rank
    back = call.name.endswith("c2r") or not call.args.get("forward", True)
    size = call["last_dim_size"] if call.name.endswith("c2r") else low.shape(x.re)[axis]
    matrix = _fourier(size, call.shape[axis], low.shape(x.re)[axis], 1 if back else -1, call["normalization"])
    if call.name.endswith("c2r"):  # the missing half is the mirror of this one
        inner = slice(1, (size + 1) // 2)
        matrix[:, inner] *= 2
    ahead = [*(a for a in range(rank) if a != axis), axis]
    parts = Complex(*(p if _is_zero(p) else low.transpose(p, ahead) for p in (x.re, x.im)))
    weights = Complex(
        *(
            Known(part.astype(np.float32), f"fourier.{name}")
            for part, name in ((matrix.real, "re"), (matrix.imag, "im"))
        )
    )
    y = _product(low, parts, weights, lambda a, w: formulas.linear(low, a, w))
    home = [ahead.index(a) for a in range(rank)]
    turned = Complex(*(p if _is_zero(p) else low.transpose(p, home) for p in (y.re, y.im)))
    return turned.re if call.name.endswith("c2r") else turned


def _fourier(size: int, rows: int, columns: int, sign: int, normalisation: int) -> Any:
    """e^(±2πi jk / size), divided by nothing, by sqrt(size) or by size."""
    angles = 2 * np.pi * sign / size * np.outer(np.arange(rows), np.arange(columns))
    return np.exp(1j * angles) / (1, np.sqrt(size), size)[normalisation]


@_row("_to_copy")
def _convert(low: Lowering, call: Call) -> Complex:
    if not call.dtype.is_complex:
        raise Refuse("drops an imaginary part", "take .real")
    return pair(low, next(iter(call.args.values())))


@_row("view_as_real")
def _as_real(low: Lowering, call: Call) -> Live:
    x = pair(low, call["self"])
    shape = call.shape[:-1]
    columns = [low.reshape(low.expand(p, shape), (*shape, 1)) for p in (x.re, x.im)]
    return low.emit("concat", *columns, axis=len(shape))


@_row("view_as_complex")
def _as_complex(low: Lowering, call: Call) -> Complex:
    x = low.live(low.real(call["self"]))
    axis = len(call.shape)
    parts = (low.emit("slice", x, axis=axis, start=at, stop=at + 1) for at in (0, 1))
    return Complex(*(low.reshape(part, call.shape) for part in parts))
