"""One line of the comparison: a subject on a model, how exact it is, its times, and how many times as long as ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.bench.accuracy import Accuracy
from edgekit.bench.timing import Spread

Rounds = npt.NDArray[np.float64]  # µs per step, one for each round
OWN = "edgekit"


@dataclass(frozen=True)
class Timing:
    """µs of a step with `threads` threads, and `times` as long as edgekit's program `against` in the same round: the
    fastest of those at least as exact, which always has one thread. None where none is as exact.
    """

    threads: int
    step_us: Spread
    times: Spread | None = None
    against: str = ""
    grade: str = "measured"


@dataclass(frozen=True)
class Row:
    """A subject of `peer`, or of edgekit. A `rival` is one that the goals are held against. With a `fault` it computes
    something else, or nothing, and has no times that count.
    """

    subject: str
    peer: str
    detail: str
    accuracy: Accuracy | None
    timings: tuple[Timing, ...] = ()
    rival: bool = False
    note: str = ""
    fault: str = ""

    def timing(self, threads: int) -> Timing | None:
        """The time with so many threads."""
        return next((t for t in self.timings if t.threads == threads), None)


def timed(rows: Sequence[Row], threads: int, micros: Mapping[str, Rounds], own: Iterable[str]) -> Iterator[Row]:
    """The rows with their times of one pass, each held against the fastest of `own` that is at least as exact."""
    ours = {row.subject: row.accuracy for row in rows if row.subject in own and row.accuracy and not row.fault}
    for row in rows:
        us = micros.get(row.subject)
        if us is None or np.isnan(us).any():
            yield row
            continue
        exact = row.accuracy
        fit = [] if exact is None else [name for name, ours_is in ours.items() if ours_is.not_worse_than(exact)]
        against = min(fit, key=lambda name: Spread.of(micros[name]).median, default="")
        times = Spread.of(us / micros[against]) if against else None
        found = Timing(threads, Spread.of(us), times, against)
        yield Row(**{**vars(row), "timings": (*row.timings, found)})


@dataclass(frozen=True)
class Match:
    """A rival with the number of threads that suits it, and how many times as long it takes as ours, `against`, which
    is no less exact.
    """

    subject: str
    threads: int
    step_us: Spread
    times: Spread
    against: str


def fastest(rows: Iterable[Row]) -> Match | None:
    """The rival that takes the least time."""
    return min(_matches(rows), key=lambda match: match.step_us.median, default=None)


def nearest(rows: Iterable[Row]) -> Match | None:
    """The rival that comes nearest to ours of its own accuracy, or passes it most."""
    return min(_matches(rows), key=lambda match: match.times.median, default=None)


def _matches(rows: Iterable[Row]) -> Iterator[Match]:
    for row in rows:
        if row.rival and not row.fault:
            for t in row.timings:
                if t.times is not None:
                    yield Match(row.subject, t.threads, t.step_us, t.times, t.against)
