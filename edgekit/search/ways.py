"""The ways from plain int8 to the smallest program, and to the one that loses least, by what single changes cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, zip_longest
from math import inf

from edgekit.search.space import Point, Space

MOST_STEPS = 48  # of the way from plain int8 to the smallest


@dataclass(frozen=True)
class Cost:
    """What an option of a choice loses against plain int8, and its size: of one figure that is to be small.

    A loss below 0 is a gain: it is told apart where plain int8 itself loses more than was promised, else it is 0.
    """

    lost: float
    size: float


Costs = Mapping[str, Sequence[Cost]]
"""Of the options of each choice."""


def ways(space: Space, costs: Sequence[Costs], most: int | None = None) -> list[Point]:
    """The points to begin with, `most` of them: plain int8, and by turns those on the way down in each figure.

    Where some options gain on plain int8, one way leads up to all that do. Of more points than `most` those stay that
    lie evenly on their way.
    """
    found = [way_down(space, each) for each in costs]
    if any(cost.lost < 0 for held in costs[0].values() for cost in held):
        found.insert(0, way_up(space, costs[0]))
    turns = zip_longest(*(_evenly(way, most) for way in found))
    points: list[Point] = []
    for point in chain.from_iterable(turns):
        if point is not None and point not in points:
            points.append(point)
    return points[:most]


def way_down(space: Space, costs: Costs) -> list[Point]:
    """Points from plain int8 to the smallest, each with one more change: what saves most for its loss comes first.

    Losses are taken to add up. Of each choice only steps of the lower convex hull of its costs are made, so that every
    step follows from the one before.
    """
    steps = []
    for choice in space:
        hull = _hull(costs[choice.name])
        for before, after in pairwise(hull):
            a, b = costs[choice.name][before], costs[choice.name][after]
            steps.append((max(0.0, b.lost - a.lost) / (a.size - b.size), -(a.size - b.size), choice.name, after))
    return _one_by_one((name, at) for *_, name, at in sorted(steps)[:MOST_STEPS])


def way_up(space: Space, costs: Costs) -> list[Point]:
    """Points from plain int8 to the one that loses least, each with one more change: what gains most comes first."""
    best = []
    for choice in space:
        gain, at = min((cost.lost, at) for at, cost in enumerate(costs[choice.name]))
        best += [(gain, choice.name, at)] if gain < 0 else []
    return _one_by_one((name, at) for _, name, at in sorted(best)[:MOST_STEPS])


def _one_by_one(steps: Iterable[tuple[str, int]]) -> list[Point]:
    """Plain int8, then the same with one step after the other."""
    point: dict[str, int] = {}
    points: list[Point] = [{}]
    for name, at in steps:
        point[name] = at
        points.append(dict(point))
    return points


def _evenly(way: Sequence[Point], most: int | None) -> Sequence[Point]:
    """So many points of a way at most, its ends among them."""
    if most is None or len(way) <= most:
        return way
    return [way[round(at * (len(way) - 1) / max(1, most - 1))] for at in range(most)]


def _hull(costs: Sequence[Cost]) -> list[int]:
    """The options on the lower convex hull of loss over what is saved, from plain int8 on."""
    hull = [0]
    for at in sorted(range(1, len(costs)), key=lambda at: -costs[at].size):
        while len(hull) > 1 and _slope(costs, hull[-2], hull[-1]) >= _slope(costs, hull[-1], at):
            hull.pop()
        if costs[at].size < costs[hull[-1]].size:
            hull.append(at)
    return hull


def _slope(costs: Sequence[Cost], a: int, b: int) -> float:
    saved = costs[a].size - costs[b].size
    return inf if saved <= 0 else max(0.0, costs[b].lost - costs[a].lost) / saved
