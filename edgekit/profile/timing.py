"""How long a step takes on this computer: wall clock, warm, back to back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from time import perf_counter_ns

import numpy as np

from edgekit.profile.grades import MEASURED
from edgekit.profile.stimulus import Array, Stimulus
from edgekit.runtime import Session

WARM_NS, TIMED_NS = 2 * 10**8, 10**9
MOST_SAMPLES = 100_000


@dataclass(frozen=True)
class Timing:
    """Microseconds of one step: percentiles over `samples` readings of the clock, of `steps_each` steps each."""

    name: str
    how: str
    samples: int
    steps_each: int
    p50: float
    p90: float
    p99: float
    grade: str = MEASURED


def time_steps(session: Session, stimulus: Stimulus) -> tuple[Timing, ...]:
    """Go round the stimulus step by step, and then in whole streams; the states go on, nothing is reset."""
    stored = session.codec is not None
    rows = [tuple(a[t] for a in stream) for stream in stimulus.streams for t in range(len(stream[0]))]
    single = _percentiles(lambda inputs: session.step(*inputs, stored=stored), cycle(rows))
    longest = max(stimulus.streams, key=lambda stream: len(stream[0]))
    steps = len(longest[0])
    many = _percentiles(lambda inputs: session.run(*inputs, stored=stored), cycle([longest])) / steps
    given = "stored integers" if stored else "raw values"
    return (
        _timing("one step a call", f"Session.step, {given}", single, 1),
        _timing("many steps a call", f"Session.run, {given}", many, steps),
    )


def _percentiles(call: Callable[[tuple[Array, ...]], object], inputs: Iterator[tuple[Array, ...]]) -> Array:
    """Nanoseconds of each call, after a warm-up."""
    warm = perf_counter_ns() + WARM_NS
    while perf_counter_ns() < warm:
        call(next(inputs))
    taken: list[int] = []
    end = perf_counter_ns() + TIMED_NS
    while len(taken) < MOST_SAMPLES:
        given = next(inputs)
        start = perf_counter_ns()
        call(given)
        stop = perf_counter_ns()
        taken.append(stop - start)
        if stop > end:
            break
    return np.asarray(taken, np.float64)


def _timing(name: str, how: str, nanoseconds: Array, steps_each: int) -> Timing:
    p50, p90, p99 = (float(np.percentile(nanoseconds, p)) / 1000 for p in (50, 90, 99))
    return Timing(name, how, len(nanoseconds), steps_each, p50, p90, p99)
