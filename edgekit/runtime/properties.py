"""The properties of an ONNX file, read without onnx and before a runtime sees the file."""

from __future__ import annotations

from collections.abc import Iterator

from edgekit.errors import ArtifactError

WHERE, REMEDY = "ONNX file", "export it again"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protobuf
_PROPERTIES, _KEY, _VALUE = 14, 1, 2  # ModelProto.metadata_props, its entries
MOST = 4096  # fields of a message: a model has a handful


def onnx_properties(data: bytes) -> dict[str, str]:
    """The metadata_props of a model; ArtifactError for what is no protobuf of a model."""
    found: dict[str, str] = {}
    for number, value in _fields(memoryview(data)):
        if number == _PROPERTIES and isinstance(value, memoryview):
            entry = {n: bytes(v) for n, v in _fields(value) if isinstance(v, memoryview)}
            try:
                found[entry.get(_KEY, b"").decode()] = entry.get(_VALUE, b"").decode()
            except UnicodeDecodeError as error:
                raise ArtifactError(WHERE, "has a property that is no text", REMEDY) from error
    return found


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Number and value of each field of a message."""
    at, count = 0, 0
    while at < len(data):
        count += 1
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if number == 0 or count > MOST:
            raise ArtifactError(WHERE, "is not an ONNX model", REMEDY)
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        length = {_FIXED64: 8, _FIXED32: 4}.get(kind)
        if kind == _BYTES:
            length, at = _varint(data, at)
        if length is None or length > len(data) - at:
            raise ArtifactError(WHERE, "is not an ONNX model, or is cut off", REMEDY)
        yield number, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ArtifactError(WHERE, "is not an ONNX model, or is cut off", REMEDY)
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ArtifactError(WHERE, "is not an ONNX model", REMEDY)
