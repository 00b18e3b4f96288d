"""How close a spike that differs was to its threshold, in double precision: rounding, or a fault."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.ir import SPIKE, Graph
from edgekit.reference import Interpreter, Values
from edgekit.verify.layers import as_state

Array = npt.NDArray[Any]
COMPARES = ("gt", "ge", "lt", "le", "eq", "ne")


def _visible_spikes(original: Graph, program: Graph) -> list[tuple[str, str, str, str]]:
    """Comparisons of the original, in order, as (left, right, spike, name under which the program has the spike)."""
    step = original.entries["step"]
    casts = {op.inputs[0]: op.outputs[0] for op in step.ops if op.kind == "cast"}
    rows = []
    for op in step.ops:
        if op.kind not in COMPARES:
            continue
        spike = op.outputs[0]
        name = next((n for n in (spike, casts.get(spike, "")) if n in program.tensors), None)
        if name is not None:
            rows.append((op.inputs[0], op.inputs[1], spike, name))
    return rows


def first_divergence(original: Graph, program: Graph, window: Array) -> tuple[int, float] | None:
    """The first step of one window [T, *shape] where a spike differs, and how far that neuron was from its threshold.

    The margin is |U - threshold| in float64 of the first differing population in the order of the step (what follows in
    the same step is its consequence); of several neurons of that population, the largest. None if nothing differs.
    """
    single, exact, other = Interpreter(original), Interpreter(original, np.float64), Interpreter(program)
    step_a, step_b = original.entries["step"], program.entries["step"]
    spikes = _visible_spikes(original, program)
    a, e, b = single.initial_state(), exact.initial_state(), other.initial_state()

    def after(graph: Graph, updates: Any, values: Values) -> Values:
        return {s.tensor: values[updates.get(s.tensor, s.tensor)] for s in graph.states}

    for t in range(window.shape[0]):
        x = window[None, t]
        va, ve = single.trace({step_a.inputs[0]: x}, a), exact.trace({step_a.inputs[0]: x}, e)
        vb = other.trace({step_b.inputs[0]: x}, b)
        for left, right, spike, name in spikes:
            differing = va[spike].reshape(-1) != (np.asarray(vb[name]).reshape(-1) != 0)
            if differing.any():
                margin = np.abs(np.broadcast_to(ve[left] - ve[right], va[spike].shape)).reshape(-1)
                return t, float(margin[differing].max())
        a, e, b = (
            after(original, step_a.updates, va),
            after(original, step_a.updates, ve),
            after(program, step_b.updates, vb),
        )
    return None


def is_spiking(graph: Graph) -> bool:
    """Whether the step compares membranes with thresholds at all."""
    return any(graph.tensors[n].dtype is SPIKE for op in graph.entries["step"].ops for n in op.outputs)


__all__ = ["as_state", "first_divergence", "is_spiking"]
