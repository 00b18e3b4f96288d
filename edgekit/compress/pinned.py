"""A recipe that holds weights on the grid of a program: what a training leaves there rounds to itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.compress.integer import IntegerProgram
from edgekit.compress.recipes import Recipe


def pinned(recipe: Recipe, program: IntegerProgram) -> Recipe:
    """The recipe with the scales and palettes that a program rounds its matrices to.

    Weights that are whole multiples of the units of `program.rounded`, of the levels alone where it has such, come out
    as just those integers when their graph is quantised anew, on another calibration too. Matrices of 16 bits have bits
    to spare and are not pinned. A note of the new program tells where that is not possible: sums could leave int32.
    """
    return replace(
        recipe,
        units={name: rounded.unit for name, rounded in program.rounded.items()},
        palettes={name: rounded.levels for name, rounded in program.rounded.items() if rounded.levels is not None},
        scales={name: held.scale for name, held in program.held.items() if np.ndim(held.scale)},
    )
