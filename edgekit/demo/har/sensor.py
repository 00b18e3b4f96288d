"""A sensor of one's own, or a file of its samples, as a source: what `edgekit run --stream` reads too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgekit.demo.har.play import Heard
from edgekit.demo.har.windows import CHANNELS
from edgekit.errors import UsageError
from edgekit.streaming import Counters
from edgekit.streaming.samples import Samples, open_samples


class Sensor:
    """Samples of six channels as they come; nobody knows what the wearer does, and nothing can be asked for."""

    activities: tuple[str, ...] = ()

    def __init__(self, opened: Samples) -> None:
        self._opened = opened
        self.name, self.live = opened.source.name, opened.source.live

    def play(self, name: str | None) -> None:
        """UsageError: a sensor plays nothing."""
        raise UsageError(f"activity {name!r}", f"{self.name} plays nothing on request")

    def __iter__(self) -> Iterator[Heard]:
        for sample in self._opened.samples:
            yield Heard(sample, None)


@contextmanager
def open_sensor(text: str, counters: Counters) -> Iterator[Sensor]:
    """Open `-`, a FILE, `udp://HOST:PORT` or `serial:/dev/ttyX@BAUD`: lines of JSON or CSV, in m/s² and rad/s.

    UsageError or DataError where it cannot be opened.
    """
    with open_samples(text, CHANNELS, counters) as opened:
        yield Sensor(opened)
