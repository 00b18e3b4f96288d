"""Values that did not come: a channel's last one stands in for a while, and then the sample is of no use."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit.streaming.counters import Counters
from edgekit.streaming.events import DROPOUT, Event
from edgekit.streaming.sample import Floats

LARGEST = float(np.finfo(np.float32).max)


class Holder:
    """Completes samples with the last values of their channels, none older than `longest` seconds."""

    def __init__(self, channels: Sequence[str], longest: float, counters: Counters) -> None:
        self._channels, self._longest, self._counters = channels, longest, counters
        self.forget()

    def forget(self) -> None:
        """Start again, with no value of any channel."""
        self._last = np.zeros(len(self._channels))
        self._seen = np.full(len(self._channels), -np.inf)
        self._silent: frozenset[int] = frozenset()

    def complete(self, time: float, values: Sequence[float]) -> tuple[Floats | None, Event | None]:
        """The values with the missing ones held; None when one is missing for too long, and an event at its start."""
        array = np.array(values, np.float64)
        good = np.abs(array) <= LARGEST  # false for NaN
        if good.all():
            self._last = array
            self._seen[:] = time
            self._silent = frozenset()
            return array, None
        absent = np.flatnonzero(~good)
        self._counters.missing += len(absent)
        self._last = np.where(good, array, self._last)
        self._seen[good] = time
        silent = frozenset(int(c) for c in absent if time - self._seen[c] > self._longest)
        new, self._silent = silent - self._silent, silent
        if not silent:
            self._counters.held += len(absent)
            return self._last, None
        self._counters.unusable += 1
        if not new:
            return None, None
        self._counters.dropouts += 1
        names = ", ".join(self._channels[c] for c in sorted(new))
        return None, Event(DROPOUT, time, f"nothing usable comes of {names}")
