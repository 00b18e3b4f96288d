"""The state blob: what save and restore exchange, the same bytes from every backend (CONTRACT, "Data in, data out").

Little endian: magic `EKS1`, uint32 version, 32 bytes of graph hash, then each state in graph order, row-major and
without padding: float32 as four bytes, a spike as one byte 0 or 1, integers at their width.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import StateError
from edgekit.ir.dtypes import SPIKE, DType
from edgekit.ir.graph import Graph

MAGIC = b"EKS1"
BLOB_VERSION = 1
HEADER = struct.Struct("<4sI32s")


@dataclass(frozen=True, eq=False)
class StateRow:
    """One state in a blob, and where it starts."""

    name: str
    shape: tuple[int, ...]
    dtype: DType
    init: npt.NDArray[Any]
    reset: str

    @property
    def stored(self) -> np.dtype[Any]:
        return np.dtype(np.uint8) if self.dtype is SPIKE else self.dtype.numpy.newbyteorder("<")

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.stored.itemsize


@dataclass(frozen=True, eq=False)
class BlobLayout:
    """What a blob holds: the states in order, and the SHA-256 of the graph that they belong to, in hex."""

    digest: str
    rows: tuple[StateRow, ...]

    @classmethod
    def of(cls, graph: Graph) -> BlobLayout:
        """The layout of a graph's blobs."""
        tensors = graph.tensors
        rows = (
            StateRow(s.tensor, tensors[s.tensor].shape, tensors[s.tensor].dtype, s.init, s.reset) for s in graph.states
        )
        return cls(graph.hash(), tuple(rows))

    def pack(self, state: Mapping[str, npt.NDArray[Any]]) -> bytes:
        """The blob of one stream's states, each of its shape."""
        body = [np.asarray(state[row.name]).astype(row.stored).tobytes() for row in self.rows]
        return HEADER.pack(MAGIC, BLOB_VERSION, bytes.fromhex(self.digest)) + b"".join(body)

    def with_first_values(self, blob: bytes) -> bytes:
        """The blob with every state at its first value but those of the policy `keep`, which stay as they are in it."""
        parts, offset = [blob[: HEADER.size]], HEADER.size
        for row in self.rows:
            kept = blob[offset : offset + row.nbytes]
            parts.append(kept if row.reset == "keep" else np.asarray(row.init).astype(row.stored).tobytes())
            offset += row.nbytes
        return b"".join(parts)

    @property
    def learned_bytes(self) -> int:
        """Bytes of all that is learned: the `keep` states."""
        return sum(row.nbytes for row in self.rows if row.reset == "keep")

    def learned(self, blob: bytes) -> bytes:
        """The `keep` states of a blob, one after the other: what a journal stores."""
        return b"".join(blob[at : at + row.nbytes] for row, at in self._places() if row.reset == "keep")

    def with_learned(self, blob: bytes, learned: bytes) -> bytes:
        """The blob with other `keep` states; StateError when they are not as long as this program's."""
        if len(learned) != self.learned_bytes:
            raise StateError("learned state", f"has {len(learned)} bytes, this program's has {self.learned_bytes}")
        made, taken = bytearray(blob), 0
        for row, at in self._places():
            if row.reset == "keep":
                made[at : at + row.nbytes] = learned[taken : taken + row.nbytes]
                taken += row.nbytes
        return bytes(made)

    def first_learned(self) -> bytes:
        """The `keep` states as they were before anything was learned."""
        kept = (row for row in self.rows if row.reset == "keep")
        return b"".join(np.asarray(row.init).astype(row.stored).tobytes() for row in kept)

    def _places(self) -> Iterator[tuple[StateRow, int]]:
        """The states, and where each begins in a blob."""
        at = HEADER.size
        for row in self.rows:
            yield row, at
            at += row.nbytes

    def unpack(self, blob: bytes) -> dict[str, npt.NDArray[Any]]:
        """The states in a blob; StateError when it is damaged or belongs to another program."""
        need = HEADER.size + sum(row.nbytes for row in self.rows)
        if len(blob) != need:
            raise StateError("state blob", f"has {len(blob)} bytes, this program's has {need}")
        magic, version, digest = HEADER.unpack_from(blob)
        if magic != MAGIC or version != BLOB_VERSION:
            cause = f"starts with {magic!r} version {version}, not {MAGIC!r} version {BLOB_VERSION}"
            raise StateError("state blob", cause)
        if digest.hex() != self.digest:
            remedy = "save and restore must use the same artifact"
            raise StateError("state blob", "belongs to another program", remedy)
        states: dict[str, npt.NDArray[Any]] = {}
        offset = HEADER.size
        for row in self.rows:
            raw = np.frombuffer(blob, row.stored, prod(row.shape), offset).reshape(row.shape)
            offset += raw.nbytes
            if row.dtype is SPIKE and raw.max(initial=0) > 1:
                raise StateError("state blob", f"state {row.name!r} holds a spike that is neither 0 nor 1")
            if row.dtype.is_float and not np.isfinite(raw).all():
                raise StateError("state blob", f"state {row.name!r} holds NaN or Inf")
            states[row.name] = raw.astype(row.dtype.numpy)
        return states


def pack_states(graph: Graph, state: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """The blob of one stream's states, each of its tensor's shape."""
    return BlobLayout.of(graph).pack(state)


def with_first_values(graph: Graph, blob: bytes) -> bytes:
    """The blob with every state at its first value but those of the policy `keep`, which stay as they are in it."""
    return BlobLayout.of(graph).with_first_values(blob)


def unpack_states(graph: Graph, blob: bytes) -> dict[str, npt.NDArray[Any]]:
    """The states in a blob; StateError when it is damaged or belongs to another program."""
    return BlobLayout.of(graph).unpack(blob)
