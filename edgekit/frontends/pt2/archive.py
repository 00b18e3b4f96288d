"""The zip of a .pt2 file, read within limits: no member is unpacked to disk, and none is taken at its word."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.artifact.damage import ZIP_FAULTS
from edgekit.errors import ModelError

MAX_BYTES = 2**29
"""Bytes that a .pt2 file, or all its members once inflated, may have."""

MAX_JSON_BYTES = 2**25
MAX_MEMBERS = 10_000
MAX_DIRECTORY_BYTES = 2**21
MAX_RATIO = 200
"""How much larger than the compressed file its members may be together; torch itself compresses nothing."""

FAULTS = ZIP_FAULTS
"""What zipfile raises on a damaged file."""


@dataclass(frozen=True)
class Archive:
    """An open archive whose members were checked by name and size; `thing` is the file as messages name it."""

    thing: str
    _zip: zipfile.ZipFile
    _members: dict[str, zipfile.ZipInfo]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all members, in order."""
        return tuple(self._members)

    def read(self, name: str, limit: int = MAX_BYTES) -> bytes:
        """All bytes of a member; ModelError when it is missing, larger than `limit`, or its checksum is wrong."""
        member = self._members.get(name)
        if member is None:
            raise ModelError(self.thing, f"holds no {name}", "write it again with torch.export.save")
        if member.file_size > limit:
            raise ModelError(self.thing, f"{name} has {member.file_size:,} bytes, more than the {limit:,} it may have")
        try:
            return self._zip.read(member)
        except FAULTS as error:
            raise ModelError(self.thing, f"is damaged in {name} ({line(error)})") from error


@contextmanager
def archive(path: str | os.PathLike[str]) -> Iterator[Archive]:
    """Open the zip at `path`; a file that is none, is damaged, or asks for more than the limits is a ModelError."""
    thing = str(path)
    try:
        size = Path(path).stat().st_size
        if size > MAX_BYTES:
            raise ModelError(thing, f"{size:,} bytes is more than the {MAX_BYTES:,} that a .pt2 file may have")
        with Path(path).open("rb") as stream:
            try:
                opened = zipfile.ZipFile(_Guarded(stream, thing))
            except FAULTS as error:
                raise ModelError(
                    thing, f"is no zip archive, or a damaged one ({line(error)})", "write it with torch.export.save"
                ) from error
            with opened:
                yield Archive(thing, opened, _checked(thing, opened.infolist(), size))
    except OSError as error:
        raise ModelError(thing, f"cannot be read ({error.strerror})") from error


class _Guarded:
    """A file that gives out no more at once than a directory may have, until the directory has been read.

    zipfile takes the directory's length from the file and reads it in one go, one object an entry.
    """

    def __init__(self, stream: Any, thing: str) -> None:
        self._stream, self._thing = stream, thing

    def read(self, count: int = -1) -> bytes:
        whole = count < 0 or count > MAX_DIRECTORY_BYTES
        data: bytes = self._stream.read(MAX_DIRECTORY_BYTES + 1 if whole else count)
        if len(data) > MAX_DIRECTORY_BYTES:
            raise ModelError(self._thing, f"asks for more than {MAX_DIRECTORY_BYTES:,} bytes at once")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _checked(thing: str, members: list[zipfile.ZipInfo], size: int) -> dict[str, zipfile.ZipInfo]:
    """The members by name, after a look at names, sizes and ways of storing."""
    if len(members) > MAX_MEMBERS:
        raise ModelError(thing, f"holds {len(members):,} members, more than the {MAX_MEMBERS:,} it may have")
    total = sum(member.file_size for member in members)
    if total > min(MAX_BYTES, MAX_RATIO * size):
        raise ModelError(thing, f"{size:,} bytes that inflate to {total:,} are refused", "store it uncompressed")
    if sum(member.compress_size for member in members) > size:
        raise ModelError(thing, "its members overlap")
    names = [member.filename for member in members]
    if len(set(names)) != len(names):
        raise ModelError(thing, "holds two members of one name")
    unsafe = [n for n in names if n.startswith("/") or "\\" in n or ":" in n or ".." in n.split("/")]
    if unsafe:
        raise ModelError(thing, "holds names that lead out of the archive", items=[repr(n[:80]) for n in unsafe[:10]])
    for member in members:
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ModelError(thing, f"{member.filename} is encrypted, or compressed in another way than deflate")
    return dict(zip(names, members, strict=True))


def line(error: BaseException) -> str:
    """A foreign exception in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
