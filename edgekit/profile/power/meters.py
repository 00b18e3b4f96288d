"""Files of external meters: a CSV with time and power, or current and voltage, whatever the meter calls them.

Seen in files: Nordic PPK2 (`Timestamp(ms),Current(uA)`), Joulescope statistics (`#time,current,voltage,power`),
Monsoon (`Time (s),Main Avg Current (mA),Main Avg Voltage (V)`), and files converted from Otii
(`timestamp_s,current_A`).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from os import PathLike
from pathlib import Path

import numpy as np

from edgekit.errors import DataError
from edgekit.profile.power.sensors import WATTS, Rail, Source
from edgekit.profile.power.trace import Array, Trace

PREFIX = {"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9, "k": 1e3}
# quantity -> its unit, and names that columns of it begin with or are
QUANTITIES = {
    "time": ("s", r"(time|timestamp|elapsed|t)\b"),
    "current": ("A", r"(main )?(avg |average |mean )?(current|amps?|i)\b"),
    "voltage": ("V", r"(main )?(avg |average |mean )?(voltage|volts?|v|u)\b"),
    "power": ("W", r"(main )?(avg |average |mean )?(power|watts?|p)\b"),
}
BRACKETS = re.compile(r"^(?P<name>.*?)\s*[(\[]\s*(?P<unit>[^)\]]*)[)\]]\s*$")
SUFFIX = re.compile(r"^(?P<name>.*)_(?P<unit>[munkµμ]?[sAVW])$", re.IGNORECASE)
FIRST_LINES = 50  # among which the line with the names of columns is
GAP = 1.5  # times the median step of time
LEAST_ROWS = 3


@dataclass(frozen=True)
class Column:
    """A column of a file: its place, and what one of its units is in s, A, V or W."""

    at: int
    scale: float
    title: str


def read_meter(
    path: str | PathLike[str], *, volts: float | None = None, columns: Mapping[str, str] | None = None
) -> Trace:
    """Read a meter's CSV file; `volts` is the supply where the file has none.

    `columns` names the columns of quantities (time, current, voltage, power) that are not known by their titles,
    `title` or `title:unit`. DataError when the file cannot be read, a quantity is missing, a reading is no number, or
    times do not increase.
    """
    where = str(path)
    lines = _text(Path(path), where).splitlines()
    if not any(line.strip() for line in lines):
        raise DataError(where, "is empty", "give the file that the meter's program exported")
    at, delimiter, found = _header(lines, where, columns or {})
    if not {"power", "current"} & set(found):
        raise DataError(
            where,
            "has no column of current or power",
            "name it: csv:FILE,current=TITLE:UNIT",
            _titles(lines[at], delimiter),
        )
    is_power = "power" in found and volts is None
    if not is_power and "voltage" not in found and volts is None:
        raise DataError(where, "has current and no voltage", "give the supply's: csv:FILE,volts=3.3")
    if not is_power and "current" not in found:
        raise DataError(where, "has power already", "leave out volts")
    wanted = ["time", "power"] if is_power else ["time", "current"] + (["voltage"] if volts is None else [])
    table = _table(lines[at + 1 :], delimiter, [found[name] for name in wanted], where, at + 2)
    t = _times(table[0], where, at + 2)
    watts = table[1] if is_power else table[1] * (table[2] if volts is None else volts)
    return Trace(_source(lines[at], where, volts if not is_power else None, found, t), t, watts[:, None])


def _text(path: Path, where: str) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(where, f"cannot be read: {error.strerror}", "give a file") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _titles(line: str, delimiter: str) -> list[str]:
    return [cell.strip().strip('"').lstrip("#").strip() for cell in line.split(delimiter)]


def _header(lines: list[str], where: str, named: Mapping[str, str]) -> tuple[int, str, dict[str, Column]]:
    """Where the titles are, what is between them, and the columns found."""
    for at, line in enumerate(lines[:FIRST_LINES]):
        delimiter = next((mark for mark in (";", "\t") if mark in line), ",")
        titles = _titles(line, delimiter)
        found = _columns(titles, where, named)
        if "time" in found:
            missing = set(named) - set(found)
            if missing:
                raise DataError(
                    where, f"has no column {', '.join(named[m] for m in sorted(missing))}", "it has:", titles
                )
            return at, delimiter, found
    first = next(line for line in lines if line.strip())
    raise DataError(
        where,
        "has no line with the titles of columns, one of them time",
        "put one on top, such as time(s),current(A),voltage(V); the first line is:",
        [first[:100]],
    )


def _columns(titles: list[str], where: str, named: Mapping[str, str]) -> dict[str, Column]:
    found: dict[str, Column] = {}
    for quantity, given in named.items():
        title, _, unit = given.partition(":")
        if title in titles:
            scale = _scale(unit, quantity)
            if scale is None:
                raise DataError(
                    where, f"{given}: is no unit of {quantity}", f"give {QUANTITIES[quantity][0]} or mA, us, …"
                )
            found[quantity] = Column(titles.index(title), scale, title)
    for at, title in enumerate(titles):
        match = BRACKETS.match(title) or SUFFIX.match(title)
        name, unit = (match["name"], match["unit"]) if match else (title, "")
        for quantity, (_, pattern) in QUANTITIES.items():
            scale = _scale(unit, quantity)
            if quantity not in found and scale is not None and re.match(pattern, name.lower().replace("_", " ")):
                found[quantity] = Column(at, scale, title)
    return found


def _scale(unit: str, quantity: str) -> float | None:
    """What `unit` is in the unit of a quantity; None when it is one of another."""
    base = QUANTITIES[quantity][0]
    unit = unit.strip().replace("µ", "u").replace("μ", "u")
    if unit == "":
        return 1.0
    prefix, last = unit[:-1], unit[-1]
    return PREFIX.get(prefix.lower()) if last.lower() == base.lower() else None


def _table(rows: list[str], delimiter: str, columns: list[Column], where: str, first: int) -> list[Array]:
    """The columns as numbers in s, A, V and W; `first` is the number of the first row's line in the file."""
    if delimiter != ",":
        rows = [row.replace(",", ".") for row in rows]
    while rows and not rows[-1].strip():
        rows.pop()
    if len(rows) < LEAST_ROWS:
        raise DataError(where, f"has {len(rows)} readings", "energy takes 3 or more")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            table = np.loadtxt(
                StringIO("\n".join(rows)),
                np.float64,
                delimiter=delimiter,
                comments=None,
                usecols=[c.at for c in columns],
                unpack=True,
                ndmin=2,
                quotechar='"',
            )
    except (ValueError, UserWarning) as error:
        raise DataError(
            where, f"has a reading that is no number, counted from line {first}: {error}", "mend or cut the file"
        ) from error
    for column, values in zip(columns, table, strict=True):
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise DataError(
                where,
                f"{column.title}: {len(bad)} of {len(values)} readings are not finite, first in line {first + bad[0]}",
                "export them again; a number is not made up for them",
            )
    return [values * column.scale for column, values in zip(columns, table, strict=True)]


def _times(t: Array, where: str, first: int) -> Array:
    back = np.flatnonzero(np.diff(t) <= 0)
    if len(back):
        raise DataError(
            where, f"times do not increase in line {first + back[0] + 1}", "give one recording, in the order of time"
        )
    return t


def _source(header: str, where: str, volts: float | None, found: Mapping[str, Column], t: Array) -> Source:
    steps = np.diff(t)
    gaps = int(np.sum(steps > GAP * np.median(steps)))
    notes = [f"voltage was given: {volts:g} V, not measured"] if volts is not None else []
    bare = [
        column.title for column in found.values() if not (BRACKETS.match(column.title) or SUFFIX.match(column.title))
    ]
    notes += [f"no unit in the file for {', '.join(bare)}: taken as s, A, V and W"] if bare else []
    notes += (
        [f"{gaps} gaps between readings, the longest {steps.max():.3g} s: a straight line was drawn across"]
        if gaps
        else []
    )
    return Source(
        name=f"{_maker(header)}, {Path(where).name}",
        family="csv",
        unit=WATTS,
        rails=(Rail("supply"),),
        sees="what the meter supplied",
        notes=tuple(notes),
    )


def _maker(header: str) -> str:
    """Which meter's file it looks like."""
    title = header.lower().replace(" ", "").replace('"', "")
    if title.startswith("timestamp(ms),current(ua)"):
        return "PPK2"
    if title.startswith("#time,current,voltage"):
        return "Joulescope"
    return "Monsoon" if "mainavg" in title else "meter"
