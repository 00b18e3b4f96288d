"""Raw graphs as objects of the nir package, and as the bytes of a file."""

from __future__ import annotations

import io
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from edgekit.errors import UnsupportedError, UsageError
from edgekit.nir.flatten import PASS
from edgekit.nir.nodes import PARAMETERS, SIZES, Node
from edgekit.nir.program import Program
from edgekit.nir.raw import GRAPH, RawNode

PORTS = {"Input": "input", "Output": "output"}


def nir_package() -> Any:
    """The nir package; UsageError where it is not installed."""
    try:
        return import_module("nir")
    except ImportError as error:
        raise UsageError("NIR export", "needs the nir package", "pip install 'edgekit[nir]'") from error


def to_nir(raw: RawNode, program: Program) -> Any:
    """The `nir.NIRGraph` of a flat raw graph, whose nodes are told the shapes that they have in its program."""
    nir = nir_package()
    nodes = {name: _object(nir, node) for name, node in raw.nodes.items()}
    for name, node in nodes.items():
        node.input_type = {"input": np.asarray(program.taken[name])}
        node.output_type = {"output": np.asarray(program.given[name])}
    # nir's own check miscounts kernels that are not square, and channels in groups
    return nir.NIRGraph(nodes=nodes, edges=list(raw.edges), metadata=dict(raw.metadata), type_check=False)


def _object(nir: Any, node: RawNode) -> Any:
    fields = {name: value for name, value in node.fields.items() if name != "shape"}
    if node.kind in PORTS:
        return getattr(nir, node.kind)(np.asarray(node.fields["shape"]))
    if node.kind == "Flatten":
        fields["input_type"] = {"input": np.asarray(fields["input_type"])}
    if node.kind in SIZES and not node.kind.endswith("Pool2d"):  # nir takes ints and tuples there
        sized = {name for name, _, _ in SIZES[node.kind]} | {"input_shape"}
        fields = {k: _python(v) if k in sized else v for k, v in fields.items()}
    return getattr(nir, node.kind)(**fields)


def _python(value: Any) -> Any:
    if isinstance(value, str):
        return value
    flat = np.asarray(value).reshape(-1).tolist()
    return int(flat[0]) if np.ndim(value) == 0 else tuple(int(n) for n in flat)


def to_bytes(graph: Any) -> bytes:
    """The `.nir` file of a `nir.NIRGraph`; UnsupportedError for names that HDF5 takes for a path."""
    paths = [name for name in graph.nodes if "/" in name or name == "."]
    if paths:
        raise UnsupportedError("NIR export", "has node names that no file can hold", "rename the nodes", items=paths)
    stream = io.BytesIO()
    nir_package().write(stream, graph)
    return stream.getvalue()


def raw_of(program: Program) -> RawNode:
    """The raw graph of a program: its nodes with the parameters they came with, and the conventions as metadata."""
    nodes = {name: _raw(program, node) for name, node in program.flat.nodes.items() if node.kind != PASS}
    return RawNode(GRAPH, nodes=nodes, edges=_edges(program), metadata=program.conventions.to_metadata())


def _raw(program: Program, node: Node) -> RawNode:
    shape = program.taken[node.name]
    fields: dict[str, Any] = {}
    for parameter in PARAMETERS[node.kind]:
        name = parameter.removesuffix("?")
        if name in node.values:
            fields[name] = node[name]
        elif name in ("v_reset", "w_in"):
            fields[name] = np.full_like(node["r"], 0.0 if name == "v_reset" else 1.0)
        elif name == "bias":
            fields[name] = np.zeros(node["weight"].shape[0])
    fields.update({name: _size(node.kind, value) for name, value in node.sizes.items()})
    if node.kind in PORTS:
        fields["shape"] = np.asarray(shape)
    elif node.kind == "Flatten":
        fields["input_type"] = np.asarray(shape)
    elif node.kind in ("Conv1d", "Conv2d"):
        fields["input_shape"] = shape[1] if node.kind == "Conv1d" else tuple(shape[1:])
    return RawNode(node.kind, fields)


def _size(kind: str, value: tuple[int, ...] | str) -> Any:
    if isinstance(value, str):
        return value
    if kind.endswith("Pool2d"):
        return np.asarray(value)
    return value[0] if len(value) == 1 else value


def _edges(program: Program) -> tuple[tuple[str, str], ...]:
    """The edges, over the ports of inner graphs."""
    flat = program.flat

    def ends(name: str, neighbours: Mapping[str, tuple[str, ...]]) -> list[str]:
        if flat.nodes[name].kind != PASS:
            return [name]
        return [end for other in neighbours[name] for end in ends(other, neighbours)]

    found: dict[tuple[str, str], None] = {}
    for source, reader in flat.edges:
        if flat.nodes[source].kind != PASS:
            found.update({(source, end): None for end in ends(reader, flat.readers)})
    return tuple(found)
