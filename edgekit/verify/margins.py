"""How close a spike that differs was to its threshold, in double precision: rounding, or a fault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.ir import OPS, SPIKE, Graph, Op
from edgekit.reference import Interpreter, Values
from edgekit.runtime import Session

Array = npt.NDArray[Any]
COMPARES = ("gt", "ge", "lt", "le")


def is_spiking(graph: Graph) -> bool:
    """Whether the step compares membranes with thresholds at all."""
    return any(graph.tensors[n].dtype is SPIKE for op in graph.entries["step"].ops for n in op.outputs)


def states_of(session: Session, window: Array) -> list[Values]:
    """States of a program after each step of one window [T, *shape], read from its state blobs."""
    stream, layout = session.stream(), session.facts.layout
    states = []
    for x in window:
        stream.step(x)
        states.append(layout.unpack(stream.save_state()))
    return states


def _populations(graph: Graph) -> list[tuple[str, Op]]:
    """Populations in the order of the step: the state that keeps the membrane, and its comparison with a constant."""
    step = graph.entries["step"]
    kept = {value: state for state, value in step.updates.items()}
    return [
        (kept[op.inputs[0]], op)
        for op in step.ops
        if op.kind in COMPARES and op.inputs[0] in kept and graph.tensors[op.inputs[1]].is_const
    ]


def _fired(graph: Graph, op: Op, membrane: Array) -> Array:
    threshold = graph.tensors[op.inputs[1]]
    tensors = [graph.tensors[n] for n in op.inputs]
    membranes = np.asarray(membrane, np.float32).reshape(1, *tensors[0].shape)
    return OPS[op.kind].evaluate([membranes, np.asarray(threshold.data)[None]], op.attrs, tensors)[0].reshape(-1)


def first_divergence(
    original: Graph, window: Array, before: Sequence[Values], after: Sequence[Values]
) -> tuple[int, float] | None:
    """The first step of one window [T, *shape] where a spike differs, and how far that neuron was from its threshold.

    `before` and `after` are the states of the original and of the artifact after each step. Spikes are read off the
    membranes. The margin is |U - threshold| in float64 of the first differing population in the order of the step (what
    follows in the same step is its consequence); of several neurons of it, the largest. None if no population that
    keeps its membrane in a state differs.
    """
    exact = Interpreter(original, np.float64)
    step, state = original.entries["step"], exact.initial_state()
    populations = _populations(original)
    for t, (left, right) in enumerate(zip(before, after, strict=True)):
        values = exact.trace({step.inputs[0]: window[None, t]}, state)
        for membrane, op in populations:
            if membrane not in left or membrane not in right:
                continue
            differing = _fired(original, op, left[membrane]) != _fired(original, op, right[membrane])
            if differing.any():
                margin = np.abs(values[op.inputs[0]] - values[op.inputs[1]]).reshape(-1)
                return t, float(margin[differing].max())
        state = {s.tensor: values[step.updates.get(s.tensor, s.tensor)] for s in original.states}
    return None
