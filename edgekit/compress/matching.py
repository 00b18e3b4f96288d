"""Names that the patterns of rules fit; a pattern that fits none is an error that lists them."""

from __future__ import annotations

from collections.abc import Iterable

from edgekit.errors import UsageError


def fits(pattern: str, name: str) -> bool:
    """Whether a name is the pattern, in which each `*` stands for any text."""
    first, *rest = pattern.split("*")
    if not rest:
        return name == pattern
    if not name.startswith(first):
        return False
    at = len(first)
    for part in rest[:-1]:
        found = name.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(name) - at >= len(rest[-1]) and name.endswith(rest[-1])


def fitting(pattern: str, names: Iterable[str], what: str) -> list[str]:
    """The names that fit a pattern, in their order; UsageError that lists all of them where none does."""
    known = list(names)
    found = [name for name in known if fits(pattern, name)]
    if not found:
        none = f"fits none of the {what}" if known else f"fits nothing: this model has no {what}"
        raise UsageError(f"match = {pattern!r}", none, f"the {what} are" if known else "leave the rule out", known)
    return found
