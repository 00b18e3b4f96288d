"""The user's trust list: the artifacts whose code may run on this computer, by the SHA-256 of the whole file."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from edgekit.artifact.atomic import write_atomic
from edgekit.artifact.read import read_artifact
from edgekit.artifact.strict_json import dump_json, parse_object
from edgekit.errors import ArtifactError

MAX_LIST_BYTES = 16 << 20


def trust(path: str | PathLike[str]) -> str:
    """Add the artifact at `path` to the list and return its SHA-256; the file is read and checked first."""
    sha256 = read_artifact(path).sha256
    with _changing() as entries:
        entries[sha256] = Path(path).name
    return sha256


def trust_own(sha256: str, name: str, replaced: str | None = None) -> None:
    """Add what this process has built, by its digest; `replaced` is the digest of the file that it overwrote."""
    with _changing() as entries:
        if replaced is not None:
            entries.pop(replaced, None)
        entries[sha256] = name


def untrust(path_or_sha256: str | PathLike[str]) -> bool:
    """Take an artifact off the list, by its path or its SHA-256; return whether it was there."""
    given = os.fspath(path_or_sha256)
    sha256 = given if re.fullmatch(r"[0-9a-f]{64}", given) else read_artifact(given).sha256
    with _changing() as entries:
        return entries.pop(sha256, None) is not None


def is_trusted(sha256: str) -> bool:
    """Return whether the artifact with this SHA-256 may run code here."""
    return sha256 in list_trusted()


def list_trusted() -> dict[str, str]:
    """Return the list, `{sha256: file name when it was trusted}`; empty when there is none yet.

    Raises ArtifactError when the list is damaged, or when someone else owns it or may write to it.
    """
    return _load(list_path())


def list_path() -> Path:
    """Return where the list is: `$EDGEKIT_HOME/trust.json`, or in the configuration folder of the platform."""
    home = os.environ.get("EDGEKIT_HOME")
    if home:
        return Path(home) / "trust.json"
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support/edgekit/trust.json"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "edgekit" / "trust.json"


def _load(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(MAX_LIST_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ArtifactError(f"trust list {path}", f"cannot be read ({error.strerror})") from error
    if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ArtifactError(f"trust list {path}", "others may write to it", f"check it, then: chmod 600 {path}")
    remedy = "delete it and trust your files again"
    try:
        document = parse_object(data, "trust list", MAX_LIST_BYTES)
    except ArtifactError as error:
        raise ArtifactError(f"trust list {path}", error.cause, remedy) from error
    entries = document.get("trusted")
    if set(document) != {"schema_version", "trusted"} or document["schema_version"] != 1:
        raise ArtifactError(f"trust list {path}", "is damaged or of an unknown version", remedy)
    if not isinstance(entries, dict) or not all(
        re.fullmatch(r"[0-9a-f]{64}", sha256) and isinstance(name, str) for sha256, name in entries.items()
    ):
        raise ArtifactError(f"trust list {path}", "holds an entry that is not a SHA-256 and a name", remedy)
    return entries


@contextmanager
def _changing() -> Iterator[dict[str, str]]:
    """The entries, to be changed in place; written back on leaving. A lock keeps two writers from losing a line."""
    import fcntl

    path = list_path()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = path.with_suffix(".lock").open("wb")
    except OSError as error:
        raise ArtifactError(f"trust list {path}", f"cannot be written ({error.strerror})") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        entries = _load(path)
        before = dict(entries)
        yield entries
        if entries != before:
            write_atomic(path, dump_json({"schema_version": 1, "trusted": entries}), mode=0o600)
