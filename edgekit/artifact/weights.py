"""The constants of a graph as a member of an artifact: safetensors, integers entropy-coded where that is smaller.

An array NAME that is coded lies there as bytes under `NAME:coded`: its dtype (a letter of `_LETTERS`), its rank, its
extents as 32-bit numbers, little endian, and a block of entropy.py. The metadata then say `coding` = `ek-rans-1`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from math import prod

import numpy as np

from edgekit.artifact.entropy import MAX_SYMBOLS, Coded, coded
from edgekit.artifact.layout import WEIGHTS
from edgekit.artifact.tensors import MAX_RANK, Array, dump_tensors, load_with_metadata
from edgekit.errors import ArtifactError

CODING = {"coding": "ek-rans-1"}
SUFFIX = ":coded"
LEAST = 64  # bytes: fewer are not worth a try
MAX_CODED = 4 * MAX_SYMBOLS  # symbols that all coded arrays of an artifact may take to read: `Coded.effort`

_LETTERS: Mapping[str, np.dtype] = {
    "b": np.dtype(np.int8),
    "B": np.dtype(np.uint8),
    "h": np.dtype("<i2"),
    "i": np.dtype("<i4"),
}


def dump_weights(tensors: Mapping[str, Array]) -> tuple[bytes, bool]:
    """Arrays as safetensors, and whether any of them is coded; the same arrays give the same bytes."""
    if any(name.endswith(SUFFIX) for name in tensors):
        return dump_tensors(tensors), False
    left, found = MAX_CODED, dict(tensors)
    for name, array in sorted(tensors.items()):
        made = _block(array) if array.nbytes <= left else None
        if made is not None and made[1] <= left:
            del found[name]
            found[name + SUFFIX] = np.frombuffer(made[0], np.uint8)
            left -= made[1]
    if found.keys() == tensors.keys():
        return dump_tensors(tensors), False
    return dump_tensors(found, CODING), True


def load_weights(data: bytes, where: str = WEIGHTS, *, may_be_coded: bool = True) -> dict[str, Array]:
    """The arrays again; ArtifactError for malformed safetensors, malformed coded arrays, and any where none may be."""
    tensors, metadata = load_with_metadata(data, where)
    if not metadata:
        return tensors
    if metadata != CODING:
        raise ArtifactError(where, f"is coded in a way that is not known: {metadata!r:.80}")
    if not may_be_coded:
        raise ArtifactError(where, "is coded, in a file of a schema version that has no coded weights")
    left, found = MAX_CODED, dict[str, Array]()
    for stored, array in tensors.items():
        name = stored.removesuffix(SUFFIX)
        if name in found or (stored != name and name in tensors):
            raise ArtifactError(where, f"holds tensor {name!r} twice")
        if stored != name:
            found[name], effort = _array(array, f"{where} tensor {name!r}", left)
            left -= effort
        else:
            found[name] = array
    return found


def _block(array: Array) -> tuple[bytes, int] | None:
    """An array in coded form, and the effort of reading it; None where that is no smaller than the array deflated."""
    letter = next((c for c, dtype in _LETTERS.items() if dtype == array.dtype), None)
    if letter is None or array.nbytes < LEAST or array.ndim > MAX_RANK:
        return None
    plain = np.ascontiguousarray(array, _LETTERS[letter]).tobytes()
    planes = (1,) if array.itemsize == 1 else (array.itemsize,)
    found = coded(np.frombuffer(plain, np.uint8), planes)
    if found is None:
        return None
    head = struct.pack(f"<cB{array.ndim}I", letter.encode(), array.ndim, *array.shape)
    block = head + found.to_bytes()
    return (block, found.effort) if len(block) < len(zlib.compress(plain, 9)) else None


def _array(data: Array, where: str, most: int) -> tuple[Array, int]:
    """The array in such bytes, and the effort of reading it, which may be `most`."""
    raw = data.tobytes()
    if data.dtype != np.uint8 or data.ndim != 1 or len(raw) < 2:
        raise ArtifactError(where, "is no coded array")
    dtype, rank = _LETTERS.get(chr(raw[0])), raw[1]
    start = 2 + 4 * rank
    if dtype is None or rank > MAX_RANK or len(raw) < start:
        raise ArtifactError(where, "is coded with a dtype or a shape that no array has")
    shape = struct.unpack_from(f"<{rank}I", raw, 2)
    nbytes = prod(shape) * dtype.itemsize
    if nbytes <= most:
        found = Coded.from_bytes(raw[start:], nbytes, where)
        if found.effort <= most:
            return found.decoded(where).view(dtype).reshape(shape), found.effort
    raise ArtifactError(where, f"brings coded arrays over the cap: they take {MAX_CODED:,} symbols to read at most")
