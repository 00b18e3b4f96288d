"""Points that no other one beats, the one that is chosen, and what stands in the way where none can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.compress.rules import Compression
from edgekit.search.limits import ASKED, Limits, Outcome, points
from edgekit.search.space import Point

REACH = 8.0  # points beyond the promise that training may make good


@dataclass(frozen=True)
class Trial:
    """A point that was tried, as a compression and in words, and what it came to."""

    point: Point
    compression: Compression
    words: str
    outcome: Outcome


def frontier(trials: Sequence[Trial]) -> list[Trial]:
    """The trials that no other one beats in flash, weights, RAM, instructions and drop together, smallest first.

    Of equal ones the first stays.
    """
    kept: list[Trial] = []
    for trial in sorted(trials, key=lambda t: _figures(t.outcome)):
        if not any(_beats(other.outcome, trial.outcome) for other in kept):
            kept.append(trial)
    return kept


def chosen(trials: Sequence[Trial], limits: Limits, margin: float) -> Trial | None:
    """The smallest trial that keeps the promise with `margin` standard errors of its drop to spare.

    Where none has so much to spare: of those that keep it just so, the one with most. None where no trial keeps it.
    """
    sure = [t for t in trials if limits.kept(t.outcome, margin)]
    if sure:
        return min(sure, key=lambda t: (limits.size(t.outcome), t.outcome.drop))
    just = [t for t in trials if limits.kept(t.outcome)]
    return min(just, key=lambda t: (t.outcome.drop + margin * t.outcome.error, limits.size(t.outcome)), default=None)


def promising(trials: Sequence[Trial], limits: Limits, kept: Sequence[Trial], count: int) -> list[Trial]:
    """Trials that training may bring within the promise, evenly by size: those that are smaller than what was `kept`.

    They lose least for their size, keep the other limits, and lose no more than REACH points too many.
    """
    smallest = min((limits.size(t.outcome) for t in kept), default=None)
    best: list[Trial] = []
    for trial in sorted(trials, key=lambda t: (limits.size(t.outcome), t.outcome.drop)):
        shares = limits.shares(trial.outcome)
        within = shares.pop("drop") <= REACH and all(by <= 0 for by in shares.values())
        smaller = smallest is None or limits.size(trial.outcome) < smallest
        if within and smaller and (not best or trial.outcome.drop < best[-1].outcome.drop):
            best.append(trial)
    if len(best) <= count:
        return best
    return [best[round(at * (len(best) - 1) / (count - 1))] for at in range(count)]


def closest(trials: Sequence[Trial], limits: Limits, count: int = 3) -> list[Trial]:
    """The trials that miss the promise by least, of points and of shares of the other limits, and differ."""

    def missed(trial: Trial) -> float:
        return sum(max(0.0, by) for by in limits.shares(trial.outcome).values())

    return sorted(frontier(trials), key=lambda t: (missed(t), limits.size(t.outcome)))[:count]


def limiting(trials: Sequence[Trial], limits: Limits) -> list[str]:
    """What limits where no trial keeps the promise, in words."""
    found = []
    accurate = [t.outcome for t in trials if t.outcome.drop <= limits.drop]
    if not accurate:
        least = min((t.outcome for t in trials), key=lambda o: o.drop)
        return [f"drop: the least that was found is {least.drop:.2f} points, {least.drop - limits.drop:.2f} too many"]
    for name in ASKED:
        limit = limits.most(name)
        if limit is None:
            continue
        known = [getattr(o, name) for o in accurate if getattr(o, name) is not None]
        if known and min(known) > limit:
            unit = "" if name == "instructions" else " bytes"
            found.append(
                f"{name}: the least that loses no more than {points(limits.drop)} is {min(known):,.0f}{unit}, "
                f"{min(known) - limit:,.0f} too many"
            )
    return found or ["the limits together: each is kept by some point within the drop, all of them by none"]


def _figures(o: Outcome) -> tuple[float, ...]:
    return (o.flash, o.weights, o.drop, o.instructions or 0.0, o.ram)


def _beats(a: Outcome, b: Outcome) -> bool:
    return all(x <= y for x, y in zip(_figures(a), _figures(b), strict=True))
