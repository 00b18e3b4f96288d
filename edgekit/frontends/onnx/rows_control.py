"""Rows of control flow: a branch that is decided at import."""

from __future__ import annotations

from typing import Any

from edgekit.frontends.emitter import Refuse
from edgekit.frontends.onnx.lowering import REMEDIES, Lowering, Node, Row


def _if(lowering: Lowering, node: Node) -> list[Any]:
    """The branch that a constant condition takes."""
    chosen = lowering.optional(node, 0)
    known = None if chosen is None else lowering.e.known(chosen)
    if known is None:
        raise Refuse(f"decides at run time ({node.inputs[0]})", REMEDIES["If"])
    return lowering.inside(node.attr("then_branch" if bool(known.array.reshape(-1)[0]) else "else_branch"))


ROWS: dict[str, Row] = {"If": _if}
