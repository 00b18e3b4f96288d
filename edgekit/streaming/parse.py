"""Lines of text into samples: newline JSON and CSV, from whoever sends them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgekit.errors import DataError, UsageError
from edgekit.streaming.clock import ENOUGH
from edgekit.streaming.counters import Counters
from edgekit.streaming.lines import MAX_LINE
from edgekit.streaming.rows import MalformedError, Rows
from edgekit.streaming.sample import MISSING, Sample

FORMATS = ("auto", "json", "csv")
TIME_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
TIME_NAMES = ("t", "time", "timestamp")
PATIENCE = 100  # lines in a row that may be no sample


class Parser:
    """Makes samples of lines, for a program with these channels.

    `form` is json, csv or auto: then a line that begins with a brace or a bracket is JSON, and the first sample settles
    it, and whether samples carry times. `time_unit` is that of the times, s where it is None: s, ms, us or ns. With
    `stamp` a sample's time is that of its arrival. `tell` is called, a few times at most, with what whoever watches has
    to know at once. Set `endless` for lines that come as they happen, to wait for a sample however long there is none,
    and to leave to the front door what to make of one with a time among others without, or the other way round.
    UsageError for a form or a unit that is not known, and for a unit or a stamp of no use to the samples.
    """

    def __init__(
        self,
        channels: Sequence[str],
        counters: Counters,
        *,
        form: str = "auto",
        time_unit: str | None = None,
        stamp: bool = False,
        tell: Callable[[str], None] | None = None,
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
        self._tell = tell or (lambda _: None)
        self._timed: bool | None = None
        self._others = 0  # samples in a row, with a time where the stream has none or without where it has
        self._samples, self._faults = 0, 0  # faults since the last sample
        self._first = ""  # the line of the first sample
        self.endless = False
        self.first_fault: str | None = None

    def parse(self, line: bytes) -> Sample | None:
        """The sample in a line, None for an empty one, a comment (#), a header, or what is counted as malformed.

        DataError when a header lacks channels or has times by a name that is not known, and, unless `endless`, after
        100 lines in a row without a sample, if there were no more samples than that before them. UsageError when the
        samples have times and `stamp` was given, or have none and a unit was.
        """
        try:
            text = self._text(line)
            if text is None:
                return None
            as_json = self._form == "json" or (self._form == "auto" and text[0] in "{[")
            found = self._json(text) if as_json else self.rows.row(text, lenient=self.endless)
            if found is None:
                if self.rows.unused:
                    self._tell(f"columns not used: {', '.join(self.rows.unused)}")
                return None
            at, values = found
            if at is not None and not math.isfinite(at):
                raise MalformedError("its time is no number of seconds")
            self._judge(line, timed=at is not None)
            if at is not None:
                at *= self._second
            elif self._stamp:  # a clock that is never set back
                at = time.monotonic()
        except MalformedError as fault:
            self._malformed(line, str(fault))
            return None
        self._first = self._first or _shown(line)
        self._samples, self._faults = self._samples + 1, 0
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

    def _judge(self, line: bytes, *, timed: bool) -> None:
        """What a time, or none, means after those before it, and for the options."""
        if self._timed is None or self.endless:
            self._check_use(line, timed=timed)
        if timed == self._timed or self._timed is None:
            self._timed, self._others = timed, 0
            return
        fault = "has a time, the first sample had none" if timed else "has no time, as the first sample had"
        if not self.endless:
            raise MalformedError(fault)
        self._others += 1
        self._tell_first(self._fault(line, fault), f"until {ENOUGH} come in a row")
        if self._others == ENOUGH:  # as the clock takes them
            self._timed, self._others = timed, 0

    def _check_use(self, line: bytes, *, timed: bool) -> None:
        """UsageError for an option that is of no use; of a live source one line, or a few, may be strays."""
        if timed and self._stamp:
            option, cause = "--stamp", f"the samples carry times of their own, as the line {_shown(line)}"
            fault = "has a time, and --stamp was given"
        elif not timed and self._unit is not None:
            option, cause = f"--time-unit {self._unit}", f"the samples carry no times, as the line {_shown(line)}"
            fault = "has no time, whose unit was given"
        else:
            return
        self._others += 1
        if not self.endless or self._others >= max(ENOUGH, self._samples):
            raise UsageError(option, cause, "leave it out")
        raise MalformedError(fault)

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
        fault = self._fault(line, why)
        self._tell_first(fault)
        if self.endless and self._faults == PATIENCE:
            anew = "; if they are what should come, start anew" if self._samples else ""
            self._tell(f"{PATIENCE} lines in a row and no sample: {fault}; {self._expected()}{anew}")
        elif not self.endless and self._faults >= max(PATIENCE, self._samples):
            settled = f"; if the first sample, {self._first}, was a stray one, take it out" if self._samples else ""
            cause = f"{self._faults:,} lines in a row and no sample: {fault}"
            raise DataError("stream", cause, self._expected() + settled)

    def _fault(self, line: bytes, why: str) -> str:
        return f"the line {_shown(line)} {why}"

    def _tell_first(self, fault: str, until: str = "") -> None:
        if self.first_fault is None:
            self.first_fault = fault
            self._tell(f"{fault}; such lines are left out{', ' * bool(until)}{until}")

    def _expected(self) -> str:
        form = "JSON or CSV" if self._form == "auto" else self._form.upper()
        return f"a line is {form} with {len(self._channels)} channels: {', '.join(self._channels[:32])}"

    def _json(self, text: str) -> tuple[float | None, tuple[float, ...]]:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise MalformedError("is no JSON") from None
        if isinstance(value, list):
            return None, self._listed(value)
        if not isinstance(value, dict):
            raise MalformedError("is neither a JSON object nor an array")
        value = {key.casefold(): given for key, given in value.items()} | value
        given = next((value[name] for name in self._time_names if name in value), None)
        at = None if given is None else _number(given)
        listed = value.get("x")
        return at, self._listed(listed) if isinstance(listed, list) else self._named(value)

    def _listed(self, values: list[Any]) -> tuple[float, ...]:
        if len(values) != len(self._channels):
            raise MalformedError(f"has {len(values)} values, the program {len(self._channels)} channels")
        return tuple(map(_number, values))

    def _named(self, value: Mapping[str, Any]) -> tuple[float, ...]:
        keys = [name if name in value else name.casefold() for name in self._channels]
        if not any(key in value for key in keys):
            raise MalformedError("names none of the program's channels, and has no array x")
        return tuple(_number(value.get(key)) for key in keys)


def _shown(line: bytes) -> str:
    """A line's beginning, for people."""
    return f"{line[:60].decode('utf-8', 'replace')!r}{' …' * (len(line) > 60)}"


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
