"""What each way of holding one thing costs and saves by itself, and which of those ways are worth a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from edgekit.compress.shrink import Units
from edgekit.search.limits import Failed, Limits, Outcome, Result
from edgekit.search.space import FEW, Choice, Option, Point, Space, one_by_one

HOPELESS = 4.0  # points beyond the promise that one change may lose by itself, where searching it makes sense
MOST_STEPS = 48  # of the way from plain int8 to the smallest


@dataclass(frozen=True)
class Row:
    """One thing held in one other way: points lost and bytes saved against plain int8; None where it gives no program.

    `error` is the standard error of the loss of both against the original.
    """

    name: str
    option: str
    lost: float | None
    error: float | None
    flash: int | None
    weights: int | None
    ram: int | None
    instructions: float | None
    failed: str = ""


@dataclass(frozen=True)
class Sensitivity:
    """Plain int8, and each single change from it. `results` are those of the options of each choice, in order."""

    plain: Outcome
    space: Space
    results: Mapping[str, Sequence[Result]]

    @property
    def rows(self) -> list[Row]:
        """The table, option by option."""
        return [
            _row(self.plain, choice.name, option, result)
            for choice in self.space
            for option, result in zip(choice.options[1:], self.results[choice.name][1:], strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"plain": asdict(self.plain), "changes": [asdict(row) for row in self.rows]}


def singles(space: Space) -> list[Point]:
    """The points that differ from plain int8 in one thing."""
    return [{choice.name: at} for choice in space for at in range(1, len(choice.options))]


def sensitivity_of(space: Space, plain: Outcome, found: Sequence[Result]) -> Sensitivity:
    """The table of what the points of `singles` came to."""
    left = iter(found)
    results = {choice.name: [plain, *(next(left) for _ in choice.options[1:])] for choice in space}
    return Sensitivity(plain, space, results)


@dataclass(frozen=True)
class Cost:
    """What an option of a choice loses and saves against plain int8."""

    lost: float
    size: int


def worth_it(seen: Sensitivity, limits: Limits, groups: Mapping[str, Units]) -> tuple[Space, dict[str, list[Cost]]]:
    """The choices with the options that no other one beats, from plain int8 to the smallest, and what each costs.

    An option is beaten by one that loses no more and takes no more. Units of small groups go one by one, those first
    that lose least for what they save.
    """
    space, costs = list[Choice](), dict[str, list[Cost]]()
    for choice in seen.space:
        options = list(zip(choice.options, seen.results[choice.name], strict=True))
        if choice.name in groups and groups[choice.name].size <= FEW:
            narrowed, held = _in_order(choice, [r for _, r in options[1:]], seen.plain, limits, groups[choice.name])
        else:
            narrowed, held = _unbeaten(choice, options, seen.plain, limits)
        if len(narrowed.options) > 1:
            space.append(narrowed)
            costs[choice.name] = held
    return tuple(space), costs


def way_down(space: Space, costs: Mapping[str, Sequence[Cost]]) -> list[Point]:
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
    point: dict[str, int] = {}
    points: list[Point] = [{}]
    for _, _, name, at in sorted(steps)[:MOST_STEPS]:
        point[name] = at
        points.append(dict(point))
    return points


def _row(plain: Outcome, name: str, option: Option, result: Result) -> Row:
    if isinstance(result, Failed):
        return Row(name, option.label, None, None, None, None, None, None, result.reason)
    both = result.instructions is not None and plain.instructions is not None
    return Row(
        name,
        option.label,
        result.drop - plain.drop,
        result.error,
        plain.flash - result.flash,
        plain.weights - result.weights,
        plain.ram - result.ram,
        (plain.instructions or 0) - (result.instructions or 0) if both else None,
    )


def _in_order(
    choice: Choice, found: Sequence[Result], plain: Outcome, limits: Limits, group: Units
) -> tuple[Choice, list[Cost]]:
    """Units of a small group that go one by one; those that cannot go alone, or lose too much, never do."""
    known = {at: r for at, r in enumerate(found) if isinstance(r, Outcome) and not _hopeless(r, plain, limits)}
    lost = {at: max(0.0, r.drop - plain.drop) for at, r in known.items()}
    order = sorted(known, key=lambda at: (lost[at], at))[: group.size - 1]
    costs = [Cost(0.0, limits.size(plain))]
    for at in order:
        saved = limits.size(plain) - limits.size(known[at])
        costs.append(Cost(costs[-1].lost + lost[at], costs[-1].size - saved))
    narrowed = one_by_one(choice, order, group)
    return narrowed, costs


def _unbeaten(
    choice: Choice, options: Sequence[tuple[Option, Result]], plain: Outcome, limits: Limits
) -> tuple[Choice, list[Cost]]:
    known = [
        (option, Cost(max(0.0, r.drop - plain.drop), limits.size(r)), r.drop)
        for option, r in options[1:]
        if isinstance(r, Outcome) and r.program != plain.program and not _hopeless(r, plain, limits)
    ]
    kept, costs, least = [options[0][0]], [Cost(0.0, limits.size(plain))], float("inf")
    for option, cost, drop in sorted(known, key=lambda each: (each[1].size, each[2])):
        if cost.size < limits.size(plain) and drop < least:
            least = drop
            kept.insert(1, option)
            costs.insert(1, cost)
    return choice.with_options(kept), costs


def _hopeless(result: Outcome, plain: Outcome, limits: Limits) -> bool:
    return result.drop > max(limits.drop, plain.drop) + HOPELESS


def _hull(costs: Sequence[Cost]) -> list[int]:
    """The options on the lower convex hull of loss over bytes saved, from plain int8 on."""
    hull = [0]
    for at in range(1, len(costs)):
        while len(hull) > 1 and _slope(costs, hull[-2], hull[-1]) >= _slope(costs, hull[-1], at):
            hull.pop()
        if costs[at].size < costs[hull[-1]].size:
            hull.append(at)
    return hull


def _slope(costs: Sequence[Cost], a: int, b: int) -> float:
    saved = costs[a].size - costs[b].size
    return float("inf") if saved <= 0 else max(0.0, costs[b].lost - costs[a].lost) / saved
