"""Two profiles side by side: every figure that both have, their ratio, and under which conditions it means anything."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from edgekit.errors import DataError
from edgekit.profile.figures import SCHEMA_VERSION, Figure, figures, named_timings
from edgekit.profile.grades import UNAVAILABLE
from edgekit.profile.host import BUSY
from edgekit.profile.numbers import number, quantity

Document = Mapping[str, Any]
Key = tuple[str, str, str]  # group, name and unit of a figure
MOST_BYTES = 100_000_000
REMEDY = "make it with edgekit profile --json"
NOT_TOLD = "not told"
_NAMED = ("artifact", "target", "precision", "engine", "stimulus", "steps", "available")
_COMPARED = ("target", "precision", "engine", "place", "stimulus", "steps")
_HOST = ("processor", "arch", "simd", "cores", "system", "python", "edgekit")
_CONDITIONS = ("model", "kernel", "online", "governors", "most_khz", "boost", "quota_cpus")


@dataclass(frozen=True)
class Difference:
    """Something that was not the same when the two profiles were made."""

    what: str
    a: str
    b: str


@dataclass(frozen=True)
class Row:
    """A figure of both profiles; None where one has it not. `ratio` is b / a, None where `note` says why."""

    group: str
    name: str
    unit: str
    a: float | None
    b: float | None
    grade_a: str
    grade_b: str
    ratio: float | None
    note: str = ""

    @property
    def texts(self) -> tuple[str, str, str]:
        """The figures and their ratio for people; '' where there is none."""
        a, b = ("" if value is None else _text(value, self.unit) for value in (self.a, self.b))
        return a, b, "" if self.ratio is None else _times(self.ratio)


@dataclass(frozen=True)
class Comparison:
    """`names` of the two, what was `different`, and the `rows`; `documents` are the profiles themselves."""

    names: tuple[str, str]
    different: tuple[Difference, ...]
    rows: tuple[Row, ...]
    documents: tuple[Document, Document] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the documents."""
        return {
            "a": self.names[0],
            "b": self.names[1],
            "different": [asdict(each) for each in self.different],
            "figures": [asdict(row) for row in self.rows],
        }


def read_profile(path: str | Path) -> dict[str, Any]:
    """The document of a file that `edgekit profile --json` wrote; DataError when it is none."""
    try:
        if Path(path).stat().st_size > MOST_BYTES:
            raise DataError(str(path), f"is larger than {MOST_BYTES:,} bytes, which no profile is", REMEDY)
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(str(path), f"cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(str(path), "is no JSON file", REMEDY) from error
    _check(document, str(path))
    return dict(document)


def compare_profiles(a: Document, b: Document, names: tuple[str, str] = ("a", "b")) -> Comparison:
    """Put two documents of `edgekit profile --json` side by side; `names` are what messages call them.

    A ratio is given where both figures are known and came about in the same way. DataError for what is no profile, or
    one of another schema version.
    """
    for document, name in zip((a, b), names, strict=True):
        _check(document, name)
    sides = _side(a, names[0]), _side(b, names[1])
    keys = dict.fromkeys(chain(*(side.figures for side in sides)))
    groups = list(dict.fromkeys(group for group, _, _ in keys))
    ordered = sorted(keys, key=lambda key: groups.index(key[0]))  # what only b has goes to its group
    return Comparison(names, tuple(_differences(*sides)), tuple(_row(key, *sides) for key in ordered), (a, b))


def _check(document: object, name: str) -> None:
    if not isinstance(document, Mapping):
        raise DataError(name, "is no profile: it holds no object", REMEDY)
    if lacking := [key for key in ("schema_version", *_NAMED) if key not in document]:
        raise DataError(name, f"is no profile: it lacks {', '.join(lacking)}", REMEDY)
    version = document["schema_version"]
    if version != SCHEMA_VERSION or isinstance(version, bool):
        cause = f"is of schema version {version!r}, this edgekit compares those of {SCHEMA_VERSION}"
        raise DataError(name, cause, "profile the program again")


@dataclass(frozen=True)
class _Side:
    """What one document has to compare; `windows` are from where to where the medians of a timing's windows go."""

    figures: Mapping[Key, Figure]
    windows: Mapping[str, tuple[float, float]]
    conditions: Mapping[str, Mapping[str, str]]
    load: float | None


def _side(document: Document, name: str) -> _Side:
    try:
        return _Side(
            {(each.group, each.name, each.unit): each for each in figures(document)},
            dict(_windows(document)),
            _conditions(document),
            (document.get("host") or {}).get("load_average"),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(name, f"is a damaged profile ({type(error).__name__}: {error})", REMEDY) from error


def _windows(document: Document) -> Iterator[tuple[str, tuple[float, float]]]:
    for name, timing in named_timings(document):
        edges, counts = timing["histogram"]["edges_us"], timing["histogram"]["counts"]
        if len(edges) != len(counts) + 1:
            raise ValueError(f"a histogram of {len(counts)} bins with {len(edges)} edges")
        if not all(math.isfinite(n) for n in (*edges, *counts)) or min(edges) <= 0 or min(counts) < 0:
            raise ValueError("a histogram whose edges are not above 0, or whose counts are none")
        windows = timing["windows_us"]
        if len(windows) > 1:
            yield f"{name}: median", (float(min(windows)), float(max(windows)))


def _conditions(document: Document) -> dict[str, dict[str, str]]:
    host, before = document.get("host") or {}, (document.get("conditions") or {}).get("before") or {}
    names = {name: name.replace("_khz", " kHz").replace("_", " ") for name in _CONDITIONS}
    paced, energy = document.get("paced"), document.get("energy")
    how = {"paced": f"{_plain(paced['rate_hz'])} Hz"} if paced else {}
    how |= {"energy by": _plain(energy["sensor"])} if energy else {}
    return {
        "": {name: _plain(document[name]) for name in _COMPARED if name in document} | how,
        "host": {f"host: {name}": _plain(host[name]) for name in _HOST if name in host},
        "conditions": {shown: _plain(before[name]) for name, shown in names.items() if name in before},
    }


def _row(key: Key, a: _Side, b: _Side) -> Row:
    group, name, unit = key
    found = [side.figures.get(key) for side in (a, b)]
    values = [None if each is None else each.value for each in found]
    grades = [UNAVAILABLE if each is None or each.value is None else each.grade for each in found]
    ratio, note = _ratio(values[0], values[1], *grades)
    if ratio is not None and name in a.windows and name in b.windows:
        (low, high), (other_low, other_high) = a.windows[name], b.windows[name]
        if low <= other_high and other_low <= high:
            note = "the windows of both overlap: not told apart"
    return Row(group, name, unit, values[0], values[1], grades[0], grades[1], ratio, note)


def _ratio(a: float | None, b: float | None, grade_a: str, grade_b: str) -> tuple[float | None, str]:
    if a is None or b is None:
        missing = "neither has it" if a is None and b is None else f"only {'a' if b is None else 'b'} has it"
        return None, missing
    if grade_a != grade_b:
        return None, f"{grade_a} and {grade_b}: no ratio of unlike grades"
    if a <= 0 or b < 0:
        return None, "" if a == b else "no ratio to what is not above 0"
    return b / a, ""


def _differences(a: _Side, b: _Side) -> Iterator[Difference]:
    """What a reader has to know before the ratios mean anything."""
    for group in a.conditions:
        told = [side.conditions[group] for side in (a, b)]
        if not all(told):
            texts = [each.get("host: processor", "told") if each else NOT_TOLD for each in told]
            if texts[0] != texts[1]:
                yield Difference(group, *texts)
            continue
        for what in dict.fromkeys(chain(*told)):
            texts = [each.get(what, NOT_TOLD) for each in told]
            if texts[0] != texts[1]:
                yield Difference(what, *texts)
    if any(isinstance(side.load, (int, float)) and side.load > BUSY for side in (a, b)):
        yield Difference("load, others were busy", _plain(a.load), _plain(b.load))


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items()) or NOT_TOLD
    return NOT_TOLD if value is None else number(value)


def _text(value: float, unit: str) -> str:
    return quantity(value, unit) if unit else number(value)


def _times(ratio: float) -> str:
    return f"{ratio:.2f}×" if 0.1 <= ratio < 10 else f"{number(ratio, 3)}×"
