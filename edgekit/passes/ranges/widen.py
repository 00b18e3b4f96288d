"""The last resort for states of any kind: intervals that grow until one step stays within them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.passes.ranges.forward import Known, propagate
from edgekit.passes.ranges.invariant import HUGE
from edgekit.passes.ranges.nodes import Step
from edgekit.passes.ranges.paths import Group
from edgekit.passes.ranges.values import Interval, limits

PATIENT = 8  # steps that only follow; after these every bound that moves is doubled
GROWTHS = 160
TIGHTENED = 8


def widened(
    step: Step, group: Group, known: Mapping[str, Interval], init: Mapping[str, Interval]
) -> tuple[Known, list[str], list[str]]:
    """Closed bounds of a group's states, and which values on the way may saturate and may wrap within them."""
    shapes = {s: step.tensors[s].shape for s in group.states}
    bounds = {s: init[s].broadcast(shapes[s]) for s in group.states}

    def image(at: Known) -> tuple[Known, list[str], list[str]]:
        values, overflows, saturations = propagate(step, group.nodes, {**known, **at})
        after = {s: values[step.entry.updates[s]].broadcast(shapes[s]).hull(init[s]) for s in group.states}
        return after, [f.tensor for f in saturations], [f.tensor for f in overflows]

    for turn in range(GROWTHS):
        after, _, _ = image(bounds)
        if all(bool(bounds[s].holds(after[s]).all()) for s in group.states):
            break
        for s in group.states:
            bounds[s] = _grown(bounds[s], after[s], turn >= PATIENT, limits(step.tensors[s].dtype))
    else:
        whole = {s: limits(step.tensors[s].dtype) for s in group.states}
        bounds = {s: Interval(*(np.full(shapes[s], end) for end in whole[s])) for s in group.states}
    for _ in range(TIGHTENED):  # what a closed interval is taken to is closed as well
        after, _, _ = image(bounds)
        bounds = {s: bounds[s].meet(after[s]) for s in group.states}
    _, saturations, overflows = image(bounds)
    return bounds, saturations, overflows


def _grown(at: Interval, after: Interval, doubled: bool, ends: tuple[float, float]) -> Interval:
    lo, hi = np.minimum(at.lo, after.lo), np.maximum(at.hi, after.hi)
    if doubled:
        width = hi - lo
        lo, hi = np.where(after.lo < at.lo, lo - width, lo), np.where(after.hi > at.hi, hi + width, hi)
    lo, hi = np.where(lo < -HUGE, -np.inf, lo), np.where(hi > HUGE, np.inf, hi)
    return Interval(np.maximum(lo, ends[0]), np.minimum(hi, ends[1]))
