"""A recipe in a conversion: applied to the graph before it is calibrated, and told in the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from edgekit.compress.apply import Compressed, compressed
from edgekit.compress.calibrate import calibrate
from edgekit.compress.recipe_data import to_data
from edgekit.compress.rules import Compression, looks
from edgekit.convert.inputs import Inputs, normalisation_of
from edgekit.convert.options import Options
from edgekit.convert.original import weights_digest
from edgekit.convert.progress import Progress
from edgekit.errors import UsageError
from edgekit.ir import Graph


def smaller(
    graph: Graph, meta: Mapping[str, Any], options: Options, raw: Inputs, progress: Progress
) -> Compressed | None:
    """What the recipe of a conversion makes of an optimised float graph; None without one, or where it is done."""
    compression = options.compression
    if compression is None or options.held is not None:
        return None
    seen = None
    if looks(compression) and options.calib is not None:
        seen = calibrate(graph, raw, normalisation=normalisation_of(graph, meta), progress=partial(progress, "observe"))
    progress("apply the recipe")
    return compressed(graph, compression, seen)


def check_learned(made: Compressed, before: Graph, after: Graph) -> None:
    """UsageError for weights that a recipe gives a form to, but that became states: they learn on the device."""
    recipe = made.recipe
    asked = {*made.masks, *(recipe.weights if recipe else ()), *(recipe.levels if recipe else ())}
    if learned := sorted(asked & before.consts.keys() - after.consts.keys()):
        remedy = "leave them out of the recipe, or learn others"
        raise UsageError(f"weights {', '.join(learned)}", "learn on the device: no recipe can fix their form", remedy)


def section(graph: Graph, compression: Compression, made: Compressed | None) -> dict[str, Any]:
    """The section `compression` of the manifest: the whole recipe, of which imported graph the program was made, and
    what that did to units and weights.
    """
    found: dict[str, Any] = {"recipe": to_data(compression), "original_sha256": weights_digest(graph)}
    if made is not None and made.dropped:
        found["dropped"] = {name: list(indices) for name, indices in made.dropped.items()}
    if made is not None and made.masks:
        found["density"] = {name: round(float(np.mean(mask)), 6) for name, mask in made.masks.items()}
    return found
