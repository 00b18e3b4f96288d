"""A compression of a problem as an integer program: the same one for a trial and for the artifact."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.compress.apply import compressed
from edgekit.compress.calibrate import calibrate
from edgekit.compress.integer import quantise_program
from edgekit.compress.recipes import Recipe
from edgekit.compress.rules import Compression, looks
from edgekit.convert.inputs import normalisation_of
from edgekit.convert.options import Options
from edgekit.convert.pipeline import Conversion, convert_imported
from edgekit.errors import DataError
from edgekit.ir import Graph
from edgekit.passes.pipelines import FOR_INTEGERS, OPTIMISE, run_passes
from edgekit.search.problem import Problem

if TYPE_CHECKING:
    from edgekit.tune.model import Tuned


@dataclass(frozen=True, eq=False)
class Held:
    """A float step as a compression leaves it, and how its integers are held."""

    graph: Graph
    recipe: Recipe


def held_of(problem: Problem, compression: Compression) -> Held:
    """What a compression makes of the step of a problem; where it asks for training, on the training windows."""
    if compression.tuning.epochs:
        tuned = tuned_of(problem, compression)
        return Held(run_passes(tuned.imported.graph, (*OPTIMISE, *FOR_INTEGERS)), tuned.recipe)
    made = compressed(problem.optimised, compression, problem.seen if looks(compression) else None)
    assert made.recipe is not None  # every compression of a search computes with integers
    return Held(made.graph, made.recipe)


def integer_graph(problem: Problem, held: Held) -> Graph:
    """The integer program before it is lowered; its scales are read off the smaller graph."""
    known = normalisation_of(problem.graph, problem.meta)
    seen = calibrate(held.graph, problem.raw, method=problem.method, normalisation=known)
    return quantise_program(held.graph, seen, held.recipe, known).graph


def tuned_of(problem: Problem, compression: Compression) -> Tuned:
    """The model trained to bear a compression; the validation windows choose among its epochs."""
    from edgekit.tune.model import tune
    from edgekit.tune.windows import Data, Windows

    train, valid = problem.training, problem.validation
    if train is None or train.y is None or valid.y is None:
        raise DataError("training windows", "have no labels", "give --calib and --valid as .npz with x and y")
    return tune(problem.imported, compression, Data(Windows(train.x, train.y), Windows(valid.x, valid.y)))


def convert_compressed(problem: Problem, compression: Compression) -> Conversion:
    """The artifact of a compression, with the program that its trial had."""
    options = Options(
        target=problem.target_name,
        precision=compression.precision,
        calib=problem.calibration,
        calib_method=problem.method,
        compression=compression,
        compiler=problem.compiler,
    )
    imported = problem.imported
    if compression.tuning.epochs:
        tuned = tuned_of(problem, compression)
        imported, options = tuned.imported, dataclasses.replace(options, held=tuned.recipe)
    return convert_imported(imported, options)
