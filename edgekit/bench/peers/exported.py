"""edgekit's own exported files in the runtimes they are for: ONNX Runtime and LiteRT, behind the same session."""

from __future__ import annotations

from edgekit.backends.onnx import export_onnx
from edgekit.backends.tflite import export_tflite
from edgekit.bench.cases import Case
from edgekit.bench.conversion import import_case
from edgekit.bench.packages import require
from edgekit.bench.subject import PythonSubject, Subject
from edgekit.passes.own_outputs import own_outputs
from edgekit.passes.pipelines import OPTIMISE, run_passes
from edgekit.runtime import Session
from edgekit.runtime.exported import ExportedStream, OnnxStream, TfliteStream

ONNX, TFLITE = "edgekit .onnx in ONNX Runtime, Session.step", "edgekit .tflite in LiteRT, Session.step"
NAMES = (ONNX, TFLITE)


def subjects(case: Case) -> list[Subject]:
    """The step as edgekit exports it, in each runtime."""
    for package in ("onnx", "onnxruntime", "ai_edge_litert"):
        require(package)
    graph = own_outputs(run_passes(import_case(case).graph, OPTIMISE))
    return [
        _subject(ONNX, case, OnnxStream.open(export_onnx(graph))),
        _subject(TFLITE, case, TfliteStream.open(export_tflite(graph, io={}))),
    ]


def _subject(name: str, case: Case, stream: ExportedStream) -> Subject:
    session = Session(None, stream)
    return PythonSubject(name, session.engine, list(case.stimulus), case.ring, session.reset, session.step)
