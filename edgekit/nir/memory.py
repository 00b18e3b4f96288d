"""A `nir.NIRGraph` in memory as a raw graph."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from edgekit.errors import ModelError
from edgekit.nir.raw import GRAPH, Budget, RawNode, name_of, plain, small

THING = "the NIR graph"
# Fields that say what other fields say too; those of Input, Output and Flatten are read below.
DERIVED = ("input_type", "output_type", "metadata", "nodes", "edges")


def from_memory(graph: object) -> RawNode:
    """The raw form of a NIR graph object; ModelError for anything else."""
    if type(graph).__name__ != GRAPH:
        raise ModelError(f"{type(graph).__name__} object", "is not a NIR graph", "give a nir.NIRGraph or a file")
    try:
        return _node(graph, Budget(THING), 0)
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelError(THING, f"is malformed ({type(error).__name__}: {str(error)[:200]})") from error


def _node(node: Any, budget: Budget, depth: int) -> RawNode:
    budget.depth(depth)
    budget.take("nodes", 1)
    kind = type(node).__name__
    metadata = {str(k): v for k, v in _small(getattr(node, "metadata", None)).items() if v is not None}
    if kind == GRAPH:
        budget.take("edges", len(node.edges))
        nodes = {name_of(THING, name): _node(inner, budget, depth + 1) for name, inner in node.nodes.items()}
        edges = tuple((name_of(THING, a), name_of(THING, b)) for a, b in node.edges)
        return RawNode(kind, {}, nodes, edges, metadata)
    names = [f.name for f in dataclasses.fields(node)] if dataclasses.is_dataclass(node) else []
    fields = {name: _field(budget, getattr(node, name, None)) for name in names if name not in DERIVED}
    for kinds, type_name, port, name in (
        (("Input",), "input_type", "input", "shape"),
        (("Output",), "output_type", "output", "shape"),
        (("Flatten",), "input_type", "input", "input_type"),
    ):
        if kind in kinds:
            ports = getattr(node, type_name, None)
            fields[name] = _field(budget, ports.get(port) if isinstance(ports, dict) else ports)
    return RawNode(kind, fields, metadata=metadata)


def _field(budget: Budget, value: object) -> Any:
    try:
        value = plain(value)
    except (TypeError, ValueError, RuntimeError) as error:  # arrays of a framework that are not on this computer, …
        raise ModelError(THING, f"has a field that is no array ({str(error)[:100]})") from error
    if isinstance(value, np.ndarray):
        budget.take("values", value.size)
    return value


def _small(metadata: object) -> dict[Any, Any]:
    return {k: small(v) for k, v in metadata.items() if not isinstance(v, dict)} if isinstance(metadata, dict) else {}
