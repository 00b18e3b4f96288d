"""A journal in a file beside the artifact: MODEL.edge.journal, the image of the flash that a board would have."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekit.artifact.atomic import PREFIX, cannot_write, check_room
from edgekit.errors import DataError, StateError, UsageError
from edgekit.learn.flash import ERASED, Flash, FlashError, RamFlash
from edgekit.learn.journal import Journal
from edgekit.learn.journal_format import MAX_HISTORY, Geometry, slot_bytes

PAGE_BYTES = 4096
HISTORY = 1
SUFFIX = ".journal"
LOOKS, PAUSE = 200, 0.01  # how often a reader looks whether the file stays as it is, and the seconds in between


class FileFlash(Flash):
    """Flash in a regular file that exists; `close` it.

    One writer at a time: StateError for whoever comes second. DataError for anything but a regular file of the right
    size. FlashError when the disk fails.
    """

    def __init__(self, path: Path, page_bytes: int, page_count: int) -> None:
        super().__init__(page_bytes, page_count)
        self._path, self._handle = path, _open_locked(path)
        if (size := os.fstat(self._handle).st_size) != self.size:
            self.close()
            raise DataError(str(path), f"has {size:,} bytes, it must have {self.size:,}")

    def sync(self) -> None:
        """Wait until the disk has everything."""
        try:
            os.fsync(self._handle)
        except OSError as error:
            raise self._fault("written", error) from error

    def close(self) -> None:
        """Close the file and release its lock; calling it again does nothing."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _store(self, offset: int, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                done = os.pwrite(self._handle, left, offset)
                left, offset = left[done:], offset + done
        except OSError as error:
            raise self._fault("written", error) from error

    def _fetch(self, offset: int, nbytes: int) -> bytes:
        found = bytearray()
        try:
            while len(found) < nbytes:
                part = os.pread(self._handle, nbytes - len(found), offset + len(found))
                if not part:
                    raise FlashError(str(self._path), "became shorter while it was open")
                found += part
        except OSError as error:
            raise self._fault("read", error) from error
        return bytes(found)

    def _fault(self, verb: str, error: OSError) -> FlashError:
        return FlashError(str(self._path), f"cannot be {verb} ({error.strerror})")


def journal_path(artifact: Path) -> Path:
    """Return the path of the journal that belongs to the artifact at a path."""
    return artifact.with_name(artifact.name + SUFFIX)


@contextmanager
def open_journal(
    path: Path,
    artifact_sha256: bytes,
    payload_bytes: int,
    history: int | None = None,
    *,
    page_bytes: int = PAGE_BYTES,
    writable: bool = True,
) -> Iterator[Journal]:
    """Open the journal in the file at `path` as long as the context lasts.

    Where there is no file a writer makes one, whole or not at all, that only its owner may read, and a reader sees a
    journal without commits. A reader keeps no writer waiting: it sees the file as it was at one moment, where a commit
    that is not finished counts for nothing. `history` is that of the file, 1 for a new one, unless it is given;
    UsageError when a file has another. Otherwise as `Journal` and `FileFlash`.
    """
    slot = slot_bytes(payload_bytes, page_bytes)
    wanted = Geometry(artifact_sha256, payload_bytes, HISTORY if history is None else history, page_bytes)
    size = _size(path)
    if size is None and not writable:
        blank = RamFlash(page_bytes, wanted.nbytes // page_bytes, writable=False)
        yield Journal(blank, artifact_sha256, payload_bytes, wanted.history)
        return
    if size is None:
        _create(path, wanted.nbytes)
        size = _size(path) or 0
    kept = _history(path, size, slot)
    if history is not None and history != kept:
        raise UsageError(
            str(path), f"keeps a history of {kept}, not of {history}", "leave the history out, or remove the file"
        )
    pages = (kept + 2) * slot // page_bytes
    if not writable:
        yield _journal(path, _snapshot(path, page_bytes, pages), artifact_sha256, payload_bytes, kept)
        return
    flash = FileFlash(path, page_bytes, pages)
    try:
        yield _journal(path, flash, artifact_sha256, payload_bytes, kept)
    finally:
        flash.close()


def _journal(path: Path, flash: Flash, artifact_sha256: bytes, payload_bytes: int, history: int) -> Journal:
    try:
        return Journal(flash, artifact_sha256, payload_bytes, history)
    except StateError as error:
        raise StateError(str(path), error.cause, error.remedy, error.items) from error


def _size(path: Path) -> int | None:
    """The size of a regular file, None where there is nothing; DataError for anything else."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(str(path), f"cannot be read ({error.strerror})") from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(str(path), "is not a regular file")
    return status.st_size


def _history(path: Path, size: int, slot: int) -> int:
    """The history that a file of this size has room for; DataError when it is not that of a ring."""
    slots, rest = divmod(size, slot)
    if rest or not 2 <= slots <= MAX_HISTORY + 2:
        raise DataError(
            str(path),
            f"has {size:,} bytes; a journal of this model has a multiple of {slot:,}, from two on",
            "it is damaged, or belongs to another model: remove it, or name the model it belongs to",
        )
    return slots - 2


def _snapshot(path: Path, page_bytes: int, page_count: int) -> RamFlash:
    """The file as it was at one moment: as it is found twice in a row."""
    flash = RamFlash(page_bytes, page_count, writable=False)
    handle, seen = _open(path, os.O_RDONLY), b""
    try:
        for look in range(LOOKS):
            now = os.pread(handle, flash.size + 1, 0)
            if len(now) != flash.size:
                size = os.fstat(handle).st_size
                raise DataError(str(path), f"has {size:,} bytes, it must have {flash.size:,}")
            if now == seen:
                flash.image[:] = now
                return flash
            seen = now
            time.sleep(PAUSE if look else 0)
    except OSError as error:
        raise DataError(str(path), f"cannot be read ({error.strerror})") from error
    finally:
        os.close(handle)
    raise StateError(str(path), "is being written all the time", "wait until that is done")


def _open(path: Path, how: int) -> int:
    """Open a regular file; DataError for anything else."""
    try:
        # a pipe or a device must not keep whoever opens it waiting
        handle = os.open(path, how | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise DataError(str(path), f"cannot be opened ({error.strerror})") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise DataError(str(path), "is not a regular file")
    return handle


def _open_locked(path: Path) -> int:
    import fcntl

    handle = _open(path, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException as error:
        os.close(handle)
        if not isinstance(error, OSError):
            raise
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise StateError(str(path), "another process is learning into it", "wait until it is done") from error
        raise DataError(str(path), f"cannot be locked ({error.strerror})") from error
    return handle


def _create(path: Path, nbytes: int) -> None:
    """Make an erased file under a temporary name, then give it its own unless another process was faster."""
    check_room(path)
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=PREFIX, dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            for at in range(0, nbytes, 1 << 20):
                file.write(bytes([ERASED]) * min(1 << 20, nbytes - at))
            file.flush()
            os.fsync(handle)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
