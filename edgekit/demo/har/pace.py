"""Real time for recordings: frames come when they are due."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from edgekit.demo.har.frames import Frame

MAX_LAG = 1.0  # seconds that are made up for; what is later than that stays late
SLICE = 0.1  # seconds, the most that whoever shows frames waits to look at keys and requests
LONGEST = 2.0  # seconds of silence in a recording that are waited for


def paced(
    frames: Iterable[Frame | None],
    rate_hz: float,
    speed: float,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Frame | None]:
    """The frames of a source that is not live, `speed` times as fast as their own times say.

    Silence of more than LONGEST is left out: the next frame comes a period of `rate_hz` later. None comes while a frame
    is waited for.
    """
    due, before = clock(), 0.0
    for frame in frames:
        if frame is None:
            yield None
            continue
        step, before = frame.t - before, frame.t
        due += (step if 0 <= step <= LONGEST else 1 / rate_hz) / speed
        now = clock()
        if now - due > MAX_LAG:
            due = now
        while due > now:
            sleep(min(due - now, SLICE))
            if due - now <= SLICE:
                break
            yield None
            now = clock()
        yield frame
