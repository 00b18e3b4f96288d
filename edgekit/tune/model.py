"""A model under a recipe: compressed, trained to bear it, and ready to be converted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit.artifact import check_io, check_meta
from edgekit.compress.apply import Compressed, compressed
from edgekit.compress.calibrate import Calibration, calibrate
from edgekit.compress.matching import fits
from edgekit.compress.nested import nesting_of
from edgekit.compress.order import by_saliency
from edgekit.compress.recipes import Recipe
from edgekit.compress.rules import HOLDS, Compression, WeightRule
from edgekit.compress.saliency import by_activity
from edgekit.compress.shrink import units
from edgekit.errors import UsageError
from edgekit.frontends.graph_original import GraphOriginal
from edgekit.ir import Graph
from edgekit.passes.pipelines import FOR_INTEGERS, OPTIMISE, run_passes
from edgekit.tune.compressing import Masks, Rounding, Thin
from edgekit.tune.distil import GraphTeacher, Teacher
from edgekit.tune.fitting import Fitted, Hooks
from edgekit.tune.taylor import taylor_scores
from edgekit.tune.training import fit
from edgekit.tune.windows import Array, Data, Step, Windows

if TYPE_CHECKING:
    from edgekit.frontends import Imported

CALIBRATION = 512  # windows that scales are read off


@dataclass(frozen=True, eq=False)
class Run:
    """How a training is run: who teaches (None: the model as it was), hooks, and where it can be interrupted."""

    teacher: Teacher | None = None
    hooks: Hooks = dataclasses.field(default_factory=Hooks)
    checkpoint: Path | None = None
    resume: bool = False


@dataclass(frozen=True, eq=False)
class Tuned:
    """A model that was compressed and tuned: `imported` holds its graph, `recipe` how a conversion is to round it.

    `calibration` are the windows, in raw units, that its scales come from; `compressed` is what the rules made of it,
    `fitted` what training made of that, None where nothing was trained.
    """

    imported: Imported
    recipe: Recipe
    calibration: Array
    compressed: Compressed
    fitted: Fitted | None


def step_of(imported: Imported) -> Step:
    """The optimised float step of an imported model; ModelError for an io section that does not fit it."""
    meta = check_meta(imported.io or {})
    check_io(imported.graph, meta)
    return Step(run_passes(imported.graph, (*OPTIMISE, *FOR_INTEGERS)), meta)


def few(windows: Array) -> Array:
    """Every k-th window, so that there are 512 at most."""
    return windows[:: -(-len(windows) // CALIBRATION)]


def tune(imported: Imported, compression: Compression, data: Data, run: Run | None = None) -> Tuned:
    """Apply a recipe to a model and train what is left of it by the recipe's section `tuning`.

    UsageError for a recipe that does not fit the model, for a teacher that nothing is learned from, and as `fit`
    raises; DataError for windows that do not.
    """
    run, step = run or Run(), step_of(imported)
    if run.teacher is not None and not (compression.tuning.soft or compression.tuning.traces):
        raise UsageError("teacher", "teaches nothing: soft and traces are 0", "leave it out, or set soft above 0")
    step.check("training windows", data.train)
    calibration = few(data.train.x)
    seen = calibrate(step.graph, step.inputs(calibration), normalisation=step.normalisation)
    if compression.nested:
        step = in_order(step, compression, seen)
        seen = calibrate(step.graph, step.inputs(calibration), normalisation=step.normalisation)
    scores = scores_of(step, compression, data.train)
    smaller = compressed(step.graph, compression, seen, scores=scores)
    if smaller.recipe is None:
        raise UsageError(f"precision {compression.precision}", "has no integers to train for", "int8, int8s8 or int4")
    graph, masks, gradual = smaller.graph, smaller.masks, compression.tuning.schedule == "gradual"
    if gradual and compression.tuning.epochs:  # begins with all weights, as the other rules leave them
        graph, masks = compressed(step.graph, dense(compression), seen, scores=scores).graph, {}
    rounding = by_channel(Rounding(Step(graph, step.meta), smaller.recipe, step.inputs(calibration), masks))
    recipe, fitted = rounding.recipe, None
    if compression.tuning.epochs:
        nesting = nesting_of(graph, compression.nested) if compression.nested else None
        thin = thinning(compression, smaller.masks, rounding) if gradual else None
        hooks = dataclasses.replace(run.hooks, thin=thin, nesting=nesting)
        fitted = fit(
            rounding,
            data,
            compression.tuning,
            teacher=run.teacher or GraphTeacher(step),
            hooks=hooks,
            checkpoint=run.checkpoint,
            resume=run.resume,
        )
        graph, recipe = fitted.graph, fitted.recipe
    tuned = dataclasses.replace(imported, graph=graph, original=GraphOriginal(imported.original.thing, graph))
    return Tuned(tuned, recipe, calibration, smaller, fitted)


def in_order(step: Step, compression: Compression, seen: Calibration) -> Step:
    """The step with its nested units in falling order of what they hand on: narrow widths have the first of them.

    UsageError for rules that take units out by their numbers, which are other ones then.
    """
    if any(rule.drop for rule in compression.units):
        raise UsageError("drop", "names units by numbers, and nested widths put them in another order", "use keep")
    groups = [group for group, _ in nesting_of(step.graph, compression.nested).groups]
    scores = {group: by_activity(step.graph, group, seen).scores for group in groups}
    return Step(by_saliency(step.graph, scores), step.meta)


def scores_of(step: Step, compression: Compression, windows: Windows) -> dict[str, Array] | None:
    """What rules `by = "taylor"` go by, measured on labelled windows; None without such rules."""
    wanted = [rule.match for rule in compression.units if rule.by == "taylor" and rule.keep is not None]
    groups = [group for group in units(step.graph) if any(fits(match, group.name) for match in wanted)]
    return dict(taylor_scores(step, groups, windows)) if groups else None


def dense(compression: Compression) -> Compression:
    """The recipe without what it says of densities: what a gradual schedule begins with."""
    rules = (dataclasses.replace(r, density=None, block=(1, 1), by="magnitude") for r in compression.weights)
    said = tuple(rule for rule in rules if any(getattr(rule, key) is not None for key in HOLDS))
    return dataclasses.replace(compression, weights=said)


def by_channel(rounding: Rounding) -> Rounding:
    """With one scale for each channel of a window laid out flat: a program then stores a few, not one per element.

    Where the input has but 8 bits, each element needs its own.
    """
    step, recipe = rounding.step, rounding.recipe
    (name,) = step.graph.entries["step"].inputs
    channels = len((step.meta.get("input") or {}).get("scale") or ())
    held = rounding.program(step.graph).held[name]
    scale = np.asarray(held.scale)
    if not channels or held.dtype.bits < 16 or scale.ndim != 1 or scale.size <= channels:
        return rounding
    widest = np.tile(scale.reshape(-1, channels).max(axis=0), scale.size // channels)
    return dataclasses.replace(rounding, recipe=dataclasses.replace(recipe, scales={**recipe.scales, name: widest}))


def thinning(compression: Compression, masks: Masks, rounding: Rounding) -> Thin | None:
    """How a gradual schedule chooses the weights that stay: by the rules for density, of the weights of the moment.

    `masks` are those of the densities that are asked for; None where there are none.
    """
    asked = [_density(compression.weights, name) for name in masks]
    if not asked:
        return None

    def thin(graph: Graph, share: float) -> Masks:
        rules = tuple(dataclasses.replace(rule, density=1 - (1 - (rule.density or 1)) * share) for rule in asked)
        seen = calibrate(graph, rounding.calibration, normalisation=rounding.step.normalisation)
        return compressed(graph, Compression(compression.precision, weights=rules), seen).masks

    return thin


def _density(rules: Sequence[WeightRule], name: str) -> WeightRule:
    """The rule for the density of a matrix, by its own name."""
    found = [rule for rule in rules if rule.density is not None and fits(rule.match, name)]
    if not found:
        raise UsageError("schedule gradual", f"{name} is part of a matrix that was split", "use one-shot with it")
    return WeightRule(name, density=found[-1].density, block=found[-1].block, by=found[-1].by)
