"""`edgekit run --stream`: samples of a sensor in, a decision for each window out, until they end or are stopped."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.cli.exits import SCHEMA_VERSION, give_up_output
from edgekit.cli.stream_options import StreamChoices
from edgekit.errors import DataError, EdgekitError

if TYPE_CHECKING:
    from edgekit.runtime import Session
    from edgekit.runtime.streams import MachineStream
    from edgekit.streaming import Decision, Event, FrontDoor, Samples

WORDS = {
    "duplicates": "sample{s} of a time that another had",
    "late": "sample{s} older than one before",
    "extra": "second sample{s} of a step",
    "malformed": "line{s} left out as malformed",
    "missing": "value{s} missing",
    "held": "of them held",
    "unusable": "sample{s} of no use",
    "filled": "sample{s} lost and bridged",
    "gaps": "gap{s}",
    "restarts": "restart{s}",
    "rate_changes": "change{s} of the rate",
    "dropouts": "dropout{s}",
    "overflows": "window{s} overflowed",
    "dropped": "step{s} in windows that never ended",
}


class _Stop:
    """Ctrl-C and SIGTERM end a stream: at once while its source is opened or it waits for a sample, else after the one
    that it is at; and the second of them at once whatever it does, without a summary.
    """

    def __init__(self) -> None:
        self.asked, self._waiting = False, False

    def _handle(self, *_: object) -> None:
        again, self.asked = self.asked, True
        if again:  # perhaps nobody reads what is printed
            give_up_output()
        if again or self._waiting:
            self._waiting = False
            raise KeyboardInterrupt

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the two signals, and give them back at the end."""
        self._waiting = True
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        taken = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
        for number in taken:
            signal.signal(number, self._handle)
        try:
            yield
        finally:
            for number, handler in taken.items():
                signal.signal(number, handler)

    def until(self, items: Iterator[Any]) -> Iterator[Any]:
        """The items until they end or somebody asks to stop."""
        while True:
            try:
                self._waiting = True
                item = None if self.asked else next(items, None)
                self._waiting = False
            except KeyboardInterrupt:
                return
            if item is None:
                return
            yield item


class _Printer:
    """Decisions and events: lines for people on a terminal, an object a line for machines."""

    def __init__(self, *, as_json: bool) -> None:
        self._objects = as_json or not sys.stdout.isatty()

    def show(self, kind: str, document: Mapping[str, Any], line: str) -> None:
        """Print one of them at once: whoever reads may wait for it."""
        if self._objects:
            line = json.dumps({"schema_version": SCHEMA_VERSION, "type": kind, **document})
        if not line:
            return
        try:
            print(line, flush=True)
        except BrokenPipeError:
            raise
        except OSError as error:
            give_up_output()
            raise DataError("standard output", f"cannot be written: {error.strerror}") from error

    def tell(self, made: Decision | Event) -> None:
        """Print what the front door has made."""
        from edgekit.streaming import Event

        when = "" if made.time is None else f"{made.time:.2f} s"
        if isinstance(made, Event):
            dropped = f"; steps dropped: {made.dropped}" if made.dropped else ""
            self.show("event", made.to_dict(), f"{when:>12}  -- {made.text}{dropped}")
            return
        sure = "" if made.shown_confidence is None else f"{100 * made.shown_confidence:3.0f} %"
        window = "" if made.shown == made.label else f"  (this window: {made.name}, {100 * made.confidence:.0f} %)"
        self.show("decision", made.to_dict(), f"{when:>12}  {made.shown_name or 'not sure':24} {sure:5}{window}")


def run_stream(
    artifact: Path,
    session: Session,
    source: str,
    choices: StreamChoices,
    counted: MachineStream | None,
    *,
    as_json: bool,
) -> None:
    """Stream a source through a session, and print what it decides; the summary goes to standard error."""
    from edgekit.streaming import FrontDoor, open_samples

    door = FrontDoor(session, choices.options(), tell=_warn)
    stop, printer = _Stop(), _Printer(as_json=as_json)
    started = time.perf_counter()
    reading = open_samples(
        source,
        door.channels,
        door.counters,
        form=choices.form or "auto",
        time_unit=choices.time_unit,
        stamp=choices.stamp,
        tell=_warn,
    )
    with stop.listening(), reading as opened:
        every = f", one every {door.plan.stride}" if door.plan.stride != door.plan.length else ""
        windows = f"windows of {_count(door.plan.length, 'step{s}')}{every}"
        part = f"; {session.width} % of the units" if session.width != 100 else ""
        _note(f"{session.engine}{part}; {windows}; reading {opened.source.name}")
        if not (door.session.stateful or door.session.facts.io.get("classes")):
            _warn("the program names no classes: the number of its largest output is taken for a decision")
        fault: EdgekitError | None = None
        try:
            for sample in stop.until(opened.samples):
                for made in door.feed(sample):
                    printer.tell(made)
        except EdgekitError as error:
            if not door.counters.steps:
                raise
            fault = error
        for made in door.finish():
            printer.tell(made)
        seconds = time.perf_counter() - started
        document = _summary(artifact, door, opened, seconds, counted) | {"stopped": stop.asked}
        printer.show("summary", document, "")
        _note(*_summary_lines(door, opened, seconds, counted))
        if fault is not None:
            raise fault


def _summary(
    artifact: Path, door: FrontDoor, opened: Samples, seconds: float, counted: MachineStream | None
) -> dict[str, Any]:
    return {
        "artifact": str(artifact),
        "engine": door.session.engine,
        "width": door.session.width,
        "source": opened.source.name,
        "channels": list(door.channels),
        "window": {"length": door.plan.length, "stride": door.plan.stride},
        "rate_hz": door.rate,
        "source_rate_hz": door.source_rate,
        "resampled": door.resampled,
        "seconds": round(seconds, 4),
        "instructions": None if counted is None else counted.total_instructions(),
        "instructions_grade": None if counted is None else "emulated",
        "calls": door.executed,
        "counters": door.counters.to_dict(),
        "unused_columns": list(opened.unused),
        "first_malformed": opened.parser.first_fault,
    }


def _summary_lines(door: FrontDoor, opened: Samples, seconds: float, counted: MachineStream | None) -> Iterator[str]:
    """The same for people; what did not happen is not told."""
    counts = door.counters.to_dict()
    main = (_count(counts[name], name.removesuffix("s") + "{s}") for name in ("samples", "steps", "decisions"))
    yield f"{', '.join(main)} in {seconds:.1f} s"
    if told := ", ".join(_count(counts[name], text) for name, text in WORDS.items() if counts[name]):
        yield told
    if door.resampled and door.source_rate and door.rate:
        yield f"resampled from {door.source_rate:.4g} Hz to {door.rate:.4g} Hz"
    if opened.unused:
        yield f"columns not used: {', '.join(opened.unused)}"
    if opened.parser.first_fault:
        yield f"first malformed line: {opened.parser.first_fault}"
    if counted is not None and door.executed:
        total, often = counted.total_instructions(), door.executed
        executed = f"; {_count(often, 'call{s}')} of the program" if often != door.counters.steps else ""
        unit = "step" if not door.plan.whole or door.plan.length == 1 else "window"
        yield f"instructions: {total:,}, {total / often:,.0f} per {unit} (emulated, exact){executed}"


def _count(count: int, text: str) -> str:
    """So many of what `text` says, its {s} there for more than one."""
    return f"{count:,} {text.format(s='' if count == 1 else 's')}"


def _warn(text: str) -> None:
    _note(f"warning: {text}")


def _note(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr, flush=True)
