"""What was built once is not built again: files in the user's cache folder, named by the hash of all that made them."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from edgekit.errors import ToolchainError

MAX_ENTRIES = 512
_DIGEST_BYTES = 32


def cache_dir() -> Path:
    """Return `$EDGEKIT_CACHE`, or edgekit's folder in the user's cache; it is made when absent."""
    chosen = os.environ.get("EDGEKIT_CACHE")
    home = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgekit"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ToolchainError(
            f"cache folder {home}", f"cannot be made ({error.strerror})", "set EDGEKIT_CACHE"
        ) from error
    return home


def content_key(*parts: bytes | str) -> str:
    """Return a hash of the parts, in hex; no two different lists of parts share one."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.hexdigest()


def load(key: str) -> bytes | None:
    """Return what was stored under `key`, which stays young by that; None when there is nothing, or it is damaged."""
    path = cache_dir() / "build" / key
    try:
        data = path.read_bytes()
    except OSError:
        return None
    with suppress(OSError):  # of a cache that may only be read
        os.utime(path)
    digest, body = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    return body if hashlib.sha256(body).digest() == digest else None


def store(key: str, body: bytes) -> None:
    """Keep `body` under `key`; the oldest entries beyond 512 are dropped."""
    folder = cache_dir() / "build"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder)
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(body).digest() + body)
        Path(temporary).replace(folder / key)
        entries = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
        for path in entries[:-MAX_ENTRIES]:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return  # another process dropped the same old entry first
    except OSError as error:
        raise ToolchainError(
            f"cache folder {folder}", f"cannot be written ({error.strerror})", "set EDGEKIT_CACHE"
        ) from error
