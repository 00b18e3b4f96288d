"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekit.errors import ArtifactError, DataError

PREFIX = ".edgekit-"
"""Of temporary names: that of the file itself may already be as long as a name can be."""
LONGEST_NAME = 255
_REMEDIES = {
    errno.ENOSPC: "make some room there",
    errno.EDQUOT: "make some room there",
    errno.EACCES: "name a place where you may write",
    errno.EPERM: "name a place where you may write",
    errno.EROFS: "name a place where you may write",
}


def cannot_write(path: Path, error: OSError) -> ArtifactError:
    """The fault of a file that cannot be written, with what to do about it."""
    return ArtifactError(
        str(path), f"cannot be written ({error.strerror})", _REMEDIES.get(error.errno or 0, "name another place")
    )


def check_room(path: Path) -> None:
    """DataError unless there is a folder for the file, and its name is not too long."""
    size = len(os.fsencode(path.name))
    if size > LONGEST_NAME:
        raise DataError(f"{path.name[:40]}…", f"is a name of {size} bytes", f"names have up to {LONGEST_NAME}")
    if not path.parent.is_dir():
        raise DataError(str(path), "its folder does not exist", "make it first, or name another place")


def write_atomic(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write `data` to `path` under a temporary name beside it, flush it to the disk, then rename it.

    Raises ArtifactError when the file cannot be written, or when `path` is a device, a pipe or a folder; what was at
    `path` before is then still there.
    """
    with staged(path, data, mode):
        pass


@contextmanager
def staged(path: Path, data: bytes, mode: int = 0o644) -> Iterator[None]:
    """Put `data` beside `path`, flushed to the disk, and give it its name when the context ends without a fault.

    Raises as `write_atomic` does; most of it before the context begins.
    """
    if path.exists() and not path.is_file():  # the rename would put a file in its place
        raise ArtifactError(str(path), "is no regular file", "name another one")
    temporary = ""
    try:
        try:
            handle, temporary = tempfile.mkstemp(prefix=PREFIX, dir=path.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(handle, mode)
                os.fsync(handle)
        except OSError as error:
            raise cannot_write(path, error) from error
        yield
        try:
            Path(temporary).replace(path)
        except OSError as error:
            raise cannot_write(path, error) from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
