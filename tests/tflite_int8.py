"""int8 models of test graphs: their plans, stored inputs, and what a set of kernels makes of them."""

from __future__ import annotations

import numpy as np
from tflite_cases import inputs_of

from edgekit.artifact.exported import Port, StatePort
from edgekit.backends.tflite import TfliteStep
from edgekit.compress.bounds import Bounds
from edgekit.compress.calibrate import calibrate
from edgekit.compress.plan import Plan
from edgekit.compress.recipes import recipe
from edgekit.compress.terms import Sums
from edgekit.ir import Graph

CALIBRATION = 64


def plan_of(graph: Graph, windows: dict[str, np.ndarray] | None = None, **normalisation: object) -> Plan:
    """The plan of a graph from windows {input: [N, T, *shape]}, or from random ones."""
    given = windows or {n: a[None] for n, a in inputs_of(graph, CALIBRATION, seed=9).items()}
    sums = Sums(graph)
    return Plan(sums, Bounds(calibrate(graph, given, **normalisation), sums), recipe("int8"))


def stored(port: Port | StatePort, real: np.ndarray) -> np.ndarray:
    """Real values as a port takes them."""
    assert port.quant is not None
    whole = np.floor(real.astype(np.float64) / port.quant.scale + 0.5) + port.quant.zero_point
    return np.clip(whole, *port.dtype.limits).astype(port.dtype.numpy)


def real(port: Port, values: np.ndarray) -> np.ndarray:
    """What the integers of a port stand for."""
    assert port.quant is not None
    return (values.astype(np.float64) - port.quant.zero_point) * port.quant.scale


def run(model: TfliteStep, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs [T, *shape] over stored inputs [T, *shape], and the states after each step as `<name>.next`."""
    state, found = model.initial_state(), dict[str, list[np.ndarray]]()
    for t in range(len(next(iter(inputs.values())))):
        outputs, state = model.execute({n: a[t][None] for n, a in inputs.items()}, state)
        for name, value in {**outputs, **{f"{n}.next": v for n, v in state.items()}}.items():
            found.setdefault(name, []).append(value[0])
    return {name: np.stack(rows) for name, rows in found.items()}
