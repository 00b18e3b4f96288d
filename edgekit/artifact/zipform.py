"""The zip form of an artifact: one way to write it, and a reader that takes nothing else.

    local header, name, data   for every member, back to back from byte 0
    central header, name       for every member, same order
    end record                 ends with a 64-byte comment: SHA-256 (hex) of all bytes before the comment

The reader rebuilds every header from the few fields that may vary and compares bytes: attributes (symlinks), times,
flags (encryption), extra fields, zip64, comments, gaps and prefixes are all refused by that one comparison.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from edgekit.artifact.layout import MAX_FILE_BYTES, MAX_MEMBERS, MAX_NAME_BYTES, MAX_TOTAL_BYTES, max_bytes, position
from edgekit.errors import ArtifactError

STORED, DEFLATED = 0, 8
DIGEST_CHARS = 64

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")

_VERSION = 20  # zip 2.0: deflate
_MADE_BY = 3 << 8 | _VERSION  # Unix, so that the attributes below are read as a mode
_TIME, _DATE = 0, 0x21  # 1980-01-01 00:00:00, the first time a zip can hold
_ATTRIBUTES = 0o100644 << 16  # a regular file, rw-r--r--


@dataclass(frozen=True)
class Member:
    """One row of the central directory, checked; `start` is the offset of its packed bytes."""

    name: str
    method: int
    crc: int
    packed: int
    size: int
    start: int


def pack(members: Mapping[str, bytes]) -> bytes:
    """Return the bytes of an artifact with these members, each `{name: contents}`, in canonical order.

    Raises ArtifactError for a name that the layout does not know or a member over its cap.
    """
    out, central = bytearray(), bytearray()
    for name in sorted(members, key=position):
        data = members[name]
        _check_size(name, len(data))
        method, body = _compress(data)
        sizes = (method, zlib.crc32(data), len(body), len(data))
        central += _central_header(name, *sizes, offset=len(out))
        out += _local_header(name, *sizes) + body
    out += central + _end_record(len(members), len(central), len(out))
    return bytes(out) + hashlib.sha256(out).hexdigest().encode()


def index(data: bytes) -> tuple[Member, ...]:
    """Check the digest and every header of an artifact and return its members; nothing is unpacked yet.

    Raises ArtifactError at the first byte that differs from what `pack` would have written.
    """
    if len(data) > MAX_FILE_BYTES:
        raise ArtifactError("size", f"{len(data):,} bytes are more than the cap of {MAX_FILE_BYTES:,}")
    if len(data) < _END.size + DIGEST_CHARS:
        raise ArtifactError("file", f"{len(data)} bytes are too few for an artifact", "copy it again or convert again")
    body, digest = memoryview(data)[:-DIGEST_CHARS], data[-DIGEST_CHARS:]
    if not re.fullmatch(rb"[0-9a-f]+", digest):
        raise ArtifactError(
            "digest", "is missing at the end: no .edge file, or a damaged one", "edgekit convert makes .edge files"
        )
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise ArtifactError("digest", "the SHA-256 at the end does not match the bytes before it: the file is damaged")
    end = len(body) - _END.size
    _, _, _, _, count, central_size, central_start, _ = _END.unpack_from(body, end)
    if count > MAX_MEMBERS or central_start + central_size != end:
        raise ArtifactError("zip", "its end record does not describe this file")
    if body[end:] != _end_record(count, central_size, central_start):
        raise ArtifactError("zip", "its end record is not in the only form edgekit writes")
    return _walk(body, count, central_start, end)


def unpack(data: bytes, member: Member) -> bytes:
    """Return the contents of one member; inflating stops at the size its header declares.

    Raises ArtifactError when the contents are longer or shorter than declared, or their CRC-32 differs.
    """
    body = data[member.start : member.start + member.packed]
    if member.method == DEFLATED:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            # One byte more than declared: a longer stream shows itself, and a full one reaches its end mark.
            body = inflate.decompress(body, member.size + 1)
        except zlib.error as error:
            raise ArtifactError(f"member {member.name!r}", f"cannot be inflated ({error})") from error
        if not inflate.eof or inflate.unused_data:
            raise ArtifactError(f"member {member.name!r}", "does not inflate to the size its header declares")
    if len(body) != member.size:
        raise ArtifactError(f"member {member.name!r}", f"has {len(body)} bytes where its header says {member.size}")
    if zlib.crc32(body) != member.crc:
        raise ArtifactError(f"member {member.name!r}", "its CRC-32 does not match")
    return body


def _walk(body: memoryview, count: int, central_start: int, end: int) -> tuple[Member, ...]:
    members: list[Member] = []
    cursor, offset, total = central_start, 0, 0
    for _ in range(count):
        if cursor + _CENTRAL.size > end:
            raise ArtifactError("zip", "its directory is cut short")
        head = _CENTRAL.unpack_from(body, cursor)
        method, crc, packed, size, name_size = head[4], *head[7:11]
        name = _name(body[cursor + _CENTRAL.size : end], name_size)
        if members and position(name) <= position(members[-1].name):
            raise ArtifactError(f"member {name!r}", "is a duplicate, or not in the canonical order of members")
        _check_size(name, size)
        total += size
        if total > MAX_TOTAL_BYTES:
            raise ArtifactError(f"member {name!r}", f"brings the total over the cap of {MAX_TOTAL_BYTES:,} bytes")
        fields = (method, crc, packed, size)
        _same(body, cursor, _central_header(name, *fields, offset=offset), name, "directory entry")
        _same(body, offset, _local_header(name, *fields), name, "local header")
        start = offset + _LOCAL.size + name_size
        if method not in (STORED, DEFLATED) or (method == STORED and packed != size):
            raise ArtifactError(f"member {name!r}", f"is packed in a way that is not allowed (method {method})")
        members.append(Member(name, *fields, start=start))
        cursor, offset = cursor + _CENTRAL.size + name_size, start + packed
        if offset > central_start:
            raise ArtifactError(f"member {name!r}", "overlaps what follows it")
    if cursor != end or offset != central_start:
        raise ArtifactError("zip", "it holds bytes that belong to no member")
    return tuple(members)


def _name(field: memoryview, size: int) -> str:
    raw = bytes(field[: min(size, MAX_NAME_BYTES + 1)])
    if size > MAX_NAME_BYTES or len(raw) != size or not raw.isascii():
        raise ArtifactError(f"member {raw!r}", "is not a name that an artifact may hold")
    return raw.decode("ascii")


def _check_size(name: str, size: int) -> None:
    cap = max_bytes(name)
    if size > cap:
        raise ArtifactError(f"member {name!r}", f"{size:,} bytes are more than the cap of {cap:,}")


def _same(body: memoryview, at: int, expected: bytes, name: str, what: str) -> None:
    if body[at : at + len(expected)] != expected:
        raise ArtifactError(f"member {name!r}", f"its {what} is not in the only form edgekit writes")


def packed_bytes(data: bytes) -> int:
    """How many bytes a member with these contents takes in the file, without its headers."""
    return len(_compress(data)[1])


def _compress(data: bytes) -> tuple[int, bytes]:
    """Deflate at level 9, or the data as they are where that is no smaller."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(data) + deflate.flush()
    return (DEFLATED, body) if len(body) < len(data) else (STORED, data)


def _local_header(name: str, method: int, crc: int, packed: int, size: int) -> bytes:
    raw = name.encode("ascii")
    head = _LOCAL.pack(b"PK\3\4", _VERSION, 0, method, _TIME, _DATE, crc, packed, size, len(raw), 0)
    return head + raw


def _central_header(name: str, method: int, crc: int, packed: int, size: int, *, offset: int) -> bytes:
    raw = name.encode("ascii")
    sizes = (crc, packed, size, len(raw), 0, 0)
    head = _CENTRAL.pack(b"PK\1\2", _MADE_BY, _VERSION, 0, method, _TIME, _DATE, *sizes, 0, 0, _ATTRIBUTES, offset)
    return head + raw


def _end_record(count: int, central_size: int, central_start: int) -> bytes:
    return _END.pack(b"PK\5\6", 0, 0, count, count, central_size, central_start, DIGEST_CHARS)
