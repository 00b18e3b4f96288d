"""The document form of a graph: plain JSON values and a dict of arrays; graph.json and the text form stand on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import GraphError
from edgekit.ir.dtypes import DTYPES
from edgekit.ir.graph import Entry, Graph, Op, State, Tensor
from edgekit.ir.quant import QuantParams
from edgekit.ir.verify import check_total, verify

SCHEMA_VERSION = 1
Array = npt.NDArray[Any]


def _listed(value: Any) -> Any:
    return [_listed(v) for v in value] if isinstance(value, tuple) else value


def _tupled(value: Any) -> Any:
    return tuple(_tupled(v) for v in value) if isinstance(value, list) else value


def to_document(graph: Graph, *, provenance: bool = True) -> tuple[dict[str, Any], dict[str, Array]]:
    """Split a graph into a JSON-able document and its arrays.

    Arrays are named after their tensor; scales, zero points and first values of states carry the suffixes
    `:scale`, `:zero_point` and `:init` (left out when all zero).
    """
    weights: dict[str, Array] = {}
    tensors: list[dict[str, Any]] = []
    for t in graph.tensors.values():
        row: dict[str, Any] = {"name": t.name, "shape": list(t.shape), "dtype": t.dtype.name}
        if t.data is not None:
            row["const"] = True
            weights[t.name] = t.data
        if t.quant is not None:
            row["quant"] = {"axis": t.quant.axis, "qmin": t.quant.qmin, "qmax": t.quant.qmax}
            weights[f"{t.name}:scale"] = t.quant.scale
            weights[f"{t.name}:zero_point"] = t.quant.zero_point
        tensors.append(row)
    states: list[dict[str, Any]] = []
    for s in graph.states:
        zero = not s.init.any()
        states.append({"tensor": s.tensor, "reset": s.reset, "init": "zero" if zero else "data"})
        if not zero:
            weights[f"{s.tensor}:init"] = s.init
    entries: list[dict[str, Any]] = []
    for e in graph.entries.values():
        ops: list[dict[str, Any]] = []
        for op in e.ops:
            line: dict[str, Any] = {"kind": op.kind, "inputs": list(op.inputs), "outputs": list(op.outputs)}
            if op.attrs:
                line["attrs"] = {k: _listed(v) for k, v in op.attrs.items()}
            if provenance and op.source:
                line["source"] = op.source
            ops.append(line)
        entries.append(
            {
                "name": e.name,
                "inputs": list(e.inputs),
                "outputs": list(e.outputs),
                "ops": ops,
                "updates": [list(pair) for pair in e.updates.items()],
            }
        )
    document = {
        "schema_version": SCHEMA_VERSION,
        "name": graph.name,
        "dt": graph.dt,
        "tensors": tensors,
        "states": states,
        "entries": entries,
    }
    return document, weights


def _field(row: object, name: str, kind: type | tuple[type, ...], where: str) -> Any:
    if not isinstance(row, dict) or name not in row or not isinstance(row[name], kind) or isinstance(row[name], bool):
        raise GraphError(where, f"field {name!r} is missing or of the wrong kind")
    return row[name]


def _known(row: object, names: set[str], where: str) -> None:
    if not isinstance(row, dict) or not set(row) <= names:
        extra = sorted(set(row) - names) if isinstance(row, dict) else row
        raise GraphError(where, f"has unknown fields {extra!r}")


def _strings(row: object, name: str, where: str) -> tuple[str, ...]:
    values = _field(row, name, list, where)
    if not all(isinstance(v, str) for v in values):
        raise GraphError(where, f"field {name!r} must list names")
    return tuple(values)


class _Weights:
    """The arrays of a document, each of which must be asked for once."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._weights, self._left = weights, set(weights)

    def take(self, name: str) -> Array:
        if name not in self._weights:
            raise GraphError(f"weights {name!r}", "are missing")
        self._left.discard(name)
        return self._weights[name]

    def finish(self) -> None:
        if self._left:
            raise GraphError(f"weights {min(self._left)!r}", "belong to no tensor of the graph")


def _read_tensor(row: Any, weights: _Weights) -> Tensor:
    name = _field(row, "name", str, "graph document, a tensor")
    where = f"graph document, tensor {name[:80]!r}"
    _known(row, {"name", "shape", "dtype", "const", "quant"}, where)
    shape = _tupled(_field(row, "shape", list, where))
    dtype = _field(row, "dtype", str, where)
    if dtype not in DTYPES or not all(isinstance(n, int) and not isinstance(n, bool) for n in shape):
        raise GraphError(where, f"is declared {dtype[:40]!r}{shape!r:.80}")
    quant = None
    if row.get("quant") is not None:
        q = row["quant"]
        _known(q, {"axis", "qmin", "qmax"}, where)
        axis = None if q.get("axis") is None else _field(q, "axis", int, where)
        scale, zero = weights.take(f"{name}:scale"), weights.take(f"{name}:zero_point")
        if scale.dtype != np.float32 or zero.dtype != np.int32:
            raise GraphError(where, "has scales that are not float32 or zero points that are not int32")
        quant = QuantParams(scale, zero, axis, _field(q, "qmin", int, where), _field(q, "qmax", int, where))
    data = weights.take(name) if row.get("const") is True else None
    return Tensor(name, shape, DTYPES[dtype], quant, data)


def _read_state(row: Any, tensors: Mapping[str, Tensor], weights: _Weights) -> State:
    name = _field(row, "tensor", str, "graph document, a state")
    where = f"graph document, state {name[:80]!r}"
    _known(row, {"tensor", "reset", "init"}, where)
    if name not in tensors:
        raise GraphError(where, "has no tensor")
    init = _field(row, "init", str, where)
    if init not in ("zero", "data"):
        raise GraphError(where, f"has first value {init[:40]!r}", "known are 'zero' and 'data'")
    tensor = tensors[name]
    data = np.zeros(tensor.shape, tensor.dtype.numpy) if init == "zero" else weights.take(f"{name}:init")
    return State(name, data, _field(row, "reset", str, where))


def _read_entry(row: Any) -> Entry:
    name = _field(row, "name", str, "graph document, an entry")
    where = f"graph document, entry {name[:80]!r}"
    _known(row, {"name", "inputs", "outputs", "ops", "updates"}, where)
    ops: list[Op] = []
    for line in _field(row, "ops", list, where):
        _known(line, {"kind", "inputs", "outputs", "attrs", "source"}, where)
        attrs = line.get("attrs", {})
        source = line.get("source", "")
        if not isinstance(attrs, dict) or not isinstance(source, str):
            raise GraphError(where, "has an op with malformed attributes")
        kind = _field(line, "kind", str, where)
        frozen_attrs = {str(k): _tupled(v) for k, v in attrs.items()}
        ops.append(Op(kind, _strings(line, "inputs", where), _strings(line, "outputs", where), frozen_attrs, source))
    updates: dict[str, str] = {}
    for pair in _field(row, "updates", list, where):
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(p, str) for p in pair)):
            raise GraphError(where, "has a malformed state update")
        if pair[0] in updates:
            raise GraphError(where, f"updates state {pair[0][:80]!r} twice")
        updates[pair[0]] = pair[1]
    return Entry(name, _strings(row, "inputs", where), _strings(row, "outputs", where), tuple(ops), updates)


def from_document(document: object, weights: Mapping[str, Array]) -> Graph:
    """Rebuild and verify a graph from its document and arrays; both may come from a hostile file.

    Raises GraphError that names the first malformed field.
    """
    where = "graph document"
    _known(document, {"schema_version", "name", "dt", "tensors", "states", "entries"}, where)
    version = _field(document, "schema_version", int, where)
    if version != SCHEMA_VERSION:
        raise GraphError(where, f"has schema version {version}", f"this edgekit reads version {SCHEMA_VERSION}")
    arrays = _Weights(weights)
    tensors: dict[str, Tensor] = {}
    for row in _field(document, "tensors", list, where):
        tensor = _read_tensor(row, arrays)
        if tensor.name in tensors:
            raise GraphError(where, f"tensor {tensor.name[:80]!r} is defined twice")
        tensors[tensor.name] = tensor
    check_total(tensors)  # before an array of a state is made
    states = tuple(_read_state(row, tensors, arrays) for row in _field(document, "states", list, where))
    entries: dict[str, Entry] = {}
    for row in _field(document, "entries", list, where):
        entry = _read_entry(row)
        if entry.name in entries:
            raise GraphError(where, f"entry {entry.name[:80]!r} is defined twice")
        entries[entry.name] = entry
    arrays.finish()
    assert isinstance(document, dict)  # _known has refused anything else
    dt = None if document.get("dt") is None else float(_field(document, "dt", (int, float), where))
    return verify(Graph(_field(document, "name", str, where), tensors, states, entries, dt))
