"""What can vary in a compression: groups of units, forms of matrices, bits of states, each with its options."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product

from edgekit.compress.matching import fitting
from edgekit.compress.matrices import matrices
from edgekit.compress.rules import Compression, StateRule, UnitRule, WeightRule
from edgekit.compress.shrink import Units, units
from edgekit.compress.terms import Sums
from edgekit.errors import UsageError
from edgekit.ir import SPIKE, Graph
from edgekit.ir.blocks import block_for
from edgekit.target import Target

Rule = UnitRule | WeightRule | StateRule

FEW = 8  # units of a group of which each is looked at by itself
SHARES = (7 / 8, 3 / 4, 5 / 8, 1 / 2, 3 / 8, 1 / 4)
MULTIPLE = 4  # units of larger groups are kept by so many, as kernels take them
MEASURES = ("activity", "magnitude")
LEAST_SHARE = 0.01  # of all weights: smaller matrices vary in bits alone
DENSITIES = (0.5, 0.25)
RANKS = (1 / 2, 1 / 4)  # of the largest rank that saves anything


@dataclass(frozen=True)
class Option:
    """One way to hold something: the rules that say so, none for the way of plain int8."""

    label: str
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Choice:
    """Something that can be held in several ways, the first of which is that of plain int8."""

    name: str
    options: tuple[Option, ...]

    def with_options(self, options: Sequence[Option]) -> Choice:
        """The same choice with other options."""
        return Choice(self.name, tuple(options))


Space = tuple[Choice, ...]
Point = Mapping[str, int]
"""Of each choice that is not held as in plain int8, the number of its option."""


def space_of(graph: Graph, target: Target, vary: Sequence[str] = ()) -> Space:
    """What can vary in compressions of an optimised float graph for a target: all, or what fits a pattern of `vary`.

    UsageError for a pattern that fits nothing; it lists the names.
    """
    space = (*_units(graph), *_matrices(graph, target), *_states(graph))
    names = [choice.name for choice in space]
    wanted = {name for pattern in vary for name in _fitting(pattern, names)}
    return tuple(choice for choice in space if not vary or choice.name in wanted)


def _fitting(pattern: str, names: Sequence[str]) -> list[str]:
    try:
        return fitting(pattern, names, "things that can vary")
    except UsageError as error:
        remedy = error.remedy if names else "leave it out"
        raise UsageError(f"--vary {pattern!r}", error.cause, remedy, error.items) from None


def compression_of(space: Space, point: Point) -> Compression:
    """The compression that a point of a space stands for."""
    rules = [rule for choice in space for rule in choice.options[point.get(choice.name, 0)].rules]
    return Compression(
        units=tuple(r for r in rules if isinstance(r, UnitRule)),
        weights=tuple(r for r in rules if isinstance(r, WeightRule)),
        states=tuple(r for r in rules if isinstance(r, StateRule)),
    )


def words(space: Space, point: Point) -> str:
    """A point in words: what differs from plain int8."""
    held = [f"{c.name} {c.options[point[c.name]].label}" for c in space if point.get(c.name, 0)]
    return ", ".join(held) or "plain int8"


def key_of(compression: Compression) -> str:
    """A text that is the same for equal compressions."""
    return json.dumps(asdict(compression), sort_keys=True, separators=(",", ":"))


def units_name(group: Units) -> str:
    """What the choice of a group of units is called."""
    return f"units {group.name}"


def one_by_one(choice: Choice, order: Sequence[int], group: Units) -> Choice:
    """The choice of a small group of units that go in this order, one more each time."""
    gone = [tuple(sorted(order[: count + 1])) for count in range(len(order))]
    return choice.with_options([choice.options[0], *(_without(group, indices) for indices in gone)])


def _units(graph: Graph) -> Iterator[Choice]:
    for group in units(graph):
        options = [Option(f"all {group.size}")]
        if group.size <= FEW:
            options += [_without(group, (at,)) for at in range(group.size)]
        else:
            kept = dict.fromkeys(max(1, round(s * group.size / MULTIPLE)) * MULTIPLE for s in SHARES)
            options += [
                Option(f"{count} by {by}", (UnitRule(group.name, keep=count / group.size, by=by),))
                for count in kept
                if count < group.size
                for by in MEASURES
            ]
        yield Choice(units_name(group), tuple(options))


def _without(group: Units, gone: tuple[int, ...]) -> Option:
    return Option(f"without {', '.join(map(str, gone))}", (UnitRule(group.name, drop=gone),))


def _matrices(graph: Graph, target: Target) -> Iterator[Choice]:
    operands, sums = matrices(graph), Sums(graph)
    sizes = {name: graph.tensors[name].shape for name in operands}
    total = sum(rows * columns for rows, columns in sizes.values())
    for name, (rows, columns) in sizes.items():
        rules = {f"int{bits}": WeightRule(name, bits=bits) for bits in (4, 16)}
        if rows * columns >= LEAST_SHARE * total:
            rules |= {"ternary": WeightRule(name, bits=2)}
            rules |= {f"palette of {2**bits}": WeightRule(name, palette=bits) for bits in (4, 3, 2)}
            skipped = block_for(target.simd, spikes=all(map(sums.is_spike, operands[name])))
            block = skipped.outputs, skipped.inputs
            for density, bits in product(DENSITIES, (8, 4)):
                label = f"{density:.0%} in blocks of {block[0]}x{block[1]}, int{bits}"
                rules[label] = WeightRule(name, bits=bits, density=density, block=block, by="activity")
            most = (rows * columns - 1) // (rows + columns)
            for rank in dict.fromkeys(int(share * most) // MULTIPLE * MULTIPLE for share in RANKS):
                if rank:
                    rules |= {f"rank {rank}, int{b}": WeightRule(name, bits=b, rank=rank) for b in (8, 4)}
        yield Choice(f"weights {name}", (Option("int8"), *(Option(label, (rule,)) for label, rule in rules.items())))


def _states(graph: Graph) -> Iterator[Choice]:
    learned = Sums(graph).learned
    for state in graph.states:
        name = state.tensor
        if graph.tensors[name].dtype is not SPIKE and state.reset == "reset" and name not in learned:
            options = (Option(f"int{bits}", (StateRule(name, bits),)) for bits in (8, 32))
            yield Choice(f"state {name}", (Option("int16"), *options))
