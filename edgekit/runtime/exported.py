"""Streams of exported files: ONNX in ONNX Runtime, TFLite in LiteRT, their states carried from step to step here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.artifact.exported import KEY, Port, StepDocument, read_step_document
from edgekit.artifact.read import load_bytes
from edgekit.errors import ArtifactError, DataError, StateError, UsageError
from edgekit.runtime.facts import exported_facts
from edgekit.runtime.properties import onnx_properties
from edgekit.runtime.streams import Array

if TYPE_CHECKING:
    from edgekit.backends.onnx import OnnxRuntime
    from edgekit.backends.tflite import TfliteStep

ONNX, TFLITE = ".onnx", ".tflite"
EXPORTED = (ONNX, TFLITE)
FOREIGN = "carries no description of edgekit's: its states are not known"
CONVERT_FIRST = "convert it first: edgekit convert MODEL --format edge"


def is_exported(source: object) -> bool:
    """Whether this is the path of a file that another runtime runs."""
    return isinstance(source, (str, PathLike)) and Path(source).suffix in EXPORTED


def read_exported(path: str | PathLike[str]) -> tuple[bytes, StepDocument]:
    """The bytes of an exported file and the document in it; no runtime has seen it yet.

    ArtifactError for a file that cannot be read, is damaged, or was not written by edgekit.
    """
    path = Path(path)
    try:
        data = load_bytes(path)
        if not data:
            raise ArtifactError("file", "is empty", "export it again")
        if path.suffix == ONNX:
            text = onnx_properties(data).get(KEY)
            if text is None:
                raise ArtifactError("ONNX file", FOREIGN, CONVERT_FIRST)
            return data, read_step_document(text, f"ONNX property {KEY}")
        from edgekit.backends.tflite import read_tflite

        return data, read_tflite(data).document
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error.thing}", error.cause, error.remedy, error.items) from error


def exported_stream(path: str | PathLike[str]) -> ExportedStream:
    """A stream of an exported file; ToolchainError when the runtime it needs is not installed."""
    path = Path(path)
    data, _ = read_exported(path)
    try:
        return OnnxStream.open(data) if path.suffix == ONNX else TfliteStream.open(data)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error.thing}", error.cause, error.remedy, error.items) from error


class ExportedStream(ABC):
    """One stream of an exported step: float32 in and out, as of any float program; integer ports are served here.

    NaN and Inf are refused, and the state is then untouched.
    """

    def __init__(self, document: StepDocument, engine: str) -> None:
        self.document, self.engine = document, engine
        self.layout = exported_facts(document).layout
        self._state = self._first()

    @abstractmethod
    def _execute(self, ports: Mapping[str, Array], state: Mapping[str, Array]) -> tuple[dict[str, Array], Any]:
        """One step over arrays [1, *shape] in the dtypes of the ports: outputs, and the states after it."""

    @abstractmethod
    def fork(self) -> ExportedStream:
        """Another stream of the same program, in the initial state."""

    def _first(self) -> dict[str, Array]:
        return {s.name: np.asarray(s.init)[None] for s in self.document.states}

    def call(self, entry: str, inputs: Sequence[Array]) -> list[Array]:
        """Run the step once; UsageError for another entry."""
        if entry != "step":
            raise UsageError(f"entry {entry!r}", "is not in an exported file, which is a step alone")
        self._check(inputs)
        return [y[0] for y in self._steps([np.asarray(x)[None] for x in inputs])]

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run the step over [T, *shape] arrays."""
        self._check(inputs)
        return self._steps(inputs)

    def _steps(self, inputs: Sequence[Array]) -> list[Array]:
        stored = [stored_port(p, x, self.document.io) for p, x in zip(self.document.inputs, inputs, strict=True)]
        ends = self.document.outputs
        found = [np.empty((len(stored[0]), *p.shape), p.dtype.numpy) for p in ends]
        for t in range(len(stored[0])):
            ports = {p.name: x[t : t + 1] for p, x in zip(self.document.inputs, stored, strict=True)}
            outputs, self._state = self._execute(ports, self._state)
            for port, array in zip(ends, found, strict=True):
                array[t] = outputs[port.name][0]
        return [real_port(p, y) for p, y in zip(ends, found, strict=True)]

    def _check(self, inputs: Sequence[Array]) -> None:
        for port, array in zip(self.document.inputs, inputs, strict=True):
            if not np.isfinite(array).all():
                remedy = "the step is refused and the state is untouched"
                raise DataError(f"input {port.name!r}", "holds NaN or Inf", remedy)

    def reset(self) -> None:
        """First values for all states but those that a reset keeps."""
        first = self._first()
        kept = {s.name for s in self.document.states if s.reset == "keep"}
        self._state = {name: self._state[name] if name in kept else value for name, value in first.items()}

    def save(self) -> bytes:
        """The state blob."""
        return self.layout.pack({name: value[0] for name, value in self._state.items()})

    def restore(self, blob: bytes) -> None:
        """Take over a state blob; StateError when it does not belong here."""
        self._state = {name: value[None] for name, value in self.layout.unpack(blob).items()}


def stored_port(port: Port, raw: Array, io: Mapping[str, Any]) -> Array:
    """Raw values as a port takes them: an integer port the nearest integers of its scale, of normalised values."""
    if port.quant is None:
        return np.ascontiguousarray(raw, port.dtype.numpy)
    from edgekit.backends.tflite.measure import stored_values

    told: Mapping[str, Any] = next((row for row in io["inputs"] if row["name"] == port.name), {})
    real = np.asarray(raw, np.float32)
    if told.get("scale") is not None:
        repeats = port.shape[-1] // len(told["scale"])
        offset, scale = (np.tile(np.asarray(told[key], np.float32), repeats) for key in ("offset", "scale"))
        real = (real - offset) * scale
    return stored_values(port, real)


def real_port(port: Port, stored: Array) -> Array:
    """What a port gave, as float32."""
    if port.quant is None:
        return np.asarray(stored, np.float32)
    from edgekit.backends.tflite.measure import real_values

    return np.asarray(real_values(port, stored), np.float32)


class OnnxStream(ExportedStream):
    """A stream in ONNX Runtime; the runtime's session holds no state and is shared by all streams."""

    def __init__(self, runtime: OnnxRuntime) -> None:
        self._runtime = runtime
        super().__init__(runtime.document, f"onnxruntime {version('onnxruntime')} (CPUExecutionProvider)")

    @classmethod
    def open(cls, data: bytes) -> OnnxStream:
        """A stream of the bytes of a file."""
        from edgekit.backends.onnx import OnnxRuntime

        return cls(OnnxRuntime(data))

    def _execute(self, ports: Mapping[str, Array], state: Mapping[str, Array]) -> tuple[dict[str, Array], Any]:
        sequence = self._runtime.form == "sequence"
        given = {name: value[None] for name, value in ports.items()} if sequence else dict(ports)
        got = self._runtime.run({**given, **{s.input: state[s.name] for s in self.document.states}})
        outputs = {p.name: got[p.name][0] if sequence else got[p.name] for p in self.document.outputs}
        return outputs, {s.name: got[s.output] for s in self.document.states}

    def _steps(self, inputs: Sequence[Array]) -> list[Array]:
        if self._runtime.form != "sequence":
            return super()._steps(inputs)
        stored = [stored_port(p, x, self.document.io) for p, x in zip(self.document.inputs, inputs, strict=True)]
        ports = {p.name: x for p, x in zip(self.document.inputs, stored, strict=True)}
        outputs, self._state = self._execute(ports, self._state)
        return [real_port(p, outputs[p.name]) for p in self.document.outputs]

    def fork(self) -> OnnxStream:
        """Another stream of the same program, in the initial state."""
        return OnnxStream(self._runtime)


class TfliteStream(ExportedStream):
    """A stream in LiteRT. A model that keeps its states inside has an interpreter for each stream, and no blobs."""

    def __init__(self, data: bytes, model: TfliteStep) -> None:
        self._data, self._model = data, model
        super().__init__(model.document, f"{model.engine} (XNNPACK)")

    @classmethod
    def open(cls, data: bytes) -> TfliteStream:
        """A stream of the bytes of a file, which are checked as a whole before the runtime sees them."""
        from edgekit.backends.tflite import TfliteStep

        return cls(data, TfliteStep(data))

    def _first(self) -> dict[str, Array]:
        return self._model.initial_state()

    def _execute(self, ports: Mapping[str, Array], state: Mapping[str, Array]) -> tuple[dict[str, Array], Any]:
        return self._model.execute(ports, state)

    def reset(self) -> None:
        """First values for all states but those that a reset keeps."""
        self._state = self._model.reset(self._state)

    def save(self) -> bytes:
        """The state blob; StateError where the model keeps its states inside."""
        self._open()
        return super().save()

    def restore(self, blob: bytes) -> None:
        """Take over a state blob; StateError when it does not belong here."""
        self._open()
        super().restore(blob)

    def _open(self) -> None:
        if self._model.resource and self.document.states:
            raise StateError("state", "is kept inside the model", "convert it with --tflite-states io")

    def fork(self) -> TfliteStream:
        """Another stream of the same program, in the initial state."""
        return TfliteStream.open(self._data) if self._model.resource else TfliteStream(self._data, self._model)
