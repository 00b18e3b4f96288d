"""The graph that an ONNX file computes: legalised, its weights rounded, what is int8 in it marked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from edgekit.backends.onnx.body import Quantisation
from edgekit.backends.onnx.quantise import quantisation_of, reference_graph
from edgekit.backends.onnx.rows import SUPPORTED
from edgekit.compress.calibrate import Calibration, Progress, calibrate
from edgekit.compress.quantize import quantize_weights_int8
from edgekit.errors import UsageError
from edgekit.ir import Graph
from edgekit.passes.fold import fold_constants
from edgekit.passes.legalize import legalize
from edgekit.passes.own_outputs import own_outputs
from edgekit.passes.step_ports import check_ports, step_alone

Array = npt.NDArray[Any]

PRECISIONS = ("fp32", "w8", "int8")
NAME = "ONNX"


@dataclass(frozen=True, eq=False)
class Program:
    """A step as it is written: its graph, and which of its values are int8."""

    graph: Graph
    precision: str
    quantisation: Quantisation = field(default_factory=Quantisation)

    def reference(self) -> Graph:
        """The graph that the reference interpreter runs to tell what the file has to give."""
        return reference_graph(self.graph, self.quantisation)


def calibrate_onnx(
    graph: Graph, windows: Mapping[str, Array], *, method: str = "mse", progress: Progress = lambda _done, _total: None
) -> Calibration:
    """The calibration that `int8` takes, over windows {input: [N, T, *shape]} in the units of the graph's inputs."""
    return calibrate(_prepared(graph, "int8"), windows, method=method, progress=progress)


def make_program(graph: Graph, precision: str = "fp32", calibration: Calibration | None = None) -> Program:
    """The program of an optimised float graph (`passes.pipelines.OPTIMISE`, before `LOWER`).

    `int8` takes what `calibrate_onnx` found over this graph. UnsupportedError lists every op and value without an ONNX
    form.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r}", f"has no {NAME} form", f"known are {', '.join(PRECISIONS)}")
    if (calibration is not None) != (precision == "int8"):
        wants = "needs a calibration" if calibration is None else "takes no calibration"
        raise UsageError(f"precision {precision!r}", wants, "int8 is calibrated, fp32 and w8 are not")
    prepared = _prepared(graph, precision)
    return Program(prepared, precision, quantisation_of(prepared, calibration) if calibration else Quantisation())


def _prepared(graph: Graph, precision: str) -> Graph:
    graph = step_alone(graph)
    if precision != "fp32":
        graph = quantize_weights_int8(graph)
    graph = own_outputs(fold_constants(legalize(graph, SUPPORTED, NAME)))
    check_ports(graph, NAME)
    return graph
