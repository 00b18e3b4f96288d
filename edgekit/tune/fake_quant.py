"""Rounding in the loop: weights, inputs, states and operands on the scales of a real integer program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor as Values

from edgekit.compress.integer import IntegerProgram
from edgekit.compress.stored import Rounded, Stored
from edgekit.ir import SPIKE, Graph
from edgekit.tune.functions import rounded, straight
from edgekit.tune.network import Change


@dataclass(frozen=True, eq=False)
class FakeQuantisation:
    """What becomes of single weights and values of a float graph, as its integer program holds them.

    x → unit · clip(floor(x / unit + 1/2), low, high), whose gradient is that of x inside the range and 0 outside.
    """

    weights: Mapping[str, Change]
    values: Mapping[str, Change]

    @classmethod
    def of(cls, graph: Graph, program: IntegerProgram) -> FakeQuantisation:
        """That of the integer program that was made of the graph."""
        step = graph.entries["step"]
        made = {*step.inputs, *graph.state_names, *(name for op in step.ops for name in op.outputs)}
        weights = {name: _weights(rounded) for name, rounded in program.rounded.items()}
        values = {
            name: _held(stored)
            for name, stored in program.held.items()
            if name in made and stored.dtype is not SPIKE and graph.tensors[name].dtype is not SPIKE
        }
        return cls(weights, values)


def rounding(unit: np.ndarray[tuple[int, ...], np.dtype[np.float64]], low: float, high: float) -> Change:
    """Rounding half up to multiples of `unit`, from `low` to `high` of them."""
    size = torch.from_numpy(np.asarray(unit, np.float32))

    return lambda x: rounded(x, size.to(x.device), low, high)


def _weights(rounded: Rounded) -> Change:
    if rounded.levels is not None:
        return _to_levels(rounded.unit, rounded.levels)
    return rounding(rounded.unit, -rounded.largest, rounded.largest)


def _to_levels(unit: np.ndarray[tuple[int, ...], np.dtype[np.float64]], levels: tuple[int, ...]) -> Change:
    """Rounding to the nearest of some multiples of `unit`, the upper one of two that are as near."""
    size = torch.from_numpy(np.asarray(unit, np.float32))
    known = torch.tensor(levels, dtype=torch.float32)
    between = (known[1:] + known[:-1]) / 2

    def nearest(x: Values) -> Values:
        return known.to(x.device)[torch.bucketize(x.contiguous(), between.to(x.device), right=True)]

    def change(x: Values) -> Values:
        units = size.to(x.device)
        return straight(torch.clamp(x / units, levels[0], levels[-1]), nearest) * units

    return change


def _held(stored: Stored) -> Change:
    low, high = stored.dtype.limits
    return rounding(np.asarray(stored.scale, np.float64), low - stored.zero, high - stored.zero)
