"""Real time for recordings: frames come when they are due."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from edgekit.demo.har.frames import Frame

MAX_LAG = 1.0  # seconds that are made up for; what is later than that stays late


def paced(
    frames: Iterable[Frame],
    rate_hz: float,
    speed: float,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Frame]:
    """The frames of a source that is not live, `speed` times as fast as they were recorded at `rate_hz`."""
    period, due = 1 / (rate_hz * speed), clock()
    for frame in frames:
        now = clock()
        if due > now:
            sleep(due - now)
        elif now - due > MAX_LAG:
            due = now
        yield frame
        due += period
