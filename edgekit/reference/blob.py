"""The state blob: what save and restore exchange, the same bytes from every backend (CONTRACT, "Data in, data out").

Little endian: magic `EKS1`, uint32 version, 32 bytes of graph hash, then each state in graph order, row-major and
without padding: float32 as four bytes, a spike as one byte 0 or 1, integers at their width.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import StateError
from edgekit.ir.dtypes import SPIKE
from edgekit.ir.graph import Graph

MAGIC = b"EKS1"
BLOB_VERSION = 1
HEADER = struct.Struct("<4sI32s")


def _stored(graph: Graph, name: str) -> np.dtype[Any]:
    dtype = graph.tensors[name].dtype
    return np.dtype(np.uint8) if dtype is SPIKE else dtype.numpy.newbyteorder("<")


def pack_states(graph: Graph, state: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """The blob of one stream's states, each of its tensor's shape."""
    body = [np.asarray(state[s.tensor]).astype(_stored(graph, s.tensor)).tobytes() for s in graph.states]
    return HEADER.pack(MAGIC, BLOB_VERSION, bytes.fromhex(graph.hash())) + b"".join(body)


def with_first_values(graph: Graph, blob: bytes) -> bytes:
    """The blob with every state of the policy `reset` at its first value; `keep` states stay as they are in it."""
    parts, offset = [blob[: HEADER.size]], HEADER.size
    for s in graph.states:
        stored = _stored(graph, s.tensor)
        size = graph.tensors[s.tensor].size * stored.itemsize
        parts.append(blob[offset : offset + size] if s.reset == "keep" else s.init.astype(stored).tobytes())
        offset += size
    return b"".join(parts)


def unpack_states(graph: Graph, blob: bytes) -> dict[str, npt.NDArray[Any]]:
    """The states in a blob; StateError when it is damaged or belongs to another program."""
    need = HEADER.size + sum(graph.tensors[s.tensor].size * _stored(graph, s.tensor).itemsize for s in graph.states)
    if len(blob) != need:
        raise StateError("state blob", f"has {len(blob)} bytes, this program's has {need}")
    magic, version, digest = HEADER.unpack_from(blob)
    if magic != MAGIC or version != BLOB_VERSION:
        raise StateError("state blob", f"starts with {magic!r} version {version}, not {MAGIC!r} version {BLOB_VERSION}")
    if digest.hex() != graph.hash():
        raise StateError("state blob", "belongs to another program", "save and restore must use the same artifact")
    states: dict[str, npt.NDArray[Any]] = {}
    offset = HEADER.size
    for s in graph.states:
        tensor, stored = graph.tensors[s.tensor], _stored(graph, s.tensor)
        raw = np.frombuffer(blob, stored, tensor.size, offset).reshape(tensor.shape)
        offset += raw.nbytes
        if tensor.dtype is SPIKE and raw.max(initial=0) > 1:
            raise StateError("state blob", f"state {s.tensor!r} holds a spike that is neither 0 nor 1")
        if tensor.dtype.is_float and not np.isfinite(raw).all():
            raise StateError("state blob", f"state {s.tensor!r} holds NaN or Inf")
        states[s.tensor] = raw.astype(tensor.dtype.numpy)
    return states
