"""A graph as an ONNX file: one step with its states as ports, or a whole sequence as a Scan over that step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgekit.artifact.exported import KEY, Quantised, dump_step_document, step_document
from edgekit.backends.onnx.graphs import sequence_graph, step_graph
from edgekit.backends.onnx.program import make_program
from edgekit.backends.onnx.proto import model_bytes
from edgekit.backends.onnx.read import FORM_KEY, FORMS
from edgekit.compress.calibrate import Calibration
from edgekit.errors import UsageError
from edgekit.ir import INT8, Graph


def export_onnx(
    graph: Graph,
    *,
    meta: Mapping[str, Any] | None = None,
    precision: str = "fp32",
    form: str = "step",
    calibration: Calibration | None = None,
) -> bytes:
    """The ONNX file of an optimised float graph (`passes.pipelines.OPTIMISE`, before `LOWER`).

    `step` takes inputs [N, …] and a state of each name, and gives outputs and `<state>.next`. `sequence` takes inputs
    [N, T, …] and first states, and gives outputs [N, T, …] and last states. `meta` is the io section as `check_meta`
    gives it; `int8` needs the calibration of this graph. The file has passed onnx.checker with full shape inference.

    Raises UnsupportedError with everything that has no ONNX form, UsageError for options that do not fit.
    """
    if form not in FORMS:
        raise UsageError(f"ONNX form {form!r}", "is not known", f"known are {', '.join(FORMS)}")
    program = make_program(graph, precision, calibration)
    held = program.quantisation.states
    document = step_document(
        program.graph,
        meta=meta or {},
        precision=precision,
        dtypes=dict.fromkeys(held, INT8),
        quant={name: Quantised(scale) for name, scale in held.items()},
    )
    document["graph_sha256"] = graph.hash()  # of what was given, whatever was rewritten for the file
    doc = _doc(program.graph, form)
    proto = step_graph(program, doc) if form == "step" else sequence_graph(program, doc)
    properties = {KEY: dump_step_document(document).decode(), FORM_KEY: form}
    return model_bytes(proto, properties=properties, doc=doc)


def _doc(graph: Graph, form: str) -> str:
    time = "a step" if graph.dt is None else f"a step of {graph.dt:g} s"
    what = f"{time} for each of N streams" if form == "step" else f"T times {time} for each of N streams"
    return f"{graph.name}: {what}; states are inputs and outputs, the property {KEY!r} says which"
