"""Lines of text into samples: newline JSON and CSV, from whoever sends them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from edgekit.errors import DataError, UsageError
from edgekit.streaming.counters import Counters
from edgekit.streaming.lines import MAX_LINE
from edgekit.streaming.rows import MalformedError, Rows
from edgekit.streaming.sample import MISSING, Sample

FORMATS = ("auto", "json", "csv")
TIME_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
TIME_NAMES = ("t", "time", "timestamp")
PATIENCE = 100  # lines that may be no sample before the first one is


class Parser:
    """Makes samples of lines, for a program with these channels.

    `form` is json, csv or auto: then a line that begins with a brace or a bracket is JSON, and the first sample settles
    it. `time_unit` is that of the times, s where it is None: s, ms, us or ns. With `stamp` a sample's time is that of
    its arrival. UsageError for a form or a unit that is not known, and for a unit or a stamp of no use to the samples.
    """

    def __init__(
        self,
        channels: Sequence[str],
        counters: Counters,
        *,
        form: str = "auto",
        time_unit: str | None = None,
        stamp: bool = False,
    ) -> None:
        if form not in FORMATS:
            raise UsageError(f"--format {form}", "is not known", f"known are {', '.join(FORMATS)}")
        if time_unit is not None and time_unit not in TIME_UNITS:
            raise UsageError(f"--time-unit {time_unit}", "is not known", f"known are {', '.join(TIME_UNITS)}")
        self._channels, self._counters = tuple(channels), counters
        self._form, self._unit, self._stamp = form, time_unit, stamp
        self._second = TIME_UNITS[time_unit or "s"]
        self._time_names = tuple(name for name in TIME_NAMES if name not in self._channels)
        self.rows = Rows(self._channels, self._time_names)
        self._samples, self._faults = 0, 0
        self.first_fault: str | None = None

    def parse(self, line: bytes) -> Sample | None:
        """The sample in a line, None for an empty one, a comment (#), a header, or what is counted as malformed.

        DataError when a header lacks channels, and after 100 lines of which none was a sample.
        """
        try:
            text = self._text(line)
            if text is None:
                return None
            as_json = self._form == "json" or (self._form == "auto" and text[0] in "{[")
            found = self._json(text) if as_json else self.rows.row(text)
            if found is None:
                return None
            at, values = found
            if not self._samples:
                self._check_use(timed=at is not None)
            if at is not None:
                if not math.isfinite(at):
                    raise MalformedError("its time is no number of seconds")
                at *= self._second
            elif self._stamp:  # a clock that is never set back
                at = time.monotonic()
        except MalformedError as fault:
            self._malformed(line, str(fault))
            return None
        self._samples += 1
        if self._form == "auto":
            self._form = "json" if as_json else "csv"
        return Sample(at, values)

    def check_any(self, source: str) -> None:
        """DataError when there has been no sample at all."""
        if self._samples:
            return
        if self.first_fault is None:
            raise DataError(source, "holds no samples", "give a line for each: JSON, or CSV")
        raise DataError(source, f"holds no samples: {self.first_fault}", self._expected())

    def _check_use(self, *, timed: bool) -> None:
        if timed and self._stamp:
            raise UsageError("--stamp", "the samples carry times of their own", "leave it out")
        if not timed and self._unit is not None:
            raise UsageError(f"--time-unit {self._unit}", "the samples carry no times", "leave it out")

    def _text(self, line: bytes) -> str | None:
        if len(line) > MAX_LINE:
            raise MalformedError(f"is longer than {MAX_LINE:,} bytes")
        try:
            text = line.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise MalformedError("is no text") from None
        return None if not text or text[0] == "#" else text

    def _malformed(self, line: bytes, why: str) -> None:
        self._counters.malformed += 1
        self._faults += 1
        if self.first_fault is None:
            shown = line[:60].decode("utf-8", "replace")
            self.first_fault = f"the line {shown!r}{' …' * (len(line) > 60)} {why}"
        if not self._samples and self._faults >= PATIENCE:
            raise DataError("stream", f"{PATIENCE} lines and no sample: {self.first_fault}", self._expected())

    def _expected(self) -> str:
        return f"a line is JSON or CSV with {len(self._channels)} channels: {', '.join(self._channels[:32])}"

    def _json(self, text: str) -> tuple[float | None, tuple[float, ...]]:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise MalformedError("is no JSON") from None
        if isinstance(value, list):
            return None, self._listed(value)
        if not isinstance(value, dict):
            raise MalformedError("is neither a JSON object nor an array")
        given = next((value[name] for name in self._time_names if name in value), None)
        at = None if given is None else _number(given)
        listed = value.get("x")
        return at, self._listed(listed) if isinstance(listed, list) else self._named(value)

    def _listed(self, values: list[Any]) -> tuple[float, ...]:
        if len(values) != len(self._channels):
            raise MalformedError(f"has {len(values)} values, the program {len(self._channels)} channels")
        return tuple(map(_number, values))

    def _named(self, value: Mapping[str, Any]) -> tuple[float, ...]:
        if not any(name in value for name in self._channels):
            raise MalformedError("names none of the program's channels, and has no array x")
        return tuple(_number(value.get(name)) for name in self._channels)


def _number(value: Any) -> float:
    """A JSON number; null is a value that is missing, and so is one beyond floating point."""
    if value is None:
        return MISSING
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        shown = repr(value[:20]) if isinstance(value, str) else f"a {type(value).__name__}"
        raise MalformedError(f"holds {shown}, which is no number")
    try:
        return float(value)
    except OverflowError:
        return MISSING
