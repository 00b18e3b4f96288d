"""What a lower precision does to the outputs before anybody judges its accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.ir import SPIKE, Graph
from edgekit.runtime.codec import real_outputs
from edgekit.verify.layers import window_errors


@dataclass(frozen=True)
class Rounding:
    """How outputs change over the same stream; None where there are no outputs of that kind.

    `worst` is the largest change of a float, relative to the larger of 1 and the exact value, `spikes` the share of
    neurons and steps, 0 to 1, at which an output spike comes or goes.
    """

    worst: float | None
    spikes: float | None

    def __str__(self) -> str:
        said = [] if self.worst is None else [f"outputs by up to {self.worst:.2g} (relative above 1)"]
        said += [] if self.spikes is None else [f"output spikes at {self.spikes:.1%} of all neurons and steps"]
        return " and ".join(said)


def rounding_effect(exact: Graph, rounded: Graph, stimulus: Mapping[str, npt.NDArray[Any]]) -> Rounding:
    """Run both programs in the reference interpreter over raw inputs [N, T, *shape] and compare their real outputs."""
    before, after = (real_outputs(graph, stimulus) for graph in (exact, rounded))
    worst, changed = list[float](), list[float]()
    for name, ours, theirs in zip(exact.entries["step"].outputs, after, before, strict=True):
        if exact.tensors[name].dtype is SPIKE:
            changed.append(float(np.mean(theirs != ours)))
        else:
            worst.append(float(window_errors(theirs, ours).max()))
    return Rounding(max(worst, default=None), max(changed, default=None))


def output_error(exact: npt.NDArray[Any], got: npt.NDArray[Any]) -> float:
    """The root mean square error of outputs [N, (T,) …] over their standard deviation, of the worst of all elements.

    An element that never changes is measured by the larger of 1 and its value.
    """
    wide = np.asarray(exact, np.float64).reshape(-1, exact.shape[-1] if exact.ndim > 1 else 1)
    off = np.sqrt(np.mean((wide - np.asarray(got, np.float64).reshape(wide.shape)) ** 2, axis=0))
    spread, size = np.std(wide, axis=0), np.maximum(np.abs(wide).max(axis=0), 1.0)
    return float(np.max(off / np.where(spread > 1e-9 * size, spread, size)))
