"""Rows of CSV as loggers and microcontrollers print them."""

from __future__ import annotations

import csv
from collections.abc import Sequence

from edgekit.errors import DataError
from edgekit.streaming.sample import MISSING

DELIMITERS = (",", ";", "\t", " ")


class MalformedError(Exception):
    """A line is no sample; says why."""


class Rows:
    """Rows of values, of which the first may name the columns; it settles whether commas, semicolons, tabs or spaces
    are between them. `unused` are the columns of a header that are none of the program's channels.
    """

    def __init__(self, channels: Sequence[str], time_names: Sequence[str]) -> None:
        self._channels, self._time_names = channels, time_names
        self._delimiter: str | None = None
        self._header: list[str] | None = None
        self._columns: list[int] = []
        self._time: int | None = None
        self._width = 0
        self.unused: tuple[str, ...] = ()

    def row(self, text: str, *, lenient: bool = False) -> tuple[float | None, tuple[float, ...]] | None:
        """The time and the values in a line, None when it is a header.

        If `lenient`, a time may be before the values where the first row, without a header, had none, or be missing.
        """
        if self._delimiter is None:
            return self._first(text)
        fields = _fields(text, self._delimiter)
        if lenient and self._header is None and len(fields) != self._width:
            timed = len(fields) - len(self._channels)
            if timed in (0, 1) and fields[-1]:
                return _decimal(fields[0]) if timed else None, tuple(map(_decimal, fields[timed:]))
        if len(fields) != self._width:
            raise MalformedError(f"has {len(fields)} fields, not {self._width}")
        if fields == self._header:  # a logger that started again
            return None
        return self._values(fields)

    def _first(self, text: str) -> tuple[float | None, tuple[float, ...]] | None:
        """Settle what a row is, by a header or by the first row of numbers; malformed for what is neither."""
        count = len(self._channels)
        split = {delimiter: _fields(text, delimiter) for delimiter in DELIMITERS}
        for delimiter, fields in split.items():
            if columns := self._named_columns(fields):
                self._columns, self._time = columns
                self._delimiter, self._header, self._width = delimiter, fields, len(fields)
                used = {*self._columns, self._time}
                self.unused = tuple(field for at, field in enumerate(fields) if at not in used)
                return None
        if len(split[";"]) in (count, count + 1) and "," in text:
            raise MalformedError("has decimal commas: write numbers with a point")
        for delimiter, fields in split.items():
            if len(fields) in (count, count + 1):
                timed = len(fields) > count
                if timed and not fields[-1]:
                    raise MalformedError("ends with an empty field: only a header could tell what is missing")
                self._columns, self._time = list(range(timed, len(fields))), 0 if timed else None
                found = self._values(fields)
                self._delimiter, self._width = delimiter, len(fields)
                return found
        raise MalformedError(f"is neither a header nor {count} numbers, with or without a time before them")

    def _named_columns(self, fields: Sequence[str]) -> tuple[list[int], int | None] | None:
        """Where a header has the channels and the time; None for what is no header."""
        names = [field.casefold() for field in fields]
        wanted = [name.casefold() for name in self._channels]
        if not set(names) & set(wanted):
            return None
        if missing := [name for name, key in zip(self._channels, wanted, strict=True) if key not in names]:
            raise DataError("header", f"lacks {', '.join(missing)}; it has {', '.join(fields)}", "name every channel")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DataError("header", f"names {', '.join(twice)} twice", "name every column once")
        time_column = next((names.index(name) for name in self._time_names if name in names), None)
        likely = next((name for name in names if name.startswith("time") and name not in wanted), None)
        if time_column is None and likely is not None:
            remedy = f"call it {' or '.join(self._time_names)}, and give --time-unit where it is not in seconds"
            raise DataError("header", f"names {likely}, which is not known as the time", remedy)
        return [names.index(key) for key in wanted], time_column

    def _values(self, fields: Sequence[str]) -> tuple[float | None, tuple[float, ...]]:
        at = None if self._time is None else _decimal(fields[self._time])
        return at, tuple(_decimal(fields[column]) for column in self._columns)


def _fields(text: str, delimiter: str) -> list[str]:
    try:
        (fields,) = csv.reader([text], delimiter=delimiter, skipinitialspace=True, strict=True)
    except (csv.Error, ValueError):
        raise MalformedError("is no row of CSV") from None
    return [field.strip() for field in fields]


def _decimal(field: str) -> float:
    """A number as people and programs write it; an empty field is a value that is missing."""
    if not field:
        return MISSING
    try:
        if field.isascii() and "_" not in field:
            return float(field)
    except ValueError:
        pass
    comma = ": it has a decimal comma" if "," in field else ""
    raise MalformedError(f"holds {field[:20]!r}, which is no number{comma}")
