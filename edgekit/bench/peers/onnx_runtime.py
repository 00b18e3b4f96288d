"""ONNX Runtime: the step with its states as inputs and outputs; plain `run` and io-binding, float32 and int8."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.bench.cases import Case
from edgekit.bench.peers.onnx_files import dynamic_file, float_file, input_names, output_names, qdq_file
from edgekit.bench.peers.step import initial
from edgekit.bench.peers.swapped import swapped
from edgekit.bench.stimuli import Array
from edgekit.bench.subject import PythonSubject, Subject

RUN, IO_BINDING = "ONNX Runtime, run", "ONNX Runtime, io-binding"
DYNAMIC, QDQ = "ONNX Runtime, dynamic int8, io-binding", "ONNX Runtime, QDQ int8, io-binding"


def subjects(case: Case, folder: Path, threads: int) -> dict[str, Callable[[], Subject]]:
    """Both ways to call the same model, the faster one for each quantised file; all optimisations are on."""
    return {
        RUN: lambda: _run(case, _session(float_file(case, folder), threads)),
        IO_BINDING: lambda: _io_binding(IO_BINDING, case, _session(float_file(case, folder), threads)),
        DYNAMIC: lambda: _io_binding(DYNAMIC, case, _session(dynamic_file(case, folder), threads)),
        QDQ: lambda: _io_binding(QDQ, case, _session(qdq_file(case, folder), threads)),
    }


def _session(path: Path, threads: int) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _detail() -> str:
    import onnxruntime as ort

    return f"onnxruntime {ort.__version__}"


def _run(case: Case, session: Any) -> Subject:
    """`run` with dictionaries: what the quick-start shows; the states that come out go in again."""
    names, outputs = input_names(case), output_names(case)
    feeds: dict[str, Array] = {}

    def reset() -> None:
        feeds.update(zip(names[1:], initial(case), strict=True))

    def step(x: Array) -> Array:
        feeds["x"] = x
        y, *states = session.run(outputs, feeds)
        feeds.update(zip(names[1:], states, strict=True))
        return y  # type: ignore[no-any-return]

    reset()
    return PythonSubject(RUN, _detail(), case, lambda row: row[None].copy(), reset, step)


def _io_binding(name: str, case: Case, session: Any) -> Subject:
    """Preallocated buffers, bound once; nothing is allocated or copied."""

    def bind(inputs: Sequence[Array], outputs: Sequence[Array]) -> Any:
        binding = session.io_binding()
        for port, buffer in zip(input_names(case), inputs, strict=True):
            binding.bind_input(port, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)
        for port, buffer in zip(output_names(case), outputs, strict=True):
            binding.bind_output(port, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)
        return binding

    # without RunOptions, which cost it 30 µs of checks in version 1.32
    return swapped(name, _detail(), case, bind, session.run_with_iobinding)
