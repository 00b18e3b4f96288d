"""A TFLite model under construction: buffers, tensors, operators, subgraphs, signatures and metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.backends.tflite.schema import BUILTINS, IDENTIFIER, VERSION, flatbuffers, schema, version_of

Array = npt.NDArray[Any]
ALIGNMENT = 16  # of the contents of a buffer, bytes: runtimes read weights in place, by vectors

TYPES = {
    "f4": "FLOAT32",
    "b1": "BOOL",
    "i1": "INT8",
    "i2": "INT16",
    "i4": "INT32",
    "i8": "INT64",
}
RESOURCE = "RESOURCE"


def type_of(array: Array) -> str:
    """The TFLite type of a numpy array."""
    return TYPES[array.dtype.str[1:]]


@dataclass(frozen=True)
class Quant:
    """Scales and zero points of a tensor: one each, or one for each slice along `axis`."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int = 0


class ModelWriter:
    """Collects the parts of a model; `finish` gives its bytes. The same calls give the same bytes."""

    def __init__(self) -> None:
        self._schema = schema()
        self._buffers: list[Array | None] = [None]  # the first one is empty by convention
        self._buffer_of: dict[tuple[str, bytes], int] = {}
        self._codes: dict[tuple[str, int], int] = {}
        self.subgraphs: list[SubgraphWriter] = []
        self._signatures: list[Any] = []
        self._metadata: list[Any] = []

    def subgraph(self, name: str) -> SubgraphWriter:
        """Add an empty subgraph."""
        self.subgraphs.append(SubgraphWriter(self, name, len(self.subgraphs)))
        return self.subgraphs[-1]

    def buffer(self, array: Array) -> int:
        """The buffer with the bytes of an array; equal ones are stored once."""
        data = np.ascontiguousarray(array).reshape(-1)
        stored = data.astype(data.dtype.newbyteorder("<"), copy=False).view(np.uint8)
        key = (array.dtype.str, stored.tobytes())
        if key not in self._buffer_of:
            self._buffer_of[key] = len(self._buffers)
            self._buffers.append(stored)
        return self._buffer_of[key]

    def code(self, builtin: str, version: int) -> int:
        """The index of an operator code."""
        return self._codes.setdefault((builtin, version), len(self._codes))

    def signature(
        self, key: str, subgraph: SubgraphWriter, inputs: Mapping[str, int], outputs: Mapping[str, int]
    ) -> None:
        """Name a way into the model: ports by name, and the tensors they are."""
        s = self._schema

        def maps(ports: Mapping[str, int]) -> list[Any]:
            return [s.TensorMapT(name, index) for name, index in ports.items()]

        self._signatures.append(s.SignatureDefT(maps(inputs), maps(outputs), key, subgraph.index))

    def metadata(self, name: str, data: bytes) -> None:
        """Add a named buffer that runtimes pass over."""
        index = len(self._buffers)
        self._buffers.append(np.frombuffer(data, np.uint8))
        self._metadata.append(self._schema.MetadataT(name, index))

    def finish(self) -> bytes:
        """The bytes of the model."""
        s = self._schema
        codes = [_code(s, builtin, version) for builtin, version in self._codes]
        model = s.ModelT(
            version=VERSION,
            operatorCodes=codes,
            subgraphs=[graph.table() for graph in self.subgraphs],
            description="edgekit",
            buffers=[s.BufferT(data) for data in self._buffers],
            metadata=self._metadata,
            signatureDefs=self._signatures,
        )
        builder = _aligned_builder()
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())


class SubgraphWriter:
    """Tensors and operators of one subgraph; tensors are known by their index."""

    def __init__(self, model: ModelWriter, name: str, index: int) -> None:
        self.model, self.name, self.index = model, name, index
        self._schema = schema()
        self._tensors: list[Any] = []
        self._types: list[str] = []
        self._operators: list[Any] = []
        self._names: dict[str, int] = {}
        self.inputs: list[int] = []
        self.outputs: list[int] = []

    def tensor(
        self, name: str, shape: Sequence[int], dtype: str, *, data: Array | None = None, quant: Quant | None = None
    ) -> int:
        """Add a tensor, a constant where `data` is given."""
        s = self._schema
        params = None
        if quant is not None:
            params = s.QuantizationParametersT(
                scale=np.array(quant.scale, np.float32),
                zeroPoint=np.array(quant.zero_point, np.int64),
                quantizedDimension=quant.axis,
            )
        buffer = 0 if data is None else self.model.buffer(data)
        made = s.TensorT(np.array(shape, np.int32), getattr(s.TensorType, dtype), buffer, self._unique(name), params)
        made.hasRank = True
        self._tensors.append(made)
        self._types.append(dtype)
        return len(self._tensors) - 1

    def _unique(self, name: str) -> str:
        seen = self._names.get(name, 0)
        self._names[name] = seen + 1
        return name if seen == 0 else self._unique(f"{name};{seen}")

    def operator(self, builtin: str, inputs: Sequence[int], outputs: Sequence[int], **options: Any) -> None:
        """Add an operator; `options` are fields of its options table."""
        s = self._schema
        row = s.OperatorT(
            self.model.code(builtin, version_of(builtin, *(self._type(ends) for ends in (inputs, outputs)))),
            np.array(inputs, np.int32),
            np.array(outputs, np.int32),
        )
        known = BUILTINS[builtin]
        if known.options:
            row.builtinOptionsType = known.union
            row.builtinOptions = getattr(s, f"{known.options}T")(**options)
        self._operators.append(row)

    def _type(self, tensors: Sequence[int]) -> str:
        return self._types[tensors[0]] if tensors else ""

    def table(self) -> Any:
        """The subgraph as an object of the schema."""
        ends = (np.array(ports, np.int32) for ports in (self.inputs, self.outputs))
        return self._schema.SubGraphT(self._tensors, *ends, self._operators, self.name)


def _code(s: Any, builtin: str, version: int) -> Any:
    number = BUILTINS[builtin].number
    return s.OperatorCodeT(
        deprecatedBuiltinCode=min(number, s.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES),
        builtinCode=number,
        version=version,
    )


def _aligned_builder() -> Any:
    package = flatbuffers()

    class Builder(package.Builder):  # type: ignore[misc, name-defined]
        """A builder that aligns vectors of bytes as the schema asks for, which flatbuffers for Python does not."""

        def CreateNumpyVector(self, x: Array) -> Any:  # noqa: N802
            if x.dtype != np.uint8:
                return super().CreateNumpyVector(x)
            self.StartVector(1, x.size, ALIGNMENT)
            self.head -= x.size
            self.Bytes[self.head : self.head + x.size] = x.tobytes()
            return self.EndVector()

    return Builder(1024)
