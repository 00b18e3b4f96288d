"""The ops of a step one by one: a fused chain counts as its lines, and each node knows what it reads and makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from edgekit.ir import OPS, SCALAR_OPS, Graph, Tensor
from edgekit.ir.ops.elementwise import body_lines, fused_types
from edgekit.passes.ranges.values import Array

# Ops whose result is linear in the operands at these places, if the others are constant.
LINEAR: Mapping[str, tuple[int, ...]] = {
    "add": (0, 1),
    "sub": (0, 1),
    "neg": (0,),
    "cast": (0,),
    "rescale": (0, 1),
    "linear": (0, 2),
    "memory_update": (0, 2),
    "sum": (0,),
    "cumsum": (0,),
    "reshape": (0,),
    "transpose": (0,),
    "expand": (0,),
    "slice": (0,),
    "gather": (0,),
    "windows": (0,),
    "pad": (0,),
}
# Ops whose result is bounded whatever goes in: no state grows through them.
BOUNDED = frozenset(
    (
        *("gt", "ge", "lt", "le", "eq", "ne", "lookup", "logical_and", "logical_or", "logical_not"),
        *("matvec", "matvec_t", "distance", "outer_add"),
    )
)


def moves(kind: str) -> bool:
    """Whether an op moves values without computing."""
    return OPS[kind].group == "movement"


@dataclass(frozen=True, eq=False)
class Node:
    """One op, or one line of a fused one; `op` is its place in the step."""

    op: int
    kind: str
    inputs: tuple[str, ...]
    output: str
    attrs: Mapping[str, Any]

    @property
    def is_elementwise(self) -> bool:
        return self.kind in SCALAR_OPS


class Step:
    """The nodes of a graph's step in order, the tensors they refer to, and who makes and who reads a value."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.entry = graph.entries["step"]
        self.tensors: dict[str, Tensor] = dict(graph.tensors)
        self.nodes: list[Node] = []
        for at, op in enumerate(self.entry.ops):
            if op.kind == "fused":
                self._lines(at)
            else:
                self.nodes.append(Node(at, op.kind, op.inputs, op.outputs[0], op.attrs))

    def _lines(self, at: int) -> None:
        op = self.entry.ops[at]
        inputs = [self.graph.tensors[n] for n in op.inputs]
        typed = fused_types(inputs, op.attrs)
        names = list(op.inputs)
        results = dict(zip(op.attrs["results"], op.outputs, strict=True))
        for line, (kind, operands, pairs) in enumerate(body_lines(op.attrs, len(inputs))):
            number = len(inputs) + line
            name = results.get(number, f"{op.outputs[0]}:{line}")
            tensor = typed[number]
            self.tensors.setdefault(name, Tensor(name, tensor.shape, tensor.dtype))
            self.nodes.append(Node(at, kind, tuple(names[o] for o in operands), name, dict(pairs)))
            names.append(name)
        for number, output in zip(op.attrs["results"], op.outputs, strict=True):
            if names[number] != output:  # one line under two names
                self.nodes.append(Node(at, "reshape", (names[number],), output, {"shape": typed[number].shape}))

    @cached_property
    def made(self) -> Mapping[str, Node]:
        """The node that makes a value."""
        return {node.output: node for node in self.nodes}

    def const(self, name: str) -> Array | None:
        """The data of a constant, None for anything else."""
        return self.tensors[name].data

    def linear_operands(self, node: Node) -> tuple[str, ...]:
        """The values in which a node is linear with constant factors; none if it is not linear."""
        places = LINEAR.get(node.kind, ())
        if node.kind == "concat":
            return node.inputs
        if node.kind == "pad" and node.attrs.get("value", 0.0) != 0:  # its border is no response to anything
            return ()
        if node.kind == "rescale" and all(self.const(n) is None for n in node.inputs):
            return ()
        return tuple(node.inputs[i] for i in places if i < len(node.inputs) and self.const(node.inputs[i]) is None)

    def growing_operands(self, node: Node) -> tuple[str, ...]:
        """The values that can carry a state's growth through a node."""
        if node.kind in BOUNDED or self.tensors[node.output].dtype.numpy.kind == "b":
            return ()
        operands = node.inputs[1:] if node.kind == "where" else node.inputs
        return tuple(n for n in operands if self.const(n) is None and self.tensors[n].dtype.numpy.kind != "b")
