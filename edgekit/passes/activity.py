"""Measured activity: the share of neurons that fire, which decides between event-driven and dense kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.ir.dtypes import SPIKE
from edgekit.ir.graph import Graph
from edgekit.reference import Interpreter


def measure_activity(graph: Graph, stimulus: Mapping[str, npt.NDArray[Any]]) -> dict[str, float]:
    """Mean firing rate, 0 to 1, of every spike tensor of the step over inputs [N, T, *shape]."""
    interpreter = Interpreter(graph)
    step = graph.entries["step"]
    batch, steps = next(iter(stimulus.values())).shape[:2]
    state = interpreter.initial_state(batch)
    made = [n for op in step.ops for n in op.outputs]
    rates = {n: 0.0 for n in (*sorted(graph.state_names), *made) if graph.tensors[n].dtype is SPIKE}
    for t in range(steps):
        values = interpreter.trace({n: a[:, t] for n, a in stimulus.items()}, state)
        for name in rates:
            rates[name] += float(np.mean(values[name])) / steps
        state = {s.tensor: values[step.updates.get(s.tensor, s.tensor)] for s in graph.states}
    return rates
