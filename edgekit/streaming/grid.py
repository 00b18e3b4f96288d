"""The program's clock: steps at its rate from samples at whatever rate they come."""

from __future__ import annotations

from collections.abc import Callable

from edgekit.streaming.counters import Counters
from edgekit.streaming.events import GAP, RATE, Event, Untold
from edgekit.streaming.follow import Follower, follower
from edgekit.streaming.rates import FIRST, Pace, RateWatch, pace_of
from edgekit.streaming.sample import Floats, Tick

MANY = 20  # gaps, each after fewer samples than would tell their rate
RUSH = 100  # times the program's rate, beyond what any sensor of it is read at


class Grid:
    """Steps of `period` seconds. At what rate samples come is measured over the first 21 of them, which are held until
    then, and again when it has changed, unless it is known. Silence longer than `longest` seconds is a gap. `tell` is
    called once each with what makes a rate doubtful.
    """

    def __init__(self, period: float, longest: float, counters: Counters, tell: Callable[[str], None]) -> None:
        self._period, self._longest, self._counters, self._tell = period, longest, counters, tell
        self._source: float | None = None
        self._measured = True
        self._told: set[str] = set()
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
    def known(self) -> bool:
        """Whether something said how far samples are apart, so that it is not measured."""
        return not self._measured

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

    def add(self, time: float, values: Floats) -> list[Tick | Event | Untold]:
        """Take a sample, all of it there and later than the last: steps, and events that ended what was before."""
        found: list[Tick | Event | Untold] = []
        if self._last is not None and time - self._last > self._longest:
            silence = time - self._last
            found += self.restart()
            found.append(self._gap(time, silence))
        self._last = time
        self._since += 1
        if self._source is None:
            self._held.append(Tick(time, values))
            return [*found, *(self._begin() if len(self._held) == FIRST else [])]
        if (times := self._watch.changed(time, self._source)) is not None:
            before, now = self._source, pace_of(times, self._period).period
            if not self._measured:
                own, told = f"{1 / now:.4g} Hz", f"{1 / before:.4g} Hz"
                self._doubt("known", f"samples come at {own} by their own times; --rate says {told}, which is taken")
                return [*found, *self._follow(time, values)]
            found += self.restart()
            self._last, self._source = time, now
            found.append(Event(RATE, time, f"samples come at {1 / now:.4g} Hz now, not at {1 / before:.4g} Hz"))
            self._counters.rate_changes += 1
        return [*found, *self._follow(time, values)]

    def _gap(self, time: float, silence: float) -> Event | Untold:
        """Count a gap, and say it; where hardly anything else comes, after the 20th in a row the 40th, 80th, … alone,
        and what may be wrong.
        """
        self._counters.gaps += 1
        self._in_row, self._since = self._in_row + 1 if self._since < FIRST else 1, 0
        many, beyond = divmod(self._in_row, MANY)
        hint = ""
        if many:
            if beyond or many & (many - 1):
                return Untold()
            hint = f"; that is {self._in_row} gaps in a row, and the {2 * self._in_row}th is told next"
            hint += ": do --time-unit and --max-gap fit the samples?"
        return Event(GAP, time, f"nothing usable came for {silence:.3g} s, and {self._longest:.3g} s is the most{hint}")

    def _doubt(self, what: str, text: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self._tell(text)

    def _follow(self, time: float, values: Floats, pace: Pace | None = None) -> list[Tick]:
        if self._follower is None:
            self._follower = follower(self._period, self._source or self._period, pace, self._counters)
        return self._follower.add(time, values)

    def _begin(self) -> list[Tick]:
        """The steps of the samples that were held, now that there are enough to tell their rate, or never will be."""
        held, self._held = self._held, []
        pace = pace_of([tick.time for tick in held], self._period)
        self._source = pace.period
        if len(held) == FIRST and pace.period * RUSH < self._period:
            why = "the times of a pipe that runs ahead (--stamp), or in another unit (--time-unit), mean nothing"
            came, own = 1 / pace.period, 1 / self._period
            self._doubt("fast", f"samples come at {came:,.0f} Hz, and the program steps at {own:.4g} Hz: {why}")
        return [step for tick in held for step in self._follow(tick.time, tick.values, pace)]
