"""The one way out: a graph as a .tflite file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from edgekit.backends.tflite.emit import emit_float
from edgekit.backends.tflite.integer import emit_integer
from edgekit.compress.bounds import Bounds
from edgekit.compress.calibrate import calibrate
from edgekit.compress.plan import Plan
from edgekit.compress.recipes import recipe
from edgekit.compress.terms import Sums
from edgekit.errors import UsageError
from edgekit.ir import Graph
from edgekit.passes.own_outputs import own_outputs
from edgekit.passes.step_ports import check_ports, step_alone

Windows = Mapping[str, npt.NDArray[Any]]
FLOAT_PRECISIONS = ("fp32", "w8")
INTEGER = "int8"
STATES = ("io", "resource")


def plan_of(
    graph: Graph,
    windows: Windows,
    *,
    normalisation: Mapping[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]] | None = None,
    method: str = "min-max",
) -> Plan:
    """The plan of an int8 model: what calibration windows {input: [N, T, *shape]} make of each value of the graph.

    `normalisation` holds offset and scale of inputs given in raw units, which the graph takes normalised.
    """
    sums = Sums(graph)
    seen = calibrate(graph, windows, method=method, normalisation=normalisation)
    return Plan(sums, Bounds(seen, sums), recipe(INTEGER))


def export_tflite(
    graph: Graph,
    *,
    io: Mapping[str, Any],
    precision: str = "fp32",
    states: str = "io",
    plan: Plan | None = None,
) -> bytes:
    """The step of a graph as a TFLite model with the batch axis of length 1 in front of every port.

    `graph` is optimised and not lowered; with precision `w8` its weights are int8 already (`quantize_weights_int8`).
    `io` is what `check_meta` gives. With states `io` each state is an input of its name and an output `<state>.next`;
    with `resource` the model keeps them, and has signatures `init` and `reset` beside `step`.

    Precision `int8` is integers throughout: `plan`, from `plan_of`, gives the scales, and `graph` takes normalised
    inputs: an integer port stands for (stored - zero_point) · scale, of the normalised value where `io` has offset and
    scale, as in integer programs.
    """
    if states not in STATES:
        raise UsageError(f"states {states!r}", "is not known", f"known are {', '.join(STATES)}")
    graph = own_outputs(step_alone(graph))
    check_ports(graph, "TFLite")
    if precision in FLOAT_PRECISIONS:
        return emit_float(graph, meta=io, precision=precision, resource=states == "resource")
    if precision == INTEGER:
        if plan is None:
            raise UsageError(f"precision {precision!r}", "needs a plan: integer scales come from calibration windows")
        return emit_integer(graph, meta=io, precision=precision, resource=states == "resource", plan=plan)
    raise UsageError(f"precision {precision!r}", "is not one that TFLite can be written in", "fp32, w8 or int8")
