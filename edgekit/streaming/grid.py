"""The program's clock: steps at its rate from samples at whatever rate they come."""

from __future__ import annotations

from edgekit.streaming.counters import Counters
from edgekit.streaming.events import GAP, RATE, Event
from edgekit.streaming.follow import Follower, follower
from edgekit.streaming.rates import FIRST, Pace, RateWatch, pace_of
from edgekit.streaming.sample import Floats, Tick

MANY = 20  # gaps, each after fewer samples than would tell their rate


class Grid:
    """Steps of `period` seconds. At what rate samples come is measured over the first 21 of them, which are held until
    then, and again when it has changed, unless it is known. Silence longer than `longest` seconds is a gap.
    """

    def __init__(self, period: float, longest: float, counters: Counters) -> None:
        self._period, self._longest, self._counters = period, longest, counters
        self._source: float | None = None
        self._measured = True
        self._watch = RateWatch()
        self._held: list[Tick] = []
        self._last: float | None = None
        self._follower: Follower | None = None
        self._since, self._in_row = 0, 0  # samples since the last gap, and gaps that came so soon

    def know(self, source: float) -> None:
        """Samples come every so many seconds: there is nothing to measure."""
        self._source, self._measured = source, False

    def measure(self) -> None:
        """Nothing says any longer how far samples are apart: the next ones tell."""
        if not self._measured:
            self._source, self._measured = None, True

    @property
    def held(self) -> int:
        """Samples that wait until the rate is known."""
        return len(self._held)

    @property
    def source_rate(self) -> float | None:
        """At how many Hz samples come, None while that is not known."""
        return None if self._source is None else 1 / self._source

    @property
    def resampled(self) -> bool:
        """Whether steps are computed from samples at another rate."""
        return self._source is not None and self._source != self._period

    def restart(self) -> list[Tick]:
        """End what was: the steps that were still held. What comes next starts a grid of its own."""
        ticks = []
        if self._held:
            ticks = self._begin()
            self._source = None  # of so few samples it is a guess
        self._follower = self._last = None
        self._watch.forget()
        return ticks

    def add(self, time: float, values: Floats) -> list[Tick | Event]:
        """Take a sample, all of it there and later than the last: steps, and events that ended what was before."""
        found: list[Tick | Event] = []
        if self._last is not None and time - self._last > self._longest:
            silence = time - self._last
            found += self.restart()
            found.append(Event(GAP, time, self._gap(silence)))
        self._last = time
        self._since += 1
        if self._source is None:
            self._held.append(Tick(time, values))
            return [*found, *(self._begin() if len(self._held) == FIRST else [])]
        if self._measured and (times := self._watch.changed(time, self._source)) is not None:
            before, now = self._source, pace_of(times, self._period).period
            found += self.restart()
            self._last, self._source = time, now
            found.append(Event(RATE, time, f"samples come at {1 / now:.4g} Hz now, not at {1 / before:.4g} Hz"))
            self._counters.rate_changes += 1
        return [*found, *self._follow(time, values)]

    def _gap(self, silence: float) -> str:
        """Count a gap, and say it; once in a while also what may be wrong where hardly anything but gaps comes."""
        self._counters.gaps += 1
        self._in_row, self._since = self._in_row + 1 if self._since < FIRST else 1, 0
        many = self._in_row % MANY == 0
        hint = f"; that is {self._in_row} gaps in a row: do --time-unit and --max-gap fit the samples?" if many else ""
        return f"nothing usable came for {silence:.3g} s, and {self._longest:.3g} s is the most{hint}"

    def _follow(self, time: float, values: Floats, pace: Pace | None = None) -> list[Tick]:
        if self._follower is None:
            self._follower = follower(self._period, self._source or self._period, pace, self._counters)
        return self._follower.add(time, values)

    def _begin(self) -> list[Tick]:
        """The steps of the samples that were held, now that there are enough to tell their rate, or never will be."""
        held, self._held = self._held, []
        pace = pace_of([tick.time for tick in held], self._period)
        self._source = pace.period
        return [step for tick in held for step in self._follow(tick.time, tick.values, pace)]
