"""The front door: samples in, decisions and events out, one at a time and for ever."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekit.errors import DataError, UsageError
from edgekit.runtime import Session
from edgekit.runtime.session import DECISIONS
from edgekit.streaming.clock import Clock
from edgekit.streaming.counters import Counters
from edgekit.streaming.decisions import Decision, Smoother, class_names, softmax
from edgekit.streaming.events import OVERFLOW, Event, Untold
from edgekit.streaming.grid import Grid
from edgekit.streaming.missing import Holder
from edgekit.streaming.options import DEFAULT_GAP, Options
from edgekit.streaming.sample import Array, Sample, Tick
from edgekit.streaming.windows import Closed, OnStep, Windows, window_plan

ROUNDING = 1.001  # of the longest gap: sums of periods are not exact
MOST_FILLED = 4096  # steps


class FrontDoor:
    """One stream of samples through one program.

    The windows run in streams of their own, so `session` keeps its state; `on_step` is called after every step of the
    window that is to be decided next, with the stream that runs it. `plan` says what a window is, `channels` what a
    sample holds, `counters` what became of everything so far. `tell` is called, once or twice, with what makes the rate
    of the samples doubtful. Memory stays as it is however long a stream gets.

    UsageError when the program's decisions cannot be streamed, or an option does not fit it.
    """

    def __init__(
        self,
        session: Session,
        options: Options | None = None,
        on_step: OnStep | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        options = options or Options()
        self.session, self.options, self.counters = session, options, Counters()
        self.plan = window_plan(session, options)
        facts = session.facts
        port = facts.io["inputs"][0]
        self.channels = tuple(port.get("channels") or (f"x{n}" for n in range(self.plan.channels)))
        if len(self.channels) != self.plan.channels:
            cause = f"names {len(self.channels)} channels, a step of its stream has {self.plan.channels}"
            raise UsageError(f"program {facts.name!r}", cause, "run it on arrays")
        self.names = class_names(facts.io.get("classes"), session.output_shapes[0][0])
        self.rate: float | None = port.get("rate_hz") or options.source_rate
        if options.max_gap is not None and self.rate is None:
            cause = "the program does not say at what rate it steps, so that silence has no length"
            raise UsageError("--max-gap", cause, "give --rate too")
        period = 1 / (self.rate or 1.0)
        longest = (options.max_gap or DEFAULT_GAP * period) * ROUNDING
        if longest > MOST_FILLED * period:
            cause = f"is more than {MOST_FILLED:,} steps, which is no gap to bridge"
            raise UsageError(f"--max-gap {options.max_gap}", cause, "give a shorter one")
        if options.source_rate is not None and 1 / options.source_rate > longest:
            cause = f"samples come every {1 / options.source_rate:.3g} s then, and {longest / ROUNDING:.3g} s is a gap"
            raise UsageError(f"--rate {options.source_rate:g}", cause, "give a longer --max-gap")
        self._source_rate = options.source_rate or self.rate
        self._clock = Clock(self._source_rate, longest, self.counters)
        self._holder = Holder(self.channels, longest, self.counters)
        self._grid = Grid(period, longest, self.counters, tell or (lambda _: None))
        if options.source_rate is not None:
            self._grid.know(1 / options.source_rate)
        self._windows = Windows(session, self.plan, on_step)
        self._smoother = Smoother(options)

    @property
    def source_rate(self) -> float | None:
        """At how many Hz samples come, None while that is not known, and where nothing says it."""
        return None if self._source_rate is None else self._grid.source_rate

    @property
    def held(self) -> int:
        """Samples that wait for the rate to be known, and are no steps yet."""
        return self._grid.held

    @property
    def executed(self) -> int:
        """How often the program was called: each open window calls it once for a step."""
        return self._windows.executed

    @property
    def resampled(self) -> bool:
        """Whether steps are computed from samples at another rate; otherwise samples are the steps, bit for bit."""
        return self._grid.resampled

    def feed(self, sample: Sample) -> list[Decision | Event]:
        """Take a sample and give what it brought about, mostly nothing.

        DataError for another number of values than the program has channels, UsageError when samples carry times and
        nothing says at what rate the program steps.
        """
        self.counters.samples += 1
        if len(sample.values) != len(self.channels):
            cause = f"has {len(sample.values)} values, the program {len(self.channels)} channels"
            raise DataError("sample", cause, ", ".join(self.channels[:32]))
        time, restarted = self._clock.place(sample)
        if time is None:
            return []
        found: list[Tick | Event | Untold] = []
        if restarted is not None:
            self._holder.forget()
            found += [*self._grid.restart(), restarted]
            if self._clock.timed and self.options.source_rate is None:
                self._grid.measure()
        if not self._clock.timed and not self._grid.known:
            self._grid.know(1 / (self._source_rate or 1.0))
        values, dropout = self._holder.complete(time, sample.values)
        if dropout is not None:
            found += [*self._grid.restart(), dropout]
        if values is not None:
            found += self._grid.add(time, values)
        return [made for item in found if (made := self._take(item)) is not None]

    def finish(self) -> list[Decision | Event]:
        """End the stream: what was still held becomes steps, and a window that is not full is dropped."""
        found = [made for tick in self._grid.restart() if (made := self._take(tick)) is not None]
        self._break()
        return found

    def relearned(self) -> None:
        """Take over what `session` has learned in the meantime; windows that are open are dropped."""
        self.counters.dropped += self._windows.relearned()
        self._smoother.forget()

    def _break(self) -> int:
        dropped = self._windows.drop()
        self.counters.dropped += dropped
        self._smoother.forget()
        return dropped

    def _take(self, item: Tick | Event | Untold) -> Decision | Event | None:
        if isinstance(item, Untold):
            self._break()
            return None
        if isinstance(item, Event):
            return Event(item.kind, self._clock.shown(item.time or 0.0), item.text, self._break())
        self.counters.steps += 1
        closed = self._windows.step(item.values)
        return None if closed is None else self._decide(closed, item.time)

    def _decide(self, closed: Closed, time: float) -> Decision | Event:
        outputs = closed.outputs
        shown_time = self._clock.shown(time)
        if not np.isfinite(outputs).all():
            self.counters.overflows += 1
            text = "the program's outputs are NaN or Inf: it has overflowed"
            return Event(OVERFLOW, shown_time, text, closed.end - closed.start)
        label, scores = int(self.session.decide(outputs)), self._scores(outputs)
        probabilities = softmax(scores)
        shown, confidence = self._smoother.add(probabilities)
        self.counters.decisions += 1
        return Decision(
            index=self.counters.decisions - 1,
            start=closed.start,
            end=closed.end,
            time=shown_time,
            label=label,
            name=self.names[label],
            scores=tuple(map(float, scores)),
            confidence=float(probabilities[label]),
            shown=shown,
            shown_name=None if shown is None else self.names[shown],
            shown_confidence=confidence,
        )

    def _scores(self, outputs: Array) -> Array:
        """What `decide` takes the largest of, [classes]."""
        return DECISIONS[self.session.facts.io["decision"]](outputs) if self.session.stateful else outputs
