"""The last resort for states of any kind: intervals that grow until one step stays within them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgekit.passes.ranges.forward import Known, propagate
from edgekit.passes.ranges.nodes import Step
from edgekit.passes.ranges.paths import Group
from edgekit.passes.ranges.values import Interval, limits, whole_range

PATIENT = 8  # steps that only follow; after these every bound that moves is doubled
GROWTHS = 80
TIGHTENED = 8


@dataclass(frozen=True, eq=False)
class Widened:
    """Closed bounds of a group's states, and which values on the way may saturate and may wrap within them."""

    bounds: Known
    saturations: list[str]
    overflows: list[str]


def widened(step: Step, group: Group, known: Mapping[str, Interval], init: Mapping[str, Interval]) -> Widened:
    """Bounds that hold the first values and that one step does not leave."""
    tensors = {s: step.tensors[s] for s in group.states}
    bounds = {s: init[s].broadcast(t.shape) for s, t in tensors.items()}

    def image(at: Known) -> Known:
        values, _, _ = propagate(step, group.nodes, {**known, **at})
        return {s: values[step.entry.updates[s]].broadcast(t.shape).hull(init[s]) for s, t in tensors.items()}

    for turn in range(GROWTHS):
        after = image(bounds)
        if all(bool(bounds[s].holds(after[s]).all()) for s in group.states):
            break
        bounds = {s: _grown(bounds[s], after[s], turn >= PATIENT, limits(t.dtype)) for s, t in tensors.items()}
    else:
        bounds = {s: whole_range(t) for s, t in tensors.items()}
    for _ in range(TIGHTENED):  # what a closed interval is taken to is closed as well
        after = image(bounds)
        bounds = {s: bounds[s].meet(after[s]) for s in group.states}
    _, overflows, saturations = propagate(step, group.nodes, {**known, **bounds})
    return Widened(bounds, [f.tensor for f in saturations], [f.tensor for f in overflows])


def _grown(at: Interval, after: Interval, doubled: bool, ends: tuple[float, float]) -> Interval:
    lo, hi = np.minimum(at.lo, after.lo), np.maximum(at.hi, after.hi)
    if doubled:
        width = hi - lo
        lo, hi = np.where(after.lo < at.lo, lo - width, lo), np.where(after.hi > at.hi, hi + width, hi)
    return Interval(np.maximum(lo, ends[0]), np.minimum(hi, ends[1]))
