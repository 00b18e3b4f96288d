"""Several files and folders that are written together: each whole, and all of them or none."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.artifact.atomic import PREFIX, cannot_write, check_room
from edgekit.errors import ArtifactError, DataError
from edgekit.toolchain.interrupts import uninterrupted

Content = bytes | Mapping[str, bytes]
"""The bytes of a file, or those of the files of a folder by their path below it."""
MARK = ".edgekit"
"""A folder with a file of this name was written here, and may be replaced."""


def check_folder(path: Path) -> None:
    """DataError when a folder cannot be written there, or would take the place of something that is not ours."""
    check_room(path)
    if path.exists() and not path.is_dir():
        raise DataError(str(path), "is no folder", "name another one")
    if path.is_dir() and any(path.iterdir()) and not (path / MARK).is_file():
        raise DataError(str(path), "is a folder that edgekit has not written", "name another one, or move it away")


@dataclass(frozen=True)
class _Staged:
    """What will be at `path`: it lies beside it under a temporary name, and what was there before under another."""

    path: Path
    fresh: Path
    before: Path

    def swap(self) -> None:
        """Put the new in place of the old, which is kept."""
        if self.path.is_dir():
            self.path.rename(self.before)
        elif self.path.exists():
            _copy(self.path, self.before)
        self.fresh.replace(self.path)

    def restore(self) -> None:
        """Undo `swap`, however far it came."""
        if self.before.exists():
            if not self.fresh.exists():
                _remove(self.path)
            self.before.replace(self.path)
        elif not self.fresh.exists():
            _remove(self.path)


def write_together(files: Sequence[tuple[Path, Content]]) -> None:
    """Write files and folders under temporary names, flush them to the disk, then rename all.

    What goes wrong on the way, an interrupt as well, leaves everything as it was; one that comes while the names change
    waits until all of them have. ArtifactError when something cannot be written.
    """
    staged: list[_Staged] = []
    where = Path()
    try:
        for path, content in files:
            where = path
            if path.exists() and isinstance(content, bytes) and not path.is_file():
                raise ArtifactError(str(path), "is no regular file", "name another one")
            with uninterrupted():
                staged.append(_room(path))
            _write(staged[-1].fresh, content)
        with uninterrupted():
            try:
                for one in staged:
                    where = one.path
                    one.swap()
            except BaseException:
                for one in reversed(staged):
                    one.restore()
                raise
            for folder in {path.parent for path, _ in files}:
                _sync(folder)
    except OSError as error:
        raise cannot_write(where, error) from error
    finally:
        with uninterrupted():
            for one in staged:
                _remove(one.fresh.parent)


def _room(path: Path) -> _Staged:
    """Temporary names beside a path, in a folder of their own."""
    room = Path(tempfile.mkdtemp(prefix=PREFIX, dir=path.parent))
    return _Staged(path, room / "new", room / "old")


def _write(path: Path, content: Content) -> None:
    if isinstance(content, bytes):
        _write_file(path, content)
        return
    path.mkdir(mode=0o755)
    for name, data in {MARK: b"", **content}.items():
        inner = path / name
        inner.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _write_file(inner, data)
    for folder in sorted({(path / name).parent for name in content} | {path}):
        _sync(folder)


def _write_file(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file.fileno())


def _copy(path: Path, to: Path) -> None:
    """A second name for a file, or a copy where the file system has no such thing."""
    try:
        os.link(path, to)
    except OSError:
        shutil.copy2(path, to)


def _sync(folder: Path) -> None:
    """Flush the names in a folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
