"""Measured activity: the share of elements that are not zero, which decides between kernels that can skip zeros."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.ir.dtypes import SPIKE
from edgekit.ir.graph import Graph
from edgekit.passes.choose_forms import may_be_sparse
from edgekit.reference import Interpreter


def measure_activity(
    graph: Graph, stimulus: Mapping[str, npt.NDArray[Any]], *, typical: bool = False
) -> dict[str, float]:
    """Mean share, 0 to 1, of elements that are not zero in values of the step over inputs [N, T, *shape].

    These are all spikes, and where the stimulus is `typical` of what the program will see (noise has no zeros) also the
    inputs of linears whose weights are mostly zero.
    """
    interpreter = Interpreter(graph)
    step = graph.entries["step"]
    batch, steps = next(iter(stimulus.values())).shape[:2]
    state = interpreter.initial_state(batch)
    made = [n for op in step.ops for n in op.outputs]
    watched = [n for n in (*sorted(graph.state_names), *made) if graph.tensors[n].dtype is SPIKE]
    if typical:
        watched += [op.inputs[0] for op in step.ops if may_be_sparse(graph, op)]
    rates = dict.fromkeys(watched, 0.0)
    for t in range(steps):
        values = interpreter.trace({n: a[:, t] for n, a in stimulus.items()}, state)
        for name in rates:
            rates[name] += float(np.mean(values[name] != 0)) / steps
        state = {s.tensor: values[step.updates.get(s.tensor, s.tensor)] for s in graph.states}
    return rates
