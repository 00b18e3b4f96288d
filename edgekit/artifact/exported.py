"""What travels inside an exported .onnx or .tflite: which inputs and outputs are states, dt, and the io section."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.artifact.describe import describe_io
from edgekit.artifact.schema import Check, choice, list_of, number, optional, record, whole
from edgekit.artifact.strict_json import dump_json, parse_object
from edgekit.artifact.validate import DTYPE, IO, NAME, PRECISIONS, SHA256, SHAPE, io_faults
from edgekit.errors import ArtifactError
from edgekit.ir import DTYPES, FLOAT32, DType, Graph
from edgekit.ir.graph import RESET_POLICIES

KEY = "edgekit"
"""Under this name a file holds the document: a metadata property of ONNX, a metadata buffer of TFLite."""
SCHEMA_VERSION = 1
MAX_BYTES = 2**26  # first values of large states are part of it
NEXT = ".next"

Array = npt.NDArray[Any]


def _base64(value: Any, path: str) -> list[str]:
    """Text of any length; `_init_fault` decodes it beside its shape."""
    return [] if isinstance(value, str) and value.isascii() else [f"{path} is not base64"]


_QUANT = {"scale": optional(number(positive=True)), "zero_point": optional(whole())}
_STATE = record(
    {
        "name": NAME,
        "input": NAME,
        "output": NAME,
        "shape": SHAPE,
        "dtype": DTYPE,
        "reset": choice(*RESET_POLICIES),
        "init": optional(_base64),  # little-endian; null: zeros
    },
    _QUANT,
)
_PORT = record({"name": NAME, "shape": SHAPE, "dtype": DTYPE}, _QUANT)
DOCUMENT: Check = record(
    {
        "schema_version": choice(SCHEMA_VERSION),
        "name": NAME,
        "precision": choice(*PRECISIONS),
        "graph_sha256": SHA256,
        "dt": optional(number(positive=True)),
        "inputs": list_of(_PORT, minimum=1, maximum=256),
        "outputs": list_of(_PORT, minimum=1, maximum=256),
        "states": list_of(_STATE, maximum=1024),
        "io": IO,
    }
)


@dataclass(frozen=True)
class Quantised:
    """How an integer port stands for reals: real = (stored - zero_point) · scale."""

    scale: float
    zero_point: int = 0


@dataclass(frozen=True)
class Port:
    """An input or output of an exported step, its shape without the batch; `quant` of an integer one."""

    name: str
    shape: tuple[int, ...]
    dtype: DType
    quant: Quantised | None = None


@dataclass(frozen=True, eq=False)
class StatePort:
    """A state of an exported step: its name, the input that takes it, the output that gives its next value."""

    name: str
    input: str
    output: str
    shape: tuple[int, ...]
    dtype: DType
    init: Array
    reset: str
    quant: Quantised | None = None


@dataclass(frozen=True, eq=False)
class StepDocument:
    """A checked document: what an exported step takes and gives beside its weights."""

    name: str
    precision: str
    graph_sha256: str
    dt: float | None
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    states: tuple[StatePort, ...]
    io: Mapping[str, Any]


def state_output(name: str) -> str:
    """The output that gives the next value of a state."""
    return f"{name}{NEXT}"


def step_document(
    graph: Graph,
    *,
    meta: Mapping[str, Any],
    precision: str,
    dtypes: Mapping[str, DType] | None = None,
    quant: Mapping[str, Quantised] | None = None,
) -> dict[str, Any]:
    """The document of a graph's step; `meta` is the io section as `check_meta` gives it.

    Ports are float32 (a spike is 0.0 or 1.0) except those with a dtype in `dtypes`; `quant` says what their integers
    stand for. First values of states are written in the dtype of their port: quantised ones are rounded half up.
    """
    dtypes, quant, step = dtypes or {}, quant or {}, graph.entries["step"]

    def port(name: str) -> dict[str, Any]:
        row: dict[str, Any] = {
            "name": name,
            "shape": list(graph.tensors[name].shape),
            "dtype": dtypes.get(name, FLOAT32).name,
        }
        if name in quant:
            row |= {"scale": quant[name].scale, "zero_point": quant[name].zero_point}
        return row

    states = []
    for state in graph.states:
        first = np.asarray(state.init, np.float64)
        dtype = dtypes.get(state.tensor, FLOAT32)
        if state.tensor in quant:
            params = quant[state.tensor]
            low, high = dtype.limits
            first = np.clip(np.floor(first / params.scale + 0.5) + params.zero_point, low, high)
        stored = first.astype(dtype.numpy)
        init = base64.b64encode(stored.astype(stored.dtype.newbyteorder("<")).tobytes()).decode()
        ends = {"input": state.tensor, "output": state_output(state.tensor), "reset": state.reset}
        states.append({**port(state.tensor), **ends, "init": init if stored.any() else None})
    return {
        "schema_version": SCHEMA_VERSION,
        "name": graph.name,
        "precision": precision,
        "graph_sha256": graph.hash(),
        "dt": graph.dt,
        "inputs": [port(n) for n in step.inputs],
        "outputs": [port(n) for n in step.outputs],
        "states": states,
        "io": describe_io(graph, meta),
    }


def dump_step_document(document: Mapping[str, Any]) -> bytes:
    """The bytes that go into a file."""
    return dump_json(document)


def read_step_document(data: bytes | str, where: str = "metadata") -> StepDocument:
    """Check and read a document; ArtifactError that lists what is malformed or does not fit together."""
    found = parse_object(data.encode() if isinstance(data, str) else data, where, MAX_BYTES)
    faults = DOCUMENT(found, "") or io_faults(found["io"])
    if not faults:
        names = [p["name"] for side in ("inputs", "outputs") for p in found[side]]
        names += [s[end] for s in found["states"] for end in ("input", "output")]
        faults = [f"{name!r} is named twice" for name in sorted({n for n in names if names.count(n) > 1})]
        faults += [f"state {s['name']!r}: {fault}" for s in found["states"] if (fault := _init_fault(s))]
    if faults:
        raise ArtifactError(where, faults[0], items=faults[1:12])
    return StepDocument(
        name=found["name"],
        precision=found["precision"],
        graph_sha256=found["graph_sha256"],
        dt=found["dt"],
        inputs=tuple(map(_port, found["inputs"])),
        outputs=tuple(map(_port, found["outputs"])),
        states=tuple(map(_state, found["states"])),
        io=found["io"],
    )


def _port(row: Mapping[str, Any]) -> Port:
    return Port(row["name"], tuple(row["shape"]), DTYPES[row["dtype"]], _quant(row))


def _quant(row: Mapping[str, Any]) -> Quantised | None:
    return None if row.get("scale") is None else Quantised(row["scale"], row.get("zero_point") or 0)


def _wire(row: Mapping[str, Any]) -> np.dtype[Any]:
    return np.dtype(DTYPES[row["dtype"]].numpy).newbyteorder("<")


def _init_fault(row: Mapping[str, Any]) -> str:
    if row["init"] is None:
        return ""
    try:
        data = base64.b64decode(row["init"], validate=True)
    except binascii.Error:
        return "its first value is not base64"
    if len(data) != prod(row["shape"]) * _wire(row).itemsize:
        return f"its first value has {len(data)} bytes, which is not {row['dtype']}{row['shape']}"
    if DTYPES[row["dtype"]].is_float and not np.isfinite(np.frombuffer(data, _wire(row))).all():
        return "its first value holds NaN or Inf"
    return ""


def _state(row: Mapping[str, Any]) -> StatePort:
    shape, dtype = tuple(row["shape"]), DTYPES[row["dtype"]]
    if row["init"] is None:
        init = np.zeros(shape, dtype.numpy)
    else:
        init = np.frombuffer(base64.b64decode(row["init"]), _wire(row)).reshape(shape).astype(dtype.numpy)
    return StatePort(row["name"], row["input"], row["output"], shape, dtype, init, row["reset"], _quant(row))
