"""A .tflite of unknown origin, checked as a whole before a runtime sees it: those trust what they are given.

Only what edgekit writes is taken: its operators, its options, its metadata. Every index lies in its list, every
constant has the bytes of its shape, every value is computed once and before it is used, every operator fits its values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from edgekit.artifact.exported import KEY, StepDocument, read_step_document
from edgekit.backends.tflite.flat import WHERE, Flat
from edgekit.backends.tflite.parts import Operator, Subgraph, Value, need
from edgekit.backends.tflite.schema import ABSENT, BUILTINS, IDENTIFIER, VERSION
from edgekit.backends.tflite.sound import check_operator
from edgekit.errors import ArtifactError

MAX_BYTES = 2**28  # of a file
MAX_MEMORY = 2**30  # of all values of a step together
MAX_ELEMENTS = 2**28
MAX_RANK = 8
MAX_PORTS = 2048  # of a subgraph or an operator
MAX_VERSION = 20
STEP, INIT, RESET = "step", "init", "reset"

# number of a type -> its name and the numpy type of its elements; a RESOURCE is a reference
TYPES = {
    0: ("FLOAT32", "<f4"),
    2: ("INT32", "<i4"),
    4: ("INT64", "<i8"),
    6: ("BOOL", "|b1"),
    7: ("INT16", "<i2"),
    9: ("INT8", "|i1"),
    13: ("RESOURCE", ""),
}
_WIDTHS = {name: np.dtype(dtype).itemsize if dtype else 4 for name, dtype in TYPES.values()}
_BY_NUMBER = {row.number: name for name, row in BUILTINS.items()}
_OPTIONS = {row.union: row.options for row in BUILTINS.values() if row.options}


@dataclass(frozen=True, eq=False)
class TfliteModel:
    """A checked model; `resource` tells that it keeps its states inside."""

    document: StepDocument
    subgraphs: tuple[Subgraph, ...]
    resource: bool


def read_tflite(data: bytes) -> TfliteModel:
    """Check a model and return its parts; ArtifactError at the first thing that is not sound."""
    if len(data) > MAX_BYTES:
        raise ArtifactError(WHERE, f"{len(data):,} bytes are more than the cap of {MAX_BYTES:,}")
    root = Flat(data, _OPTIONS).root("Model", IDENTIFIER)
    need(root["version"] == VERSION, f"is of schema version {root['version']}, not {VERSION}")
    codes = [_builtin(row) for row in root["codes"]]
    buffers = [row["data"] for row in root["buffers"]]
    need(bool(buffers) and not buffers[0].size, "its first buffer is not empty")
    subgraphs = tuple(_subgraph(row, codes, buffers) for row in root["subgraphs"])
    document = _document(root["metadata"], buffers)
    resource = _check_signatures(root["signatures"], subgraphs, document)
    for at, graph in enumerate(subgraphs):
        _check_order(graph)
        for operator in graph.operators:
            check_operator(operator, graph, at)
    if resource:
        _check_variables(subgraphs, document)
    return TfliteModel(document, subgraphs, resource)


def _builtin(row: Mapping[str, Any]) -> str:
    name = _BY_NUMBER.get(row["number"])
    if name is None:
        raise ArtifactError(WHERE, f"has operator code {row['number']}, which edgekit does not write")
    need(row["deprecated"] == min(row["number"], 127), "has an operator code that contradicts itself")
    need(1 <= row["version"] <= MAX_VERSION, f"has {name} of version {row['version']}")
    return name


def _subgraph(row: Mapping[str, Any], codes: Sequence[str], buffers: Sequence[Any]) -> Subgraph:
    values = tuple(_value(tensor, buffers) for tensor in row["tensors"])
    memory = sum(prod(v.shape) * _WIDTHS[v.type] for v in values)
    need(memory <= MAX_MEMORY, f"its values take {memory:,} bytes, more than the cap of {MAX_MEMORY:,}")
    operators = tuple(_operator(op, codes, len(values)) for op in row["operators"])
    ends = [_indices(row[side], len(values)) for side in ("inputs", "outputs")]
    return Subgraph(row["name"], values, operators, *ends)


def _value(row: Mapping[str, Any], buffers: Sequence[Any]) -> Value:
    name = row["name"]
    need(row["shape"].size <= MAX_RANK, f"value {name!r:.80} has {row['shape'].size} axes")
    shape = tuple(map(int, row["shape"]))
    need(row["type"] in TYPES, f"value {name!r:.80} has type {row['type']}, which edgekit does not write")
    kind, dtype = TYPES[row["type"]]
    sound = all(1 <= n <= MAX_ELEMENTS for n in shape) and prod(shape) <= MAX_ELEMENTS
    need(sound, f"value {name!r:.80} has shape {shape!r:.80}")
    need(row["buffer"] < len(buffers), f"value {name!r:.80} has a buffer that is not there")
    raw, data = buffers[row["buffer"]], None
    if row["buffer"]:
        need(bool(dtype), f"resource {name!r:.80} has a buffer")
        size = prod(shape) * np.dtype(dtype).itemsize
        need(raw.size == size, f"constant {name!r:.80} of shape {shape} has {raw.size} bytes, not {size}")
        need(dtype != "|b1" or bool((raw <= 1).all()), f"constant {name!r:.80} has flags that are neither 0 nor 1")
        data = raw.view(dtype).reshape(shape)
    return Value(name, shape, kind, data, _quant(row["quant"], name, kind, shape))


def _quant(row: Mapping[str, Any] | None, name: str, kind: str, shape: tuple[int, ...]) -> Any:
    if row is None:
        return None
    scale, zero, axis = row["scale"], row["zero_point"], row["axis"]
    need(kind in ("INT8", "INT16", "INT32", "INT64"), f"value {name!r:.80} of type {kind} has scales")
    need(0 <= axis < max(len(shape), 1), f"value {name!r:.80} has scales along axis {axis}")
    fits = scale.size == zero.size and scale.size in {1, *(shape[axis : axis + 1])}
    need(fits, f"value {name!r:.80} has {scale.size} scales and {zero.size} zero points")
    need(bool(np.isfinite(scale).all() and (scale > 0).all()), f"value {name!r:.80} has a scale that is not positive")
    limit = {"INT8": 128, "INT16": 32768}.get(kind, 2**31)
    need(bool(((zero >= -limit) & (zero <= limit)).all()), f"value {name!r:.80} has a zero point out of range")
    return scale, zero, axis


def _indices(row: Any, count: int) -> tuple[int, ...]:
    need(row.size <= MAX_PORTS, f"has a list of {row.size:,} values")
    found = tuple(map(int, row))
    need(all(0 <= i < count for i in found), "refers to a value that is not there")
    return found


def _operator(row: Mapping[str, Any], codes: Sequence[str], count: int) -> Operator:
    need(row["code"] < len(codes), "has an operator without a code")
    builtin = codes[row["code"]]
    fits = row["options_type"] == BUILTINS[builtin].union
    need(fits, f"{builtin} has options of kind {row['options_type']}")
    need(row["inputs"].size <= MAX_PORTS, f"{builtin} takes {row['inputs'].size:,} values")
    given = tuple(map(int, row["inputs"]))
    need(all(ABSENT <= i < count for i in given), f"{builtin} takes a value that is not there")
    return Operator(builtin, given, _indices(row["outputs"], count), row["options"] or {})


def _document(metadata: Sequence[Mapping[str, Any]], buffers: Sequence[Any]) -> StepDocument:
    found = [row for row in metadata if row["name"] == KEY]
    need(len(found) == 1 and len(metadata) == 1, f"has no metadata of edgekit's alone: {len(metadata)} entries")
    need(0 < found[0]["buffer"] < len(buffers), "its metadata are not there")
    return read_step_document(buffers[found[0]["buffer"]].tobytes(), f"{WHERE}: metadata")


def _check_order(graph: Subgraph) -> None:
    """Every value is an input, a constant, or the result of one operator, and known before it is used."""
    known = {i for i, v in enumerate(graph.values) if v.data is not None}
    need(len(set(graph.inputs)) == len(graph.inputs) and not known & set(graph.inputs), "has an input twice")
    known |= set(graph.inputs)
    for operator in graph.operators:
        used = {i for i in operator.inputs if i != ABSENT}
        need(used <= known, f"{operator.builtin} uses a value before it is computed")
        made = set(operator.outputs)
        need(len(made) == len(operator.outputs) and not made & known, f"{operator.builtin} gives a value a second time")
        known |= made
    ends = set(graph.outputs)
    fresh = ends <= known - set(graph.inputs) and len(ends) == len(graph.outputs)
    need(fresh and all(graph.values[i].data is None for i in ends), "has an output that no operator gives alone")


def _check_signatures(rows: Sequence[Mapping[str, Any]], subgraphs: Sequence[Subgraph], document: StepDocument) -> bool:
    """Whether states are kept inside: three signatures then, one otherwise. Ports are those of the document."""
    keys = [row["key"] for row in rows]
    resource = len(rows) > 1
    need(keys == ([STEP, INIT, RESET] if resource else [STEP]), f"has signatures {keys!r:.80}")
    need([row["subgraph"] for row in rows] == list(range(len(subgraphs))), "has a subgraph for not each signature")
    need(not resource or bool(document.states), "has signatures for states that it does not have")
    for row, graph in zip(rows, subgraphs, strict=True):
        for side, ends in (("inputs", graph.inputs), ("outputs", graph.outputs)):
            named = {port["name"]: port["tensor"] for port in row[side]}
            need(len(named) == len(row[side]) == len(ends), f"its signature has other {side} than its subgraph")
            need(list(named.values()) == list(ends), f"its signature has other {side} than its subgraph")
            wanted = _ports(document, side, resource) if row["key"] == STEP else {}
            found = {name: (graph.values[i].shape, graph.values[i].type) for name, i in named.items()}
            need(found == wanted, f"its {row['key']} has {side} that are not those of its metadata")
    return resource


def _ports(document: StepDocument, side: str, resource: bool) -> dict[str, tuple[tuple[int, ...], str]]:
    states = () if resource else document.states
    ports = [(p.name, p.shape, p.dtype) for p in (document.inputs if side == "inputs" else document.outputs)]
    ports += [(s.input if side == "inputs" else s.output, s.shape, s.dtype) for s in states]
    return {name: ((1, *shape), dtype.name.upper()) for name, shape, dtype in ports}


def _check_variables(subgraphs: Sequence[Subgraph], document: StepDocument) -> None:
    """Variables are the states; `init` and `reset` do nothing but assign to them."""
    known = {s.name: ((1, *s.shape), s.dtype.name.upper()) for s in document.states}
    for at, graph in enumerate(subgraphs):
        handles: dict[int, str] = {}
        for operator in graph.operators:
            if operator.builtin == "VAR_HANDLE":
                name = operator.options["name"]
                need(name in known and not operator.options["container"], f"has a variable {name!r:.80} of no state")
                handles[operator.outputs[0]] = name
            elif operator.builtin in ("READ_VARIABLE", "ASSIGN_VARIABLE"):
                value = graph.values[(*operator.inputs[1:], *operator.outputs)[0]]
                fits = known.get(handles.get(operator.inputs[0], "")) == (value.shape, value.type)
                need(fits, f"{operator.builtin} of {value.name!r:.80} does not fit its state")
            else:
                need(at == 0, f"its {graph.name!r:.20} does more than assign first values")
        if at == 1:
            assigned = {handles[op.inputs[0]] for op in graph.operators if op.builtin == "ASSIGN_VARIABLE"}
            need(assigned == set(known), "its init does not give a first value to every state")
    first = subgraphs[0].operators[0]
    need(first.builtin == "CALL_ONCE" and first.options["subgraph"] == 1, "its step does not begin with init")
