"""int8 models of test graphs: their plans, and what a set of kernels makes of them."""

from __future__ import annotations

import numpy as np
from tflite_cases import inputs_of

from edgekit.backends.tflite import TfliteStep, plan_of
from edgekit.compress.plan import Plan
from edgekit.ir import Graph

CALIBRATION = 64


def random_plan(graph: Graph) -> Plan:
    """The plan of a graph from random windows."""
    return plan_of(graph, {n: a[None] for n, a in inputs_of(graph, CALIBRATION, seed=9).items()})


def run(model: TfliteStep, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs [T, *shape] over stored inputs [T, *shape], and the states after each step as `<name>.next`."""
    state, found = model.initial_state(), dict[str, list[np.ndarray]]()
    for t in range(len(next(iter(inputs.values())))):
        outputs, state = model.execute({n: a[t][None] for n, a in inputs.items()}, state)
        for name, value in {**outputs, **{f"{n}.next": v for n, v in state.items()}}.items():
            found.setdefault(name, []).append(value[0])
    return {name: np.stack(rows) for name, rows in found.items()}
