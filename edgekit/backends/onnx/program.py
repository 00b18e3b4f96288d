"""The graph that an ONNX file computes: legalised, its weights rounded, what is int8 in it marked."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgekit.backends.onnx.body import Quantisation
from edgekit.backends.onnx.ports import check_ports, own_outputs, step_alone
from edgekit.backends.onnx.rows import SUPPORTED
from edgekit.compress.calibrate import Calibration
from edgekit.compress.quantize import quantize_weights_int8
from edgekit.errors import UsageError
from edgekit.ir import Graph
from edgekit.passes.fold import fold_constants
from edgekit.passes.legalize import legalize

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
        return self.graph


def make_program(graph: Graph, precision: str = "fp32", calibration: Calibration | None = None) -> Program:
    """The program of an optimised float graph (`passes.pipelines.OPTIMISE`, before `LOWER`).

    `int8` takes the calibration of this very graph. UnsupportedError lists every op and value without an ONNX form.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r}", f"has no {NAME} form", f"known are {', '.join(PRECISIONS)}")
    if (calibration is not None) != (precision == "int8"):
        wants = "needs a calibration" if calibration is None else "takes no calibration"
        raise UsageError(f"precision {precision!r}", wants, "int8 is calibrated, fp32 and w8 are not")
    graph = step_alone(graph)
    if precision != "fp32":
        graph = quantize_weights_int8(graph)
    graph = own_outputs(fold_constants(legalize(graph, SUPPORTED, NAME)))
    check_ports(graph, NAME)
    return Program(graph, precision)
