"""What each way of holding one thing costs and saves by itself, and which of those ways are worth a search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

from edgekit.compress.shrink import Units
from edgekit.search.limits import Failed, Limits, Outcome, Result
from edgekit.search.space import FEW, Choice, Option, Point, Space, one_by_one
from edgekit.search.ways import Cost, Costs

HOPELESS = 4.0  # points beyond the promise that one change may lose by itself, where searching it makes sense


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


def worth_it(seen: Sensitivity, limits: Limits, groups: Mapping[str, Units]) -> tuple[Space, list[Costs]]:
    """The choices with the options that no other one beats, from plain int8 to the smallest, and what each costs.

    The costs are those in size, and then in every other figure that is limited and that a change may save. An option is
    beaten by one that loses no more and takes no more of any of them; one that saves nothing stays where plain int8
    loses more than was promised, and it less. Units of small groups go one by one, those first that lose least.
    """
    sizes = _sizes(seen.plain, limits)
    space, costs = list[Choice](), [dict[str, list[Cost]]() for _ in sizes(seen.plain)]
    for choice in seen.space:
        options = list(zip(choice.options, seen.results[choice.name], strict=True))
        if choice.name in groups and groups[choice.name].size <= FEW:
            narrowed, held = _in_order(choice, [r for _, r in options[1:]], seen.plain, limits, groups[choice.name])
        else:
            narrowed, held = _unbeaten(choice, options, seen.plain, limits)
        if len(narrowed.options) > 1:
            space.append(narrowed)
            for each, of_choice in zip(costs, held, strict=True):
                each[choice.name] = of_choice
    return tuple(space), list(costs)


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


def _sizes(plain: Outcome, limits: Limits) -> Callable[[Outcome], tuple[float, ...]]:
    """What gives the size of an outcome, and its other figures that matter."""
    others = limits.figures(plain)
    return lambda outcome: (limits.size(outcome), *(getattr(outcome, name) or 0.0 for name in others))


def _in_order(
    choice: Choice, found: Sequence[Result], plain: Outcome, limits: Limits, group: Units
) -> tuple[Choice, list[list[Cost]]]:
    """Units of a small group that go one by one; those that cannot go alone, or lose too much, never do."""
    sizes = _sizes(plain, limits)
    known = {at: r for at, r in enumerate(found) if isinstance(r, Outcome) and not _hopeless(r, plain, limits)}
    lost = {at: max(0.0, r.drop - plain.drop) for at, r in known.items()}
    order = sorted(known, key=lambda at: (lost[at], at))[: group.size - 1]
    costs = [[Cost(0.0, size)] for size in sizes(plain)]
    for at in order:
        for held, whole, size in zip(costs, sizes(plain), sizes(known[at]), strict=True):
            held.append(Cost(held[-1].lost + lost[at], held[-1].size - (whole - size)))
    return one_by_one(choice, order, group), costs


def _unbeaten(
    choice: Choice, options: Sequence[tuple[Option, Result]], plain: Outcome, limits: Limits
) -> tuple[Choice, list[list[Cost]]]:
    sizes, is_short = _sizes(plain, limits), plain.drop > limits.drop
    known = sorted(
        (
            (sizes(r), r.drop, option)
            for option, r in options[1:]
            if isinstance(r, Outcome) and r.program != plain.program and not _hopeless(r, plain, limits)
        ),
        key=lambda each: (each[0][0], each[1], each[0][1:]),
    )
    kept: list[tuple[tuple[float, ...], float, Option]] = []
    for taken, drop, option in known:
        saves = any(size < whole for size, whole in zip(taken, sizes(plain), strict=True))
        beaten = any(least <= drop and _no_more(other, taken) for other, least, _ in kept)
        if (saves or (is_short and drop < plain.drop)) and not beaten:
            kept.append((taken, drop, option))
    kept.reverse()  # from plain int8 to the smallest
    least = -inf if is_short else 0.0
    costs = [
        [Cost(0.0, whole), *(Cost(max(least, drop - plain.drop), taken[at]) for taken, drop, _ in kept)]
        for at, whole in enumerate(sizes(plain))
    ]
    return choice.with_options([options[0][0], *(option for *_, option in kept)]), costs


def _no_more(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True))


def _hopeless(result: Outcome, plain: Outcome, limits: Limits) -> bool:
    return result.drop > max(limits.drop, plain.drop) + HOPELESS
