"""Files that a verb writes, apart from those that it reads and from each other: checked before any work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path

from edgekit.errors import UsageError


def check_apart(written: Mapping[str, Path | None], read: Iterable[Path | None]) -> None:
    """UsageError where a file would be written over one that is read, or that is to hold something else as well.

    The keys of `written` say what each file is to hold.
    """
    outputs = {what: path for what, path in written.items() if path is not None}
    for path in outputs.values():
        if any(_is_same(path, source) for source in read if source is not None):
            raise UsageError(str(path), "is what is to be read", "name another output")
    for (one, path), (other, same) in combinations(outputs.items(), 2):
        if _is_same(path, same):
            raise UsageError(str(path), f"would hold both {one} and {other}", "give each a file of its own")


def _is_same(a: Path, b: Path) -> bool:
    if a.exists() and b.exists():
        return a.samefile(b)
    return a.resolve() == b.resolve()
