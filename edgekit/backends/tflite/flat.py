"""A flatbuffer of unknown origin: every offset, length and alignment is checked where it is followed.

Only tables and fields of `TABLES` are read; a field that is there and not listed is refused, whatever it is.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from edgekit.errors import ArtifactError

MAX_TABLES = 2**18
WHERE = "TFLite model"

# table -> fields by slot: (name, kind). A kind is a scalar ("i8", "u32", …), "text", "[scalar]", "Table", "[Table]",
# or "options": a table that the field before it names by number.
TABLES: Mapping[str, tuple[tuple[str, str] | None, ...]] = MappingProxyType(
    {
        "Model": (
            ("version", "u32"),
            ("codes", "[OperatorCode]"),
            ("subgraphs", "[SubGraph]"),
            ("description", "text"),
            ("buffers", "[Buffer]"),
            None,
            ("metadata", "[Metadata]"),
            ("signatures", "[SignatureDef]"),
        ),
        "OperatorCode": (("deprecated", "i8"), None, ("version", "i32"), ("number", "i32")),
        "SubGraph": (
            ("tensors", "[Tensor]"),
            ("inputs", "[i32]"),
            ("outputs", "[i32]"),
            ("operators", "[Operator]"),
            ("name", "text"),
        ),
        "Tensor": (
            ("shape", "[i32]"),
            ("type", "i8"),
            ("buffer", "u32"),
            ("name", "text"),
            ("quant", "QuantizationParameters"),
            None,
            None,
            None,
            ("has_rank", "bool"),
        ),
        "QuantizationParameters": (
            None,
            None,
            ("scale", "[f32]"),
            ("zero_point", "[i64]"),
            None,
            None,
            ("axis", "i32"),
        ),
        "Operator": (
            ("code", "u32"),
            ("inputs", "[i32]"),
            ("outputs", "[i32]"),
            ("options_type", "u8"),
            ("options", "options"),
        ),
        "Buffer": (("data", "[u8]"),),
        "Metadata": (("name", "text"), ("buffer", "u32")),
        "SignatureDef": (
            ("inputs", "[TensorMap]"),
            ("outputs", "[TensorMap]"),
            ("key", "text"),
            None,
            ("subgraph", "u32"),
        ),
        "TensorMap": (("name", "text"), ("tensor", "u32")),
        "AddOptions": (None, ("pot_scale", "bool")),
        "CallOnceOptions": (("subgraph", "i32"),),
        "CastOptions": (("source", "i8"), ("to", "i8")),
        "ConcatenationOptions": (("axis", "i32"),),
        "Conv2DOptions": (
            ("padding", "i8"),
            ("stride_w", "i32"),
            ("stride_h", "i32"),
            None,
            ("dilation_w", "i32"),
            ("dilation_h", "i32"),
        ),
        "CumsumOptions": (("exclusive", "bool"), ("reverse", "bool")),
        "DepthwiseConv2DOptions": (
            ("padding", "i8"),
            ("stride_w", "i32"),
            ("stride_h", "i32"),
            ("multiplier", "i32"),
            None,
            ("dilation_w", "i32"),
            ("dilation_h", "i32"),
        ),
        "FullyConnectedOptions": (None, None, ("keep_dims", "bool")),
        "GatherOptions": (("axis", "i32"),),
        "ReducerOptions": (("keep_dims", "bool"),),
        "ReshapeOptions": (("shape", "[i32]"),),
        "SubOptions": (None, ("pot_scale", "bool")),
        "VarHandleOptions": (("container", "text"), ("name", "text")),
    }
)
_SCALARS = {"u8": "B", "i8": "b", "bool": "B", "u16": "H", "i32": "i", "u32": "I", "i64": "q", "f32": "f"}
# What a field that is not there stands for, where that is not 0.
_DEFAULTS = {
    ("OperatorCode", "version"): 1,
    ("Conv2DOptions", "dilation_w"): 1,
    ("Conv2DOptions", "dilation_h"): 1,
    ("DepthwiseConv2DOptions", "dilation_w"): 1,
    ("DepthwiseConv2DOptions", "dilation_h"): 1,
    ("AddOptions", "pot_scale"): 1,
    ("SubOptions", "pot_scale"): 1,
}


class Flat:
    """Bytes of a flatbuffer; `root` reads one whole. `options` maps the number of an options table to its name."""

    def __init__(self, data: bytes, options: Mapping[int, str]) -> None:
        self._data, self._options, self._tables = data, options, 0

    def root(self, name: str, identifier: bytes) -> dict[str, Any]:
        """The root table as dicts, lists, numbers and arrays; ArtifactError at the first thing that is not sound."""
        if self._data[4:8] != identifier:
            raise self._fault("does not start as one")
        return self._table(name, self._scalar(0, "u32"))

    def _fault(self, cause: str) -> ArtifactError:
        return ArtifactError(WHERE, cause, "export it again")

    def _scalar(self, at: int, kind: str) -> Any:
        size = struct.calcsize(_SCALARS[kind])
        if at < 0 or at % size or at + size > len(self._data):
            raise self._fault(f"a number at {at} lies outside it or out of line")
        (value,) = struct.unpack_from(f"<{_SCALARS[kind]}", self._data, at)
        if kind == "bool" and value > 1:
            raise self._fault(f"a flag at {at} is neither true nor false")
        return value

    def _table(self, name: str, at: int) -> dict[str, Any]:
        self._tables += 1
        if self._tables > MAX_TABLES:
            raise self._fault(f"has more than {MAX_TABLES} tables")
        fields = TABLES.get(name, ())
        entries = self._entries(at)
        values: dict[str, Any] = {}
        for slot in range(max(len(fields), len(entries))):
            field = fields[slot] if slot < len(fields) else None
            offset = entries[slot] if slot < len(entries) else 0
            if field is None:
                if offset:
                    raise self._fault(f"{name} has field {slot}, which edgekit does not write")
                continue
            key, kind = field
            values[key] = self._field(name, key, kind, at + offset if offset else 0, values)
        return values

    def _entries(self, at: int) -> list[int]:
        """The offset of each field in a table, 0 for those that are not there."""
        vtable = at - self._scalar(at, "i32")
        size, extent = self._scalar(vtable, "u16"), self._scalar(vtable + 2, "u16")
        if size < 4 or size % 2 or vtable + size > len(self._data) or extent < 4 or at + extent > len(self._data):
            raise self._fault(f"a table at {at} does not lie inside it")
        entries = [self._scalar(vtable + i, "u16") for i in range(4, size, 2)]
        if any(0 < offset < 4 or offset >= extent for offset in entries):
            raise self._fault(f"a table at {at} has a field outside it")
        return entries

    def _field(self, table: str, key: str, kind: str, at: int, before: Mapping[str, Any]) -> Any:
        if kind in _SCALARS:
            return self._scalar(at, kind) if at else _DEFAULTS.get((table, key), 0)
        if kind == "options":
            return self._union(at, before["options_type"])
        if not at:
            return "" if kind == "text" else None if kind in TABLES else self._empty(kind)
        to = at + self._scalar(at, "u32")
        if kind == "text":
            return self._text(to)
        if kind in TABLES:
            return self._table(kind, to)
        inner = kind[1:-1]
        if inner in _SCALARS:
            return self._array(to, inner)
        count = self._length(to, 4)
        places = (to + 4 + 4 * i for i in range(count))
        return [self._table(inner, place + self._scalar(place, "u32")) for place in places]

    def _empty(self, kind: str) -> Any:
        inner = kind[1:-1]
        return np.zeros(0, _SCALARS[inner]) if inner in _SCALARS else []

    def _union(self, at: int, number: int) -> dict[str, Any] | None:
        if bool(at) != bool(number) or (number and number not in self._options):
            raise self._fault(f"an operator has options of kind {number}, which do not fit")
        return self._table(self._options[number], at + self._scalar(at, "u32")) if at else None

    def _length(self, at: int, width: int) -> int:
        count = int(self._scalar(at, "u32"))
        if at + 4 + count * width > len(self._data):
            raise self._fault(f"a list at {at} is longer than the file")
        return count

    def _array(self, at: int, kind: str) -> Any:
        dtype = np.dtype(f"<{_SCALARS[kind]}")
        count = self._length(at, dtype.itemsize)
        if (at + 4) % dtype.itemsize:
            raise self._fault(f"a list at {at} lies out of line")
        return np.frombuffer(self._data, dtype, count, at + 4)

    def _text(self, at: int) -> str:
        count = self._length(at, 1)
        raw = self._data[at + 4 : at + 5 + count]
        try:
            text = raw[:-1].decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._fault(f"a text at {at} is not UTF-8") from error
        if len(raw) != count + 1 or raw[-1:] != b"\0" or "\0" in text:
            raise self._fault(f"a text at {at} has no end")
        return text
