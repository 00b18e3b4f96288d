"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from edgekit.errors import ArtifactError


def write_atomic(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write `data` to `path` under a temporary name beside it, flush it to the disk, then rename it.

    Raises ArtifactError when the file cannot be written, or when `path` is a device, a pipe or a folder; what was at
    `path` before is then still there.
    """
    if path.exists() and not path.is_file():  # the rename would put a file in its place
        raise ArtifactError(str(path), "is no regular file", "name another one")
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(handle, mode)
            os.fsync(handle)
        Path(temporary).replace(path)
    except OSError as error:
        raise ArtifactError(str(path), f"cannot be written ({error.strerror})") from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
