"""What checks of exported files share: noise to run them on, and how far a value is from that of the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.ir.dtypes import SPIKE
from edgekit.ir.graph import Graph

Array = npt.NDArray[Any]

ACTIVITY = 0.3  # share of spikes among random spike inputs


def random_inputs(graph: Graph, *lead: int, seed: int = 0) -> dict[str, Array]:
    """Inputs [*lead, *shape] of a step: normal numbers, and spikes of 0 and 1."""
    rng, inputs = np.random.default_rng(seed), {}
    for name in graph.entries["step"].inputs:
        tensor = graph.tensors[name]
        shape = (*lead, *tensor.shape)
        drawn = rng.random(shape) < ACTIVITY if tensor.dtype is SPIKE else rng.standard_normal(shape)
        inputs[name] = drawn.astype(np.float32)
    return inputs


def largest_error(got: Array, wanted: Array, size: Any = None) -> float:
    """max |y - r| / max(1, size), infinite where a spike, shape, NaN or Inf differs.

    `size` is |r| unless it is given; a spike of `got` is a float of 0 or 1.
    """
    if got.shape != wanted.shape:
        return np.inf
    if wanted.dtype == np.bool_:
        return 0.0 if np.array_equal(got, wanted.astype(np.float32)) else np.inf
    same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    size = np.abs(wanted, dtype=np.float64) if size is None else size
    with np.errstate(invalid="ignore"):
        error = np.abs(got.astype(np.float64) - wanted) / np.maximum(1.0, size)
    return float(np.max(np.where(same, 0.0, np.where(np.isfinite(error), error, np.inf)), initial=0.0))
