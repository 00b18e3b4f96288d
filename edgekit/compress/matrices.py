"""The matrices of a step: which constants there are, and what goes through each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.compress.calibrate import Calibration
from edgekit.compress.stored import Array
from edgekit.compress.terms import Sums
from edgekit.ir import Graph

Moments = dict[str, Array]
"""E[x xᵀ] of what goes through a matrix, by the name of x."""


def matrices(graph: Graph) -> dict[str, tuple[str, ...]]:
    """The constant matrices [out, in] that linears of the step multiply with, each with its operands.

    Of casts of spikes the spikes are the operands.
    """
    sums = Sums(graph)
    found: dict[str, tuple[str, ...]] = {}
    for op in sums.step.ops:
        if op.kind == "linear" and graph.tensors[op.inputs[1]].is_const:
            found[op.inputs[1]] = (*found.get(op.inputs[1], ()), sums.uncast(op.inputs[0]))
    return found


def filters(graph: Graph) -> tuple[str, ...]:
    """The constant filters [out, in, …] of the convolutions of the step."""
    read = [op.inputs[1] for op in graph.entries["step"].ops if op.kind == "conv"]
    return tuple(dict.fromkeys(name for name in read if graph.tensors[name].is_const))


def moments_of(seen: Calibration | None) -> Moments:
    """What calibration saw go through matrices."""
    return {} if seen is None else dict(seen.moments)


def power_of(operands: tuple[str, ...], moments: Mapping[str, Array]) -> Array | None:
    """E[x xᵀ] over all operands of a matrix; None where one was not observed."""
    found = [moments[name] for name in operands if name in moments]
    return np.asarray(sum(found[1:], start=found[0])) if found and len(found) == len(operands) else None
