"""An int8 model beside the float graph it was made of: what rounding changes, and how far sets of kernels are apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.artifact.exported import Port, Quantised
from edgekit.backends.tflite.check import streams_of
from edgekit.backends.tflite.run import TfliteStep
from edgekit.errors import DataError
from edgekit.ir import SPIKE, Graph
from edgekit.passes.own_outputs import own_outputs
from edgekit.passes.step_ports import step_alone
from edgekit.reference import Interpreter

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Measured:
    """What rounding does over so many steps: the largest change of an output max |y - r| / max(1, |r|) of reals, the
    share of spikes that differ; None where there are no such outputs. `apart` is that change between sets of kernels,
    the largest: XNNPACK rounds int8 sums in another way, and optimised sums of two int16 may be one step off.
    """

    engine: str
    kernels: tuple[str, ...]
    steps: int
    worst: float | None
    spikes: float | None
    apart: float


def stored_values(port: Port, real: Array) -> Array:
    """The nearest integers on a port's scale: clip(floor(real / scale + 1/2) + zero point)."""
    held = _quant(port)
    whole = np.floor(real.astype(np.float64) / held.scale + 0.5) + held.zero_point
    return np.asarray(np.clip(whole, *port.dtype.limits).astype(port.dtype.numpy))


def real_values(port: Port, stored: Array) -> Array:
    """What the integers of a port stand for."""
    held = _quant(port)
    return np.asarray((stored.astype(np.float64) - held.zero_point) * held.scale)


def _quant(port: Port) -> Quantised:
    if port.quant is None:
        raise DataError(f"port {port.name!r}", "has no scale: the model is not an int8 one")
    return port.quant


def measure_tflite(
    data: bytes,
    graph: Graph,
    inputs: Mapping[str, Array],
    *,
    normalisation: Mapping[str, tuple[Array, Array]] | None = None,
    kernels: tuple[str, ...] = ("xnnpack", "reference"),
) -> Measured:
    """Run an int8 model and its float graph over streams [T, *shape] or [N, T, *shape], each from first values.

    Inputs in raw units are normalised by offset and scale first.
    """
    graph = own_outputs(step_alone(graph))
    known = normalisation or {}
    normal = {n: (np.asarray(a) - known[n][0]) * known[n][1] if n in known else a for n, a in inputs.items()}
    engine, steps = Interpreter(graph), 0
    worst, changed, apart = list[float](), list[float](), list[float]()
    for stream in streams_of(graph, normal):
        models = [TfliteStep(data, kernels=name) for name in kernels]
        given = {p.name: stored_values(p, stream[p.name]) for p in models[0].document.inputs}
        found = [_run(model, given) for model in models]
        wanted, _ = engine.run({n: np.asarray(a, np.float32)[None] for n, a in stream.items()})
        for port in models[0].document.outputs:
            expected, (got, *others) = wanted[port.name][0], (real_values(port, f[port.name]) for f in found)
            apart += [_change(other, got) for other in others]
            if graph.tensors[port.name].dtype is SPIKE:
                changed.append(float((got != expected).mean()))
            else:
                worst.append(_change(got, expected))
        steps += len(next(iter(given.values())))
    return Measured(
        models[0].engine,
        tuple(kernels),
        steps,
        max(worst) if worst else None,
        float(np.mean(changed)) if changed else None,
        max(apart, default=0.0),
    )


def _change(got: Array, wanted: Array) -> float:
    return float((np.abs(got - wanted) / np.maximum(1, np.abs(wanted))).max())


def _run(model: TfliteStep, inputs: Mapping[str, Array]) -> dict[str, Array]:
    state, rows = model.initial_state(), []
    for t in range(len(next(iter(inputs.values())))):
        outputs, state = model.execute({n: a[t][None] for n, a in inputs.items()}, state)
        rows.append(outputs)
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
