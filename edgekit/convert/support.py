"""What every backend does with every op in every precision, and what every front end reads: from their own tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from edgekit.backends.c.integer.ops import BORDER, CHANGING
from edgekit.backends.c.select import FLOAT_OPS
from edgekit.compress.lower_values import INTEGER_FORMS
from edgekit.compress.terms import AFFINE
from edgekit.convert.options import AUTO, FLOAT_PRECISIONS, RECIPES
from edgekit.errors import UsageError
from edgekit.ir import OPS

KERNEL, LOOP, REWRITTEN, PARTLY, NONE, INTERNAL = "kernel", "loop", "rewritten", "partly", "none", "-"
MEANING: Mapping[str, str] = MappingProxyType(
    {
        KERNEL: "has a kernel or an operator of its own",
        LOOP: "is part of a fused loop over elements",
        REWRITTEN: "is written as simpler ops",
        PARTLY: "has one for some operands: div and linear by a constant, conv over one axis or two",
        NONE: "is refused",
        INTERNAL: "is made by lowering or by a learning rule, no model holds it",
    }
)
MADE = frozenset({"fused", "rescale", *BORDER, *CHANGING})
"""Ops that a float graph of a model never holds: fusion, quantisation and learning rules make them."""
BY_A_CONSTANT = ("div", "linear")
"""Ops that integer programs have by a constant alone: its scale is folded into a multiplier."""
FROM = ("torch", "onnx", "nir")

Column = tuple[str, tuple[str, ...], Callable[[str], str]]


def _supported(supported: frozenset[str]) -> Callable[[str], str]:
    def how(kind: str) -> str:
        if kind in supported:
            return KERNEL
        return REWRITTEN if OPS[kind].decompose else NONE

    return how


def _c_floats(kind: str) -> str:
    how = _supported(FLOAT_OPS)(kind)
    return LOOP if how == NONE and OPS[kind].group == "elementwise" else how


def _c_integers(kind: str) -> str:
    if kind == "conv":
        return REWRITTEN  # passes.pipelines.FOR_INTEGERS: as linears
    if kind in INTEGER_FORMS:
        return KERNEL
    return NONE if kind not in AFFINE else PARTLY if kind in BY_A_CONSTANT else KERNEL


def _tflite_integers(kind: str) -> str:
    from edgekit.backends.tflite.integer_rows import ROWS

    return NONE if kind not in ROWS else PARTLY if kind in (*BY_A_CONSTANT, "conv") else KERNEL


def columns() -> list[Column]:
    """The backends with the precisions that treat ops alike, and how each treats an op."""
    from edgekit.backends import onnx, tflite

    floats = tuple(FLOAT_PRECISIONS)
    return [
        ("c", floats, _c_floats),
        ("c", (*RECIPES, AUTO), _c_integers),
        ("onnx", onnx.PRECISIONS, _supported(onnx.SUPPORTED)),
        ("tflite", floats, _supported(tflite.SUPPORTED)),
        ("tflite", ("int8",), _tflite_integers),
    ]


def support_table() -> list[dict[str, Any]]:
    """A row for each op: its kind, group, meaning and attributes, and `backends`, how by backend and precision."""
    found = columns()
    rows = []
    for kind, spec in OPS.items():
        backends: dict[str, dict[str, str]] = {}
        for backend, precisions, how in found:
            answer = INTERNAL if kind in MADE else how(kind)
            backends.setdefault(backend, {}).update(dict.fromkeys(precisions, answer))
        rows.append(
            {
                "op": kind,
                "group": spec.group,
                "meaning": spec.summary,
                "attributes": sorted(spec.attrs),
                "backends": backends,
            }
        )
    return rows


def read_by(front_end: str) -> list[str]:
    """The operators (of NIR: primitives) that a front end reads, by name; UsageError for an unknown front end."""
    if front_end not in FROM:
        raise UsageError(f"--from {front_end}", "is not known", f"known are {', '.join(FROM)}")
    if front_end == "torch":
        from edgekit.frontends.aten_table import ROWS as ATEN

        return sorted(ATEN)
    if front_end == "onnx":
        from edgekit.frontends.onnx.table import ROWS as ONNX

        return sorted(ONNX)
    from edgekit.nir.nodes import PARAMETERS

    return sorted(PARAMETERS)
