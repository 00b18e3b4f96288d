"""The bytes of a journal: a ring of slots, each of them a header of 64 bytes and a payload, on whole pages of flash.

    offset  bytes
      0       4     magic `EKLJ`
      4       1     format version, 1
      5       1     header length, 64
      6       2     flags: bit 0 learning is switched off, bit 1 factory weights (there is no payload)
      8       4     payload length in bytes
     12       4     commit number, from 1 on
     16       4     source: the commit that first held this payload; 0 with factory weights
     20       4     mark: a number of the caller's, such as how many windows were learned
     24       1     page size, as a power of two
     25       1     salt: 0, or 1 where the checksum would look like erased flash
     26       2     slots in the ring
     28      32     SHA-256 of the artifact
     60       4     CRC-32 (IEEE 802.3) of the 60 bytes before it and of the payload

Numbers are little endian. Commit n lies in slot (n - 1) mod slots. Bytes after the payload stay erased.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Literal

from edgekit.errors import UsageError
from edgekit.learn.flash import Flash, FlashError, check_page, is_erased

MAGIC, VERSION, HEADER_BYTES = b"EKLJ", 1, 64
LEARNING_OFF, FACTORY = 1, 2
MAX_PAYLOAD_BYTES = 64 << 20
MAX_HISTORY = 254
MAX_COMMIT = 0xFFFF_FFFE
NO_CRC = 0xFFFF_FFFF
"""What the place of a checksum holds as long as it is erased; no header has it."""

_HEADER = struct.Struct("<4sBBHIIIIBBH32s")
_CRC = struct.Struct("<I")


@dataclass(frozen=True)
class Geometry:
    """What has to be known to find a payload: whose it is, its size, and the ring it lies in."""

    artifact_sha256: bytes
    payload_bytes: int
    history: int
    page_bytes: int

    def __post_init__(self) -> None:
        if len(self.artifact_sha256) != 32:
            raise UsageError("journal", f"a SHA-256 has 32 bytes, not {len(self.artifact_sha256)}")
        if not 0 <= self.history <= MAX_HISTORY:
            raise UsageError("journal", f"a history of {self.history}", f"choose one from 0 to {MAX_HISTORY}")
        slot_bytes(self.payload_bytes, self.page_bytes)

    @property
    def slots(self) -> int:
        """The newest commit, `history` earlier ones, and the one that is being written."""
        return self.history + 2

    @property
    def slot_bytes(self) -> int:
        """Bytes of one slot."""
        return slot_bytes(self.payload_bytes, self.page_bytes)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole ring."""
        return self.slots * self.slot_bytes

    def slot_of(self, commit: int) -> int:
        """The slot in which a commit lies."""
        return (commit - 1) % self.slots


@dataclass(frozen=True)
class Header:
    """What a slot says of itself; `payload_bytes` is 0 for factory weights."""

    commit: int
    source: int
    mark: int
    flags: int
    payload_bytes: int

    @property
    def factory(self) -> bool:
        """Whether the weights are the artifact's own."""
        return bool(self.flags & FACTORY)

    @property
    def learning(self) -> bool:
        """Whether learning is switched on."""
        return not self.flags & LEARNING_OFF


@dataclass(frozen=True)
class Slot:
    """One slot as it was found; `header` is there when it is valid, and `why` says what is wrong when it is not.

    `foreign` is a slot that is whole, but not of this journal: of another artifact, payload, ring or format.
    """

    index: int
    kind: Literal["valid", "erased", "damaged", "foreign"]
    header: Header | None = None
    why: str = ""


def slot_bytes(payload_bytes: int, page_bytes: int) -> int:
    """Return the bytes of one slot: payload + 64, rounded up to whole pages."""
    check_page(page_bytes)
    if not 1 <= payload_bytes <= MAX_PAYLOAD_BYTES:
        raise UsageError(
            "journal", f"a payload of {payload_bytes:,} bytes is none, or more than {MAX_PAYLOAD_BYTES:,} bytes"
        )
    return -(-(HEADER_BYTES + payload_bytes) // page_bytes) * page_bytes


def header_bytes(geometry: Geometry, header: Header, payload: bytes) -> bytes:
    """Return the 64 bytes of a header; its checksum is never that of erased flash."""
    for salt in (0, 1):
        head = _HEADER.pack(
            *(MAGIC, VERSION, HEADER_BYTES, header.flags, header.payload_bytes),
            *(header.commit, header.source, header.mark, _exponent(geometry.page_bytes), salt),
            *(geometry.slots, geometry.artifact_sha256),
        )
        crc = zlib.crc32(payload, zlib.crc32(head))
        if crc != NO_CRC:
            break
    return head + _CRC.pack(crc)


def read_slot(flash: Flash, geometry: Geometry, index: int) -> tuple[Slot, bytes]:
    """Return what one slot holds, and its payload where it is valid.

    The length is checked before the checksum, and nothing is believed before both. A slot that cannot be read is
    damaged: the commit before it is still there.
    """
    at = index * geometry.slot_bytes
    try:
        head = flash.read(at, HEADER_BYTES)
        if not is_erased(head):
            return _read_slot(flash, geometry, index, head)
        if is_erased(flash.read(at + HEADER_BYTES, geometry.slot_bytes - HEADER_BYTES)):
            return Slot(index, "erased"), b""
        return Slot(index, "damaged", why="has no header"), b""
    except FlashError as fault:
        return Slot(index, "damaged", why=fault.cause), b""


def _read_slot(flash: Flash, geometry: Geometry, index: int, head: bytes) -> tuple[Slot, bytes]:
    def damaged(why: str) -> tuple[Slot, bytes]:
        return Slot(index, "damaged", why=why), b""

    at = index * geometry.slot_bytes + HEADER_BYTES
    magic, version, size, flags, length, commit, source, mark, page, _, slots, sha256 = _HEADER.unpack_from(head)
    if magic != MAGIC or size != HEADER_BYTES:
        return damaged("does not begin with a header")
    header = Header(commit, source, mark, flags, length)
    others = {
        f"is of format {version}, this edgekit knows {VERSION}": version != VERSION,
        f"belongs to the artifact with SHA-256 {sha256.hex()}": sha256 != geometry.artifact_sha256,
        f"belongs to a journal with a history of {slots - 2}": slots != geometry.slots,
        f"is for pages of 2^{page} bytes": page != _exponent(geometry.page_bytes),
    }
    foreign = next((why for why, true in others.items() if true), "")
    known = 0 if header.factory else geometry.payload_bytes
    if foreign and length > flash.size - at:
        return damaged(f"says that it holds {length:,} bytes, more than there are")
    if not foreign and length != known:
        return damaged(f"says that it holds {length:,} bytes, it must be {known:,}")
    (crc,) = _CRC.unpack_from(head, HEADER_BYTES - _CRC.size)
    payload = flash.read(at, length)
    if crc == NO_CRC or crc != zlib.crc32(payload, zlib.crc32(head[: -_CRC.size])):
        return damaged("its checksum is wrong")
    if foreign:
        return Slot(index, "foreign", why=foreign), b""
    if flags & ~(LEARNING_OFF | FACTORY):
        return damaged(f"has the unknown flags {flags:#x}")
    if not 1 <= commit <= MAX_COMMIT or geometry.slot_of(commit) != index:
        return damaged(f"holds commit {commit}, which does not belong there")
    if source > commit or (source == 0) != header.factory:
        return damaged(f"holds commit {commit} with weights of commit {source}")
    return Slot(index, "valid", header), payload


def _exponent(page_bytes: int) -> int:
    return page_bytes.bit_length() - 1
