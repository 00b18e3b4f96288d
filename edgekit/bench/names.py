"""Names that a user gives."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.errors import UsageError


def check_names(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    """UsageError for a name that is not in `known`, or is there twice."""
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"{what} {unknown[0]!r}", "is not known", f"known are {', '.join(known)}")
    if len(set(names)) < len(names):
        raise UsageError(f"{what}s {','.join(names)}", "name one twice")
