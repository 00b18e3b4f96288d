"""Tensors in safetensors form, read only after its header was checked here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from edgekit.artifact.strict_json import parse_object
from edgekit.errors import ArtifactError

Array = npt.NDArray[Any]

MAX_HEADER_BYTES = 4 << 20
MAX_RANK = 8

# safetensors' name of each dtype an artifact holds -> bytes per element
_WIDTHS = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "I32": 4, "U32": 4, "I64": 8, "F16": 2, "F32": 4, "F64": 8}


def dump_tensors(tensors: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return arrays as safetensors; the same arrays give the same bytes."""
    arrays = {name: np.asarray(a, order="C") for name, a in sorted(tensors.items())}
    return bytes(safetensors.numpy.save(arrays, dict(metadata) if metadata else None))


def load_tensors(data: bytes, where: str = "tensors") -> dict[str, Array]:
    """Return the arrays of safetensors bytes; `where` is how messages call them.

    Raises ArtifactError when the header is over 4 MiB or not strict JSON, or when an entry has an unknown dtype, a
    shape that does not fit its bytes, or bytes that overlap, leave a gap, or lie outside.
    """
    return load_with_metadata(data, where)[0]


def load_with_metadata(data: bytes, where: str = "tensors") -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays of safetensors bytes, as `load_tensors` gives them, and the texts beside them."""
    start = 8 + int.from_bytes(data[:8], "little")
    if len(data) < 8 or start > len(data):
        raise ArtifactError(where, "is cut short")
    header = parse_object(data[8:start], f"{where} header", MAX_HEADER_BYTES)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ArtifactError(where, "its metadata are not texts")
    spans = sorted(_span(name, entry, where) for name, entry in header.items())
    end = 0
    for begin, stop, name in spans:
        if begin != end:
            raise ArtifactError(where, f"tensor {name!r} overlaps another or leaves a gap")
        end = stop
    if end != len(data) - start:
        raise ArtifactError(where, f"its tensors take {end} bytes, {len(data) - start} are there")
    try:
        return dict(safetensors.numpy.load(data)), metadata
    except (safetensors.SafetensorError, ValueError) as error:
        raise ArtifactError(where, f"cannot be read: {error}") from error


def _span(name: str, entry: object, where: str) -> tuple[int, int, str]:
    """The (begin, end, name) of one header entry, in bytes from the end of the header."""
    fault = ArtifactError(where, f"the header of tensor {name!r} is malformed")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise fault
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _WIDTHS or not _are_counts(shape) or not _are_counts(offsets):
        raise fault
    if len(shape) > MAX_RANK or len(offsets) != 2:
        raise fault
    size = _WIDTHS[dtype]
    for extent in shape:
        size *= extent
    if offsets[1] - offsets[0] != size:
        raise fault
    return offsets[0], offsets[1], name


def _are_counts(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)
