"""Reading an artifact: everything is checked before anything is used, in the order cheap and certain first."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgekit.artifact.layout import MANIFEST, MAX_FILE_BYTES, max_bytes, missing
from edgekit.artifact.strict_json import parse_object
from edgekit.artifact.validate import check_schema_version, validate_manifest
from edgekit.artifact.zipform import Member, index, unpack
from edgekit.errors import ArtifactError


@dataclass(frozen=True)
class ArtifactFile:
    """An artifact whose digest, form, sizes, hashes and manifest have been checked.

    `members` maps every name but manifest.json to its contents; `sha256` is that of the whole file, in hex: what the
    trust list holds. Who wrote the file is not known by that: see `trust.py`.
    """

    manifest: Mapping[str, Any]
    members: Mapping[str, bytes]
    sha256: str

    def folder(self, prefix: str) -> dict[str, bytes]:
        """Return the members below `prefix` (such as 'c/'), without it."""
        return {name[len(prefix) :]: data for name, data in self.members.items() if name.startswith(prefix)}


def read_artifact(source: str | PathLike[str] | bytes) -> ArtifactFile:
    """Return the artifact in the file at a path, or in bytes.

    Order: size cap, digest, zip structure, sizes, schema version, contents (bounded inflate, CRC-32, SHA-256), the
    manifest's fields. Raises ArtifactError, one clear line that names the file, at the first violation.
    """
    if isinstance(source, bytes):
        return _read(source)
    try:
        return _read(load_bytes(Path(source)))
    except ArtifactError as error:
        raise ArtifactError(f"{fspath(source)}: {error.thing}", error.cause, error.remedy, error.items) from error


def load_bytes(path: Path) -> bytes:
    """The contents of a regular file no larger than an artifact may be; ArtifactError for anything else."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ArtifactError("file", "is not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise ArtifactError("size", f"{status.st_size:,} bytes are more than the cap of {MAX_FILE_BYTES:,}")
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ArtifactError(
            "file", f"cannot be read ({error.strerror})", "check the name and its permissions"
        ) from error


def _read(data: bytes) -> ArtifactFile:
    directory = {member.name: member for member in index(data)}
    absent = missing(set(directory))
    if absent:
        raise ArtifactError("members", f"{', '.join(absent)} missing")
    manifest = parse_object(unpack(data, directory.pop(MANIFEST)), MANIFEST, max_bytes(MANIFEST))
    check_schema_version(manifest)
    _check_table(manifest.get("members"), directory)
    members = {name: unpack(data, member) for name, member in directory.items()}
    for name, contents in members.items():
        if hashlib.sha256(contents).hexdigest() != manifest["members"][name].get("sha256"):
            raise ArtifactError(f"member {name!r}", "its SHA-256 differs from the one in the manifest")
    validate_manifest(manifest)
    return ArtifactFile(manifest, MappingProxyType(members), hashlib.sha256(data).hexdigest())


def _check_table(table: object, directory: Mapping[str, Member]) -> None:
    """The manifest and the zip must list the same members with the same sizes."""
    if not isinstance(table, dict) or set(table) != set(directory):
        raise ArtifactError(MANIFEST, "does not list the members that the file holds")
    for name, member in directory.items():
        row = table[name]
        if not isinstance(row, dict) or row.get("bytes") != member.size:
            raise ArtifactError(f"member {name!r}", "its size differs from the one in the manifest")
