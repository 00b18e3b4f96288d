"""Rules for units: which of each group go, and what is constant in them stays as a bias."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgekit.compress.calibrate import Calibration
from edgekit.compress.gone import Mask, closure
from edgekit.compress.masks import WIDEST, refitted
from edgekit.compress.matching import fitting
from edgekit.compress.matrices import matrices, power_of
from edgekit.compress.rules import UnitRule
from edgekit.compress.saliency import Saliency, by_activity, by_magnitude, handed_on
from edgekit.compress.shrink import Units, slab, units, without
from edgekit.compress.stored import Array
from edgekit.compress.terms import Sums
from edgekit.errors import UsageError
from edgekit.ir import Graph, Op
from edgekit.passes.rewrite import Rewriter, rewrite


@dataclass(frozen=True, eq=False)
class Smaller:
    """A graph without some of its units: which indices of which group went, and remarks.

    `gone` are the elements of its values that went, in the shapes that they had.
    """

    graph: Graph
    dropped: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    gone: Mapping[str, Mask] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def left(self, moments: Mapping[str, Array]) -> dict[str, Array]:
        """Second moments without the elements that went."""
        stays = {n: ~self.gone[n].reshape(-1, len(m)).all(axis=0) for n, m in moments.items() if n in self.gone}
        return {n: m[np.ix_(stays[n], stays[n])] if n in stays else m for n, m in moments.items()}


def without_units(
    graph: Graph,
    rules: Sequence[UnitRule],
    seen: Calibration | None = None,
    scores: Mapping[str, Array] | None = None,
) -> Smaller:
    """Take out what rules say; `scores` are those of measure `taylor`, a number for each unit by the group's name.

    UsageError for a rule that fits no group, that needs a calibration or scores that there are not, or that names
    units that cannot go.
    """
    if not rules:
        return Smaller(graph)
    groups = {group.name: group for group in units(graph)}
    decided: dict[str, UnitRule] = {}
    for rule in rules:
        decided.update(dict.fromkeys(fitting(rule.match, groups, "groups of units"), rule))
    out: dict[Units, tuple[int, ...]] = {}
    notes: list[str] = []
    for name, rule in decided.items():
        indices, idle = _indices(graph, groups[name], rule, seen, scores)
        if indices:
            out[groups[name]] = indices
            quiet = f", {len(idle)} of which never change" * bool(idle)
            notes.append(f"{name}: {len(indices)} of {groups[name].size} units taken out{quiet}")
    if not out:
        return Smaller(graph)
    gone = _together(graph, out)
    kept, more = (graph, []) if seen is None else made_good(graph, gone, seen)
    dropped = {group.name: indices for group, indices in out.items()}
    return Smaller(without(kept, out), dropped, gone, (*notes, *more))


def _indices(
    graph: Graph, group: Units, rule: UnitRule, seen: Calibration | None, scores: Mapping[str, Array] | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The units of a group that go, and those of them that are idle."""
    if rule.drop:
        if max(rule.drop) >= group.size:
            known = f"has units 0 to {group.size - 1}"
            raise UsageError(f"drop = {list(rule.drop)}", f"{group.name} {known}", "give others")
        return tuple(sorted(set(rule.drop))), ()
    found = _saliency(graph, group, rule.by, seen, scores)
    stay = max(1, int(np.floor((rule.keep or 0.0) * group.size + 0.5)))
    least_first = [int(at) for at in np.argsort(found.scores, kind="stable")]
    gone = {*least_first[: group.size - stay], *found.idle}
    if len(gone) == group.size:
        gone.discard(least_first[-1])
    return tuple(sorted(gone)), tuple(at for at in found.idle if at in gone)


def _saliency(
    graph: Graph, group: Units, by: str, seen: Calibration | None, scores: Mapping[str, Array] | None
) -> Saliency:
    if by == "magnitude":
        return by_magnitude(graph, group)
    if by == "activity":
        if seen is None:
            raise UsageError(f"units {group.name}", 'by = "activity" needs calibration windows', "give --calib")
        return by_activity(graph, group, seen)
    if scores is None or group.name not in scores:
        remedy = 'use edgekit compress, or by = "magnitude" or "activity"'
        raise UsageError(f"units {group.name}", f'by = "{by}" needs gradients of a training run', remedy)
    return Saliency(np.asarray(scores[group.name], np.float64))


def _together(graph: Graph, out: Mapping[Units, Sequence[int]]) -> Mapping[str, Mask]:
    first: dict[str, Mask] = {}
    for group, indices in out.items():
        shape = graph.tensors[group.value].shape
        first[group.value] = first.get(group.value, np.zeros(shape, bool)) | slab(shape, group.axis, indices)
    return closure(graph, first)


def made_good(graph: Graph, gone: Mapping[str, Mask], seen: Calibration) -> tuple[Graph, list[str]]:
    """The graph whose biases and matrices make good what is about to go, as far as calibration tells; and remarks."""
    fitted, shares = dict(graph.tensors), dict[str, Array]()
    for name, operands in matrices(graph).items():
        moments, width = power_of(operands, seen.moments), graph.tensors[name].shape[1]
        columns = np.asarray(gone[name].all(axis=0))
        if moments is None or width > WIDEST or not columns.any() or columns.all():
            continue
        changes = np.logical_or.reduce([seen.variance(x) > 0 for x in operands])
        w = np.asarray(graph.tensors[name].data, np.float64)
        left = refitted(np.where(changes, w, 0.0), np.broadcast_to(~columns, w.shape), moments)
        data = np.where(columns | ~changes, w, left).astype(np.float32)
        fitted[name] = dataclasses.replace(fitted[name], data=data)
        shares[name] = np.where(columns | changes, 0.0, left)
    return with_constants(graph.replace(tensors=fitted), gone, seen, shares)


def with_constants(
    graph: Graph, gone: Mapping[str, Mask], seen: Calibration, shares: Mapping[str, Array]
) -> tuple[Graph, list[str]]:
    """The graph whose biases hold what operands that go and never change add: y = W x + c + W[:, i] x_i.

    They also hold what a fit gives those that never change and stay: `shares` [out, in] of a matrix, by its name. In
    the matrix it would widen the scale of all weights. A note says where a constant other than zero is lost, because
    something else than a linear takes it.
    """
    sums, offsets, notes = Sums(graph), dict[str, Array](), list[str]()
    for op in sums.step.ops:
        share = shares.get(op.inputs[1]) if op.kind == "linear" else None
        if share is not None and share.any():
            offsets[op.outputs[0]] = seen.means[sums.uncast(op.inputs[0])] @ share.T
        for x, w, columns, _rows in handed_on(sums, gone, (op,)):
            still = np.where(seen.variances[x] > 0, 0.0, seen.means[x]) * columns
            if not still.any():
                continue
            if op.kind == "linear":
                offsets[op.outputs[0]] = offsets.get(op.outputs[0], 0.0) + still @ w.T
            else:
                notes.append(f"{x}: a constant that {op.kind} takes goes with its units")

    def rule(rewriter: Rewriter, op: Op) -> tuple[str, ...] | None:
        if op.outputs[0] not in offsets:
            return None
        offset, (x, w, *addend) = offsets[op.outputs[0]], op.inputs
        data = rewriter.data(addend[0]) if addend else np.zeros(())
        if data is not None:
            third = rewriter.const(f"{w}.bias", data + offset)
        else:
            third = rewriter.emit("add", addend[0], rewriter.const(f"{w}.bias", offset))
        rewriter.emit("linear", x, w, third, out=op.outputs[0])
        return op.outputs

    return (rewrite(graph, rule) if offsets else graph), notes
