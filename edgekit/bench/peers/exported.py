"""edgekit's own exported files in the runtimes they are for: ONNX Runtime and LiteRT, behind the same session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgekit.backends.onnx import export_onnx
from edgekit.backends.tflite import export_tflite
from edgekit.bench.cases import Case
from edgekit.bench.conversion import import_case
from edgekit.bench.subject import PythonSubject, Subject
from edgekit.passes.own_outputs import own_outputs
from edgekit.passes.pipelines import OPTIMISE, run_passes
from edgekit.runtime import Session
from edgekit.runtime.exported import ExportedStream, OnnxStream, TfliteStream

ONNX, TFLITE = "edgekit .onnx in ONNX Runtime, Session.step", "edgekit .tflite in LiteRT, Session.step"


def subjects(case: Case, folder: Path, threads: int) -> dict[str, Callable[[], Subject]]:  # noqa: ARG001
    """The step as edgekit exports it, in each runtime; sessions of edgekit use one thread."""

    def graph() -> Any:
        return own_outputs(run_passes(import_case(case).graph, OPTIMISE))

    return {
        ONNX: lambda: _subject(ONNX, case, OnnxStream.open(export_onnx(graph()))),
        TFLITE: lambda: _subject(TFLITE, case, TfliteStream.open(export_tflite(graph(), io={}))),
    }


def _subject(name: str, case: Case, stream: ExportedStream) -> Subject:
    session = Session(None, stream)
    return PythonSubject(name, session.engine, case, lambda row: row, session.reset, session.step)
