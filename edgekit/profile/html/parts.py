"""What a page is made of: values that the template turns into HTML, and numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgekit.profile.numbers import number, quantity

_UNITS = {
    **{"joules": ("J", 1.0), "watts": ("W", 1.0), "volts": ("V", 1.0), "seconds": ("s", 1.0), "s": ("s", 1.0)},
    **{"us": ("s", 1e-6), "hz": ("Hz", 1.0), "khz": ("Hz", 1e3), "bytes": ("B", 1.0), "c": ("°C", 1.0)},
}
"""By the last word of a key, as in `rate_hz`, or by the first, as in `joules_per_step`."""


NOT_TOLD = "not told"


@dataclass(frozen=True)
class Badge:
    """The grade of a figure; drawn as a small mark beside it, with its name in it."""

    grade: str


Cell = str | Badge


@dataclass(frozen=True)
class Table:
    """Rows of cells below `columns`; `right` are the numbers of the columns aligned to the right.

    With a `fold`, the table is behind this line until a reader opens it.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    right: tuple[int, ...] = ()
    caption: str = ""
    fold: str = ""


@dataclass(frozen=True)
class Chart:
    """A specification, and the names of its series with their colours where there are several: the page writes them."""

    spec: Mapping[str, Any]
    keys: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Figure:
    """A chart with its title, its caption and the grade of what it draws."""

    name: str
    title: str
    caption: str
    chart: Chart
    grade: str = ""


@dataclass(frozen=True)
class Tile:
    """One figure in large type."""

    label: str
    value: str
    grade: str
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the page; `figures` stand side by side where there is room, `tables` below them."""

    name: str
    title: str
    lead: str
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gap:
    """What a profile does not have, and how it would come about."""

    title: str
    words: str


def words(key: str) -> str:
    """A key of a document for people: `joules_per_step` is 'joules per step'."""
    return key.replace("_", " ")


def plain(value: Any, key: str = "") -> str:
    """Any value of a document in one line, numbers in the unit that its key names."""
    unit, factor = _unit_of(key)
    if value is None or value == {}:
        return NOT_TOLD
    if isinstance(value, Mapping):
        return ", ".join(
            f"{words(str(name))} {plain(item, name if unit == '' else key)}" for name, item in value.items()
        )
    if isinstance(value, (list, tuple)):
        texts = [plain(item, key) for item in value]
        alike = len(texts) > 1 and len(set(texts)) == 1
        return f"{len(texts)} × {texts[0]}" if alike else " · ".join(texts) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return quantity(value * factor, unit) if unit and isinstance(value, (int, float)) else number(value)


def _unit_of(key: str) -> tuple[str, float]:
    parts = key.split("_")
    return next((_UNITS[word] for word in (parts[-1], parts[0]) if len(parts) > 1 and word in _UNITS), ("", 1.0))


def flat(document: Mapping[str, Any], skip: Iterable[str] = (), key: str = "") -> list[tuple[str, str]]:
    """The values of a document in one line each, with the words that lead to them; without grades and `skip`.

    `key` is that of the document within another: where it names a unit, that is the unit of all in it.
    """
    found = list[tuple[str, str]]()
    for name, value in document.items():
        if name in skip or name == "grade" or name.endswith("_grade"):
            continue
        named = key if _unit_of(key)[0] else name
        title = words(name.rpartition("_")[0] if name.rpartition("_")[2] in _UNITS and "_" in name else name)
        if isinstance(value, Mapping) and value:
            found += [(f"{title}: {inner}", text) for inner, text in flat(value, skip, named)]
        else:
            found.append((title, plain(value, named)))
    return found


def finite(value: Any) -> Any:
    """The same document without NaN and Inf, which JSON does not have: None stands for them."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
