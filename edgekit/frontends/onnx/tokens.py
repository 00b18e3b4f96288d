"""Inputs of whole numbers that are indices and nothing else: tokens of an embedding, classes of a one-hot code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit.frontends.onnx.reading import onnx_module

_MOVES = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})


@dataclass(frozen=True)
class Tokens:
    """An input of indices: every value that holds them, and how many rows the smallest table has that they look up."""

    values: frozenset[str]
    count: int


def tokens(model: Any, names: Sequence[str]) -> dict[str, Tokens]:
    """Those of some inputs of a typed model that only look up rows of tables of a known length."""
    lengths = _shapes(model)
    depths = {t.name: t for t in model.graph.initializer}
    depths |= {
        n.output[0]: a.t for n in model.graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value"
    }
    found = {}
    for name in names:
        values, counts, left = {name}, list[int](), [name]
        while left:
            current = left.pop()
            for node in model.graph.node:
                for place in (at for at, given in enumerate(node.input) if given == current):
                    if node.op_type == "Shape":
                        continue
                    if _moves(node, place):
                        left += [n for n in node.output if n not in values]
                        values.update(node.output)
                    else:
                        counts.append(_count(node, place, lengths, depths))
            counts += [0 for output in model.graph.output if output.name == current]
        if counts and min(counts) > 0:
            found[name] = Tokens(frozenset(values), min(counts))
    return found


def _shapes(model: Any) -> dict[str, list[int]]:
    graph = model.graph
    found = {t.name: list(t.dims) for t in graph.initializer}
    for value in (*graph.input, *graph.value_info):
        found.setdefault(value.name, [d.dim_value for d in value.type.tensor_type.shape.dim])
    return found


def _moves(node: Any, place: int) -> bool:
    if node.op_type == "Cast":
        kinds = onnx_module().TensorProto
        return any(a.name == "to" and a.i in (kinds.INT32, kinds.INT64) for a in node.attribute)
    return node.op_type in _MOVES and place == 0


def _count(node: Any, place: int, shapes: Mapping[str, Sequence[int]], stored: Mapping[str, Any]) -> int:
    """How many rows the table has that a node looks up at an index; 0 where it does something else or none can tell."""
    if node.op_type == "Gather" and place == 1:
        axis, shape = next((int(a.i) for a in node.attribute if a.name == "axis"), 0), shapes.get(node.input[0], ())
        return int(shape[axis]) if -len(shape) <= axis < len(shape) else 0
    if node.op_type == "OneHot" and place == 0 and node.input[1] in stored:
        return int(onnx_module().numpy_helper.to_array(stored[node.input[1]]).reshape(-1)[0])
    return 0
