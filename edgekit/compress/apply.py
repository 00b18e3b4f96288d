"""A recipe applied to a float graph: units out, matrices split, weights pruned, and the bits that the rest gets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgekit.compress.calibrate import Calibration
from edgekit.compress.masks import Mask, pruned
from edgekit.compress.matching import fits, fitting
from edgekit.compress.matrices import Moments, filters, matrices, moments_of, power_of
from edgekit.compress.named import OPERANDS, STATES, roles
from edgekit.compress.recipes import RECIPES, Recipe
from edgekit.compress.rules import Compression, WeightRule, check_compression
from edgekit.compress.settings import Setting, setting
from edgekit.compress.split import Parts, factored, sliced
from edgekit.compress.stored import Array
from edgekit.compress.structure import without_units
from edgekit.errors import UsageError
from edgekit.ir import Graph

REMEDY = 'give calibration windows with --calib, or by = "magnitude"'

Came = dict[str, tuple[str, ...]]  # of each matrix that was made, the names of those that it was split off


@dataclass(frozen=True, eq=False)
class Compressed:
    """What became of a float graph: smaller, its pruned weights zero.

    `recipe` says how `quantise_program` is to hold it, None where the program computes with floats. `masks` tell of
    pruned matrices which weights stay, for training that keeps the others at zero; `dropped` which indices of which
    group of units went. `notes` are remarks in plain words.
    """

    graph: Graph
    recipe: Recipe | None
    masks: Mapping[str, Mask] = field(default_factory=dict)
    dropped: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def compressed(
    graph: Graph,
    compression: Compression,
    seen: Calibration | None = None,
    *,
    scores: Mapping[str, Array] | None = None,
) -> Compressed:
    """Apply the rules of a compression to the optimised float graph of a step.

    `graph` is that of `run_passes(imported.graph, (*OPTIMISE, *FOR_INTEGERS))`, or for floats `OPTIMISE` alone. `seen`
    is what calibration saw of it: which units and inputs count, and by what the weights that stay make good those that
    go. `scores` holds, by the name of a group of units, a number for each of them: the measure `taylor`. The result is
    quantised with a new calibration of its own graph. Rules for nested widths, and the tuning, are for those who
    convert and train. UsageError for a rule that is not possible, or that fits nothing (it lists the names).
    """
    check_compression(compression)
    smaller = without_units(graph, compression.units, seen, scores)
    moments = smaller.left(moments_of(seen))
    names = (*matrices(smaller.graph), *filters(smaller.graph))
    split, came = _split(smaller.graph, compression, moments)
    for rule in compression.weights:
        fitting(rule.match, dict.fromkeys((*names, *came)), "matrices")
    for name in filters(split):
        asked = setting(compression.weights, name)
        if asked.rank is not None:
            raise UsageError(f"rank of {name}", "is not possible: it is a convolution", "leave it out, or match others")
    settings = {n: setting(compression.weights, n, *came.get(n, ())) for n in (*matrices(split), *filters(split))}
    left, masks = _pruned(split, settings, moments)
    recipe = None
    if compression.precision in RECIPES:
        slices = frozenset(n for n, of in came.items() if setting(compression.weights, n, *of).group)
        parts = dict.fromkeys((n for n in came if n in settings), RECIPES[compression.precision].weight_bits)
        recipe = dataclasses.replace(_recipe(left, compression, settings, parts), alone=slices | _ternary(settings))
    return Compressed(left, recipe, masks, smaller.dropped, smaller.notes)


def _split(graph: Graph, compression: Compression, moments: Moments) -> tuple[Graph, Came]:
    """The graph with its matrices factored, then sliced, and what each new one came of."""
    came: Came = {}
    steps: tuple[tuple[str, Callable[[Graph, Mapping[str, int], Moments], tuple[Graph, Parts]]], ...] = (
        ("rank", factored),
        ("group", sliced),
    )
    for what, split in steps:
        if what == "group":
            _check_groups(graph, compression.weights, came)
        asked = {n: getattr(setting(compression.weights, n, *came.get(n, ())), what) for n in matrices(graph)}
        graph, parts = split(graph, {n: size for n, size in asked.items() if size is not None}, moments)
        came |= {new: (old, *came.get(old, ())) for old, made in parts.items() for new in made}
    return graph, came


def _check_groups(graph: Graph, rules: Sequence[WeightRule], came: Came) -> None:
    """UsageError for a rule that slices none of the matrices that it fits; one that keeps them whole after all may."""
    widths = {name: graph.tensors[name].shape[1] for name in matrices(graph)} | dict.fromkeys(filters(graph), 0)
    grouped: set[str] = set()
    for rule in rules:
        if rule.group is None:
            continue
        found = {n: w for n, w in widths.items() if any(fits(rule.match, name) for name in (n, *came.get(n, ())))}
        if found and not grouped & found.keys() and (most := max(found.values())) <= rule.group:
            cause = f"slices nothing: what match = {rule.match!r} fits has {most} inputs at most"
            raise UsageError(f"group = {rule.group}", cause, "take a smaller group, or leave it out")
        grouped |= found.keys()


def _pruned(graph: Graph, settings: Mapping[str, Setting], moments: Moments) -> tuple[Graph, dict[str, Mask]]:
    """The graph with zeros in matrices that have a density, and which of their weights stay."""
    masks: dict[str, Mask] = {}
    tensors, operands = dict(graph.tensors), matrices(graph)
    for name, asked in settings.items():
        if asked.density is None:
            continue
        seen = power_of(operands.get(name, ()), moments)
        if asked.by == "activity" and seen is None:
            raise UsageError(f"weights {name}", 'by = "activity" needs what calibration saw of its inputs', REMEDY)
        data = np.asarray(tensors[name].data)
        flat = data.reshape(len(data), -1)
        mask, left = pruned(flat, asked.density, asked.block, seen, by_loss=asked.by == "activity")
        masks[name] = mask.reshape(data.shape)
        tensors[name] = dataclasses.replace(tensors[name], data=left.reshape(data.shape).astype(np.float32))
    return graph.replace(tensors=tensors), masks


def _ternary(settings: Mapping[str, Setting]) -> frozenset[str]:
    """Matrices of -1, 0 and 1: any scale but their own loses most of them."""
    return frozenset(name for name, asked in settings.items() if asked.bits == 2)


def _recipe(
    graph: Graph, compression: Compression, settings: Mapping[str, Setting], parts: Mapping[str, int]
) -> Recipe:
    """The bits of the precision, and those that rules give to weights, states and operands.

    The `parts` of matrices have bits of their own, so that none counts as a small matrix, which gets 16.
    """
    found = RECIPES[compression.precision]
    found = found.widened(
        weights={**parts, **{n: s.bits for n, s in settings.items() if s.bits is not None}},
        levels={n: s.levels for n, s in settings.items() if s.levels is not None},
    )
    palettes = {n: 2**s.palette for n, s in settings.items() if s.palette is not None}
    found = dataclasses.replace(found, palettes=palettes).widened(weights=dict.fromkeys(palettes, 8))
    _weights, states, operands = roles(graph)
    for rule in compression.states:
        names = fitting(rule.match, [*states, *operands], "states and operands")
        for name in names:
            role, allowed = ("states", STATES) if name in states else ("operands", OPERANDS)
            if rule.bits not in allowed:
                can = ", ".join(map(str, allowed))
                raise UsageError(f"bits = {rule.bits} of {name}", f"is not possible: {role} are held in {can} bits")
            found = found.widened(**{role: {name: rule.bits}})
    return found
