"""The compression that a training carries along: masks and rounding as the integer program of this moment has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor as Values

from edgekit.compress.calibrate import calibrate
from edgekit.compress.integer import IntegerProgram, quantise_program
from edgekit.compress.recipes import Recipe
from edgekit.convert.inputs import Inputs
from edgekit.errors import GraphError
from edgekit.ir import Graph
from edgekit.tune.fake_quant import FakeQuantisation
from edgekit.tune.network import Change, GraphNetwork
from edgekit.tune.windows import Step

Mask = npt.NDArray[np.bool_]
Masks = Mapping[str, Mask]
Thin = Callable[[Graph, float], Masks]
"""Which weights stay at a share, 0 to 1, of the way to the density that is asked for; by name, True stays."""


@dataclass(frozen=True, eq=False)
class Rounding:
    """A recipe, the windows that ranges are read off, and the weights that stay zero."""

    step: Step
    recipe: Recipe
    calibration: Inputs
    masks: Masks = field(default_factory=dict)

    def program(self, graph: Graph, recipe: Recipe | None = None) -> IntegerProgram:
        """The integer program of the step with other constants; GraphError where its values are no numbers any more."""
        known = self.step.normalisation
        with np.errstate(over="ignore", invalid="ignore"):  # told below, in a line
            seen = calibrate(graph, self.calibration, normalisation=known)
        if not all(np.isfinite(found).all() for found in (*seen.moments.values(), *seen.variances.values())):
            raise GraphError("values of the step", "are NaN, Inf, or too large to be squared")
        return quantise_program(graph, seen, recipe or self.recipe, known)

    def apply(self, network: GraphNetwork, recipe: Recipe | None = None) -> IntegerProgram:
        """Have the network compute as the integer program of its present constants, which is returned."""
        network.values = {}
        network.weights = {name: _masked(mask) for name, mask in self.masks.items()}
        program = self.program(network.tuned(), recipe)
        fake = FakeQuantisation.of(network.graph, program)
        network.values = dict(fake.values)
        network.weights |= {name: _after(network.weights.get(name), change) for name, change in fake.weights.items()}
        return program


def _masked(mask: Mask) -> Change:
    stays = torch.from_numpy(np.asarray(mask, np.float32))
    return lambda w: w * stays


def _after(first: Change | None, second: Change) -> Change:
    def both(w: Values) -> Values:
        return second(w if first is None else first(w))

    return both
