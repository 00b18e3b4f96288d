"""A sensor of one's own, or a file of its samples, as a source: what `edgekit run --stream` reads too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgekit.demo.har.frames import counted
from edgekit.demo.har.play import Heard
from edgekit.demo.har.windows import CHANNELS
from edgekit.errors import UsageError
from edgekit.streaming import Counters
from edgekit.streaming.samples import Samples, open_samples

PATIENCE = 0.05  # seconds of silence after which whoever shows the stream looks at keys and requests
USUAL = ("samples", "steps", "decisions", "dropped")
ONE = {"duplicates": "duplicate", "gaps": "gap", "restarts": "restart", "dropouts": "dropout", "overflows": "overflow"}
ONE |= {"rate_changes": "rate change"}


class Sensor:
    """Samples of six channels as they come; nobody knows what the wearer does, and nothing can be asked for."""

    activities: tuple[str, ...] = ()

    def __init__(self, opened: Samples, counters: Counters) -> None:
        self._opened, self._counters = opened, counters
        self.name, self.live = opened.source.name, opened.source.live

    def play(self, name: str | None) -> None:
        """UsageError: a sensor plays nothing."""
        raise UsageError(f"activity {name!r}", f"{self.name} plays nothing on request")

    def __iter__(self) -> Iterator[Heard | None]:
        for sample in self._opened.awaited:
            yield None if sample is None else Heard(sample, None)

    def notes(self, counters: Counters) -> tuple[str, ...]:
        """What was left out or mended of the stream, in words; `counters` are those of a model that hears it."""
        told = [f"columns not used: {', '.join(self._opened.unused)}"] if self._opened.unused else []
        counts = counters.to_dict()
        counts["malformed"] += self._counters.malformed
        odd = [
            f"{count:,} {ONE.get(name, name) if count == 1 else name.replace('_', ' ')}"
            for name, count in counts.items()
            if name not in USUAL and count
        ]
        if odd:
            told.append(f"of {counted(counters.samples, 'sample')} and what is none: {', '.join(odd)}")
        if fault := self._opened.parser.first_fault:
            told.append(f"first malformed line: {fault}")
        return tuple(told)


@contextmanager
def open_sensor(
    text: str, *, form: str | None = None, time_unit: str | None = None, stamp: bool = False
) -> Iterator[Sensor]:
    """Open `-`, a FILE, `udp://HOST:PORT` or `serial:/dev/ttyX@BAUD`: lines of JSON or CSV, in m/s² and rad/s.

    `form`, `time_unit` and `stamp` are as for `Parser`.
    UsageError or DataError where it cannot be opened.
    """
    counters = Counters()
    how = open_samples(
        text, CHANNELS, counters, form=form or "auto", time_unit=time_unit, stamp=stamp, patience=PATIENCE
    )
    with how as opened:
        yield Sensor(opened, counters)
