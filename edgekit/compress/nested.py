"""Nested widths: one set of weights, of which the first units work by themselves (Kusupati et al., 2022)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.compress.block_ops import write_op
from edgekit.compress.blocks import Axes, Blocks, unshared
from edgekit.compress.calibrate import Calibration, Observation
from edgekit.compress.gone import Mask, closure
from edgekit.compress.matching import fitting
from edgekit.compress.rules import NestedRule
from edgekit.compress.shrink import Kept, Units, cut, kept_of, slab, units
from edgekit.errors import UsageError
from edgekit.ir import Graph, verify
from edgekit.ir.widths import FULL, width_entry

MOST_WIDTHS = 8


@dataclass(frozen=True)
class Nesting:
    """Which units of a graph each width has: `percents` ascending to 100, and of each group how many come first."""

    percents: tuple[int, ...]
    groups: tuple[tuple[Units, tuple[int, ...]], ...]

    def gone(self, graph: Graph, at: int) -> dict[str, Mask]:
        """What a graph does without at the width numbered `at`, by tensor: that of the model or one made of it.

        UsageError where nothing would be left of a value: of inputs that have a scale for each group of them, say.
        """
        first: dict[str, Mask] = {}
        for group, counts in self.groups:
            name, axis = _anchor(graph, group)
            shape = graph.tensors[name].shape
            mask = slab(shape, axis, range(counts[at], group.size))
            first[name] = first.get(name, np.zeros(shape, bool)) | mask
        try:
            return closure(graph, first)
        except UsageError as error:
            cause = f"cannot be nested: at {self.percents[at]} % of them {error.thing} {error.cause}"
            named = ", ".join(group.name for group, _ in self.groups)
            remedy = "nest others, or wider, or leave out [[weights]] with group"
            raise UsageError(f"units {named}", cause, remedy) from error

    def kept(self, graph: Graph, at: int) -> dict[str, Kept]:
        """The other way round: which indices of each axis stay, by tensor."""
        return {name: kept_of(name, mask) for name, mask in self.gone(graph, at).items()}

    def narrowed(self, graph: Graph, at: int) -> Graph:
        """The graph with the units of one width alone."""
        return cut(graph, self.gone(graph, at))


def nesting_of(graph: Graph, rules: Sequence[NestedRule]) -> Nesting:
    """The widths that rules ask for, over the groups of units of a float graph.

    UsageError for a rule that matches no group, for widths that differ between rules, are no whole per cents in
    (0, 1], or leave two widths with the same units.
    """
    percents = _percents(rules)
    known = units(graph)
    found: dict[Units, tuple[int, ...]] = {}
    for rule in rules:
        matched = fitting(rule.match, (u.name for u in known), "groups of units")
        for group in (u for u in known if u.name in matched):
            counts = tuple(max(1, int(p * group.size / FULL + 0.5)) for p in percents)
            if len(set(counts)) < len(counts):
                cause = f"are {group.size}: too few for widths of {', '.join(f'{p} %' for p in percents)}"
                raise UsageError(f"units {group.name}", cause, "fewer widths, or leave them whole")
            found[group] = counts
    return Nesting(percents, tuple(found.items()))


def nested(graph: Graph, nesting: Nesting) -> Graph:
    """The graph with an entry for each width beside `step`, all over the same constants and states in blocks.

    Rows, columns and states are split where a width ends: W = [W_11 W_12; W_21 W_22], and y_1 is W_11 x_1 at the first
    width, W_11 x_1 + W_12 x_2 at the second, in one accumulator. Where an integer other than 0 stands for 0, what units
    that a width lacks would add to its sums is made good. UsageError where units cannot be split.
    """
    apart = unshared(graph)
    axes = _axes(apart.graph, nesting)
    blocks = Blocks(apart, axes, nesting.percents)
    last = len(nesting.percents) - 1
    entries = [blocks.entry("step", last, write_op)]
    entries += [blocks.entry(width_entry(nesting.percents[at]), at, write_op) for at in reversed(range(last))]
    others = [entry for name, entry in graph.entries.items() if name != "step"]
    for entry in others:
        blocks.copy(entry)
    made = {e.name: e for e in (entries[0], *others, *entries[1:])}
    return verify(graph.replace(tensors=blocks.tensors, states=blocks.states(), entries=made))


def joined(seen: Calibration, graph: Graph, nesting: Nesting, others: Sequence[Calibration]) -> Calibration:
    """A calibration with room for what values do at the narrower widths too; `others` are those of `narrowed`."""
    values = dict(seen.values)
    for at, other in enumerate(others):
        kept = nesting.kept(graph, at)
        for name, narrow in other.values.items():
            where, wide = np.ix_(*kept[name]), values[name]
            lo, hi = wide.lo.copy(), wide.hi.copy()
            lo[where] = np.minimum(lo[where], narrow.lo)
            hi[where] = np.maximum(hi[where], narrow.hi)
            clip = max(wide.clip, narrow.clip)
            values[name] = Observation(lo, hi, clip, wide.whole and narrow.whole, max(wide.rms, narrow.rms))
    return dataclasses.replace(seen, values=values)


def _percents(rules: Sequence[NestedRule]) -> tuple[int, ...]:
    asked = {tuple(sorted({*rule.widths, 1.0})) for rule in rules}
    if len(asked) != 1:
        raise UsageError("[[nested]] rules", "name different widths", "an artifact has one list of widths for all")
    widths = asked.pop()
    percents = tuple(round(FULL * width) for width in widths)
    wrong = [w for w, p in zip(widths, percents, strict=True) if not 0 < w <= 1 or abs(FULL * w - p) > 1e-6 or p < 1]
    if len(percents) > MOST_WIDTHS:
        raise UsageError(f"{len(percents)} widths", f"are more than {MOST_WIDTHS}", "give fewer")
    if wrong:
        what = ", ".join(f"{w:g}" for w in wrong)
        raise UsageError(f"widths {what}", "are no shares of the units", "whole per cents, such as 0.25, 0.5, 1")
    if percents == (FULL,):
        raise UsageError("[[nested]] rules", "name the whole width alone", "give a narrower one too, such as 0.25")
    return percents


def _anchor(graph: Graph, group: Units) -> tuple[str, int]:
    """A value of the graph and the axis of it that has one index for each unit."""
    for name, axis in ((group.value, group.axis), *sorted(group.joint)):
        tensor = graph.tensors.get(name)
        if tensor is not None and not tensor.is_const and len(tensor.shape) > axis and tensor.shape[axis] == group.size:
            return name, axis
    raise UsageError(f"units {group.name}", "are in no value of the program", "leave them whole")


def _axes(graph: Graph, nesting: Nesting) -> dict[str, Axes]:
    """Of each axis of each tensor, the number of the width at which every index joins; None where all are in all."""
    found = {name: [np.zeros(n, int) for n in tensor.shape] for name, tensor in graph.tensors.items()}
    for at in range(len(nesting.percents) - 1):
        for name, kept in nesting.kept(graph, at).items():
            found[name] = [joins + ~keep for joins, keep in zip(found[name], kept, strict=True)]
    return {name: tuple(joins if joins.any() else None for joins in per_axis) for name, per_axis in found.items()}
