"""How long a step takes back to back: windows of readings of a clock, warm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from statistics import median
from time import perf_counter_ns
from typing import Any

import numpy as np

from edgekit.profile.grades import MEASURED
from edgekit.profile.spread import Histogram, Spread
from edgekit.profile.stimulus import Array, Stimulus
from edgekit.runtime import Session

MOST_READINGS = 100_000  # of one window in this process, which keeps each of them


@dataclass(frozen=True)
class MeasurePlan:
    """How to measure: `windows` of `seconds` each after a warm-up, and where `rate_hz` is given, steps at that rate for
    `paced_seconds`.
    """

    windows: int = 5
    seconds: float = 0.3
    warm_seconds: float = 0.2
    rate_hz: float | None = None
    paced_seconds: float = 10.0

    @classmethod
    def strict(cls, rate_hz: float | None = None) -> MeasurePlan:
        """Five windows of ten seconds, of which the median counts, as MLPerf Tiny takes them; paced for a minute."""
        return cls(windows=5, seconds=10.0, warm_seconds=2.0, rate_hz=rate_hz, paced_seconds=60.0)


@dataclass(frozen=True)
class Window:
    """The readings of one window: nanoseconds, how often each was seen, and the exact sum of them all.

    `begin_ns` and `end_ns` are times of CLOCK_MONOTONIC where it was measured; `preempted` is how often the system took
    the processor away, None where nobody counted.
    """

    begin_ns: int
    end_ns: int
    nanoseconds: Array
    counts: Array
    sum_ns: int
    preempted: int | None = None


@dataclass(frozen=True)
class Timing:
    """Microseconds of one step; a reading of the clock covers `steps_each` steps and counts as their mean.

    `spread` and `histogram` are over the readings of all windows, `windows` are the medians of each, and `median_us`,
    the figure to quote, is the median of those. `preempted` is how often the system took the processor away.
    """

    name: str
    how: str
    steps_each: int
    spread: Spread
    windows: tuple[float, ...]
    histogram: Histogram
    preempted: int | None = None
    grade: str = MEASURED

    @property
    def median_us(self) -> float:
        """Median of the windows' medians."""
        return median(self.windows)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        histogram = {"edges_us": list(self.histogram.edges_us), "counts": list(self.histogram.counts)}
        return {
            "name": self.name,
            "how": self.how,
            "steps_each": self.steps_each,
            "median_us": self.median_us,
            "windows_us": list(self.windows),
            "spread_us": self.spread.to_dict(),
            "histogram": histogram,
            "preempted": self.preempted,
            "grade": self.grade,
        }


def timing_of(name: str, how: str, steps_each: int, windows: Sequence[Window]) -> Timing:
    """What some windows, at least one, say of a step."""
    microseconds = np.concatenate([w.nanoseconds for w in windows]) / 1e3 / steps_each
    counts = np.concatenate([w.counts for w in windows])
    taken = [w.preempted for w in windows]
    exact = sum(w.sum_ns for w in windows) / 1e3 / steps_each / int(counts.sum())
    return Timing(
        name,
        how,
        steps_each,
        replace(Spread.counted(microseconds, counts), mean=exact),
        tuple(Spread.counted(w.nanoseconds / 1e3 / steps_each, w.counts).p50 for w in windows),
        Histogram.counted(microseconds, counts),
        None if None in taken else sum(n for n in taken if n is not None),
    )


def time_steps(session: Session, stimulus: Stimulus, plan: MeasurePlan | None = None) -> tuple[Timing, ...]:
    """Time a session in this process, step by step and then in whole streams; the states go on, nothing is reset.

    It includes what Python takes for a call; `edgekit.profile.measurer` times the program alone.
    """
    plan = plan or MeasurePlan()
    streams = stimulus.streams if session.codec is None else [session.codec.raw_of(s) for s in stimulus.streams]
    rows = [tuple(a[t] for a in stream) for stream in streams for t in range(len(stream[0]))]
    single = _windows(lambda inputs: session.step(*inputs), cycle(rows), plan)
    longest = max(streams, key=lambda stream: len(stream[0]))
    many = _windows(lambda inputs: session.run(*inputs), cycle([longest]), plan)
    return (
        timing_of("Session.step", "one step a call from Python, raw values", 1, single),
        timing_of("Session.run", "many steps a call from Python, raw values", len(longest[0]), many),
    )


def _windows(call: Callable[[Any], object], inputs: Iterator[Any], plan: MeasurePlan) -> list[Window]:
    """The readings of each call, after a warm-up."""
    warm = perf_counter_ns() + int(plan.warm_seconds * 1e9)
    while perf_counter_ns() < warm:
        call(next(inputs))
    return [_window(call, inputs, int(plan.seconds * 1e9)) for _ in range(plan.windows)]


def _window(call: Callable[[Any], object], inputs: Iterator[Any], window_ns: int) -> Window:
    taken: list[int] = []
    begin = perf_counter_ns()
    while len(taken) < MOST_READINGS:
        given = next(inputs)
        start = perf_counter_ns()
        call(given)
        stop = perf_counter_ns()
        taken.append(stop - start)
        if stop - begin > window_ns:
            break
    values, counts = np.unique(np.asarray(taken), return_counts=True)
    return Window(begin, perf_counter_ns(), values, counts, sum(taken))
