"""OpenVINO: the step from its ONNX file; a plain call, and two requests whose state buffers swap roles."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.bench.cases import Case
from edgekit.bench.peers.onnx_files import float_file, qdq_file
from edgekit.bench.peers.step import initial
from edgekit.bench.stimuli import Array
from edgekit.bench.subject import PythonSubject, Subject

PLAIN, BOUND, QDQ = "OpenVINO fp32, infer", "OpenVINO fp32, bound buffers", "OpenVINO QDQ int8, bound buffers"


def subjects(case: Case, folder: Path, threads: int) -> dict[str, Callable[[], Subject]]:
    """Both ways to call it, and int8 from the file that ONNX Runtime quantised."""
    return {
        PLAIN: lambda: _plain(case, _compiled(float_file(case, folder), threads)),
        BOUND: lambda: _bound(BOUND, case, _compiled(float_file(case, folder), threads)),
        QDQ: lambda: _bound(QDQ, case, _compiled(qdq_file(case, folder), threads)),
    }


def _detail() -> str:
    return f"OpenVINO {version('openvino')}"


def _compiled(path: Path, threads: int) -> Any:
    openvino: Any = import_module("openvino")
    settings = {
        **{"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"},
        "INFERENCE_PRECISION_HINT": "f32",  # a processor with bfloat16 would compute in it
    }
    return openvino.Core().compile_model(openvino.convert_model(str(path)), "CPU", settings)


def _plain(case: Case, model: Any) -> Subject:
    request = model.create_infer_request()
    count = 1 + len(case.module.names)
    states: list[Array] = []

    def reset() -> None:
        states[:] = initial(case)

    def step(x: Array) -> Any:
        outputs = request.infer([x, *states], share_inputs=True)
        states[:] = [outputs[at] for at in range(1, count)]
        return outputs[0]

    reset()
    return PythonSubject(PLAIN, _detail(), case, lambda row: row[None].copy(), reset, step)


def _bound(name: str, case: Case, model: Any) -> Subject:
    openvino: Any = import_module("openvino")
    x, y = np.zeros((1, case.stimulus.shape[1]), np.float32), np.zeros((1, case.expected.shape[1]), np.float32)
    sets = initial(case), initial(case)

    def shared(array: Array) -> Any:
        return openvino.Tensor(array, shared_memory=True)

    requests = []
    for now, following in (sets, sets[::-1]):
        request = model.create_infer_request()
        for at, (given, taken) in enumerate(zip((x, *now), (y, *following), strict=True)):
            request.set_input_tensor(at, shared(given))
            request.set_output_tensor(at, shared(taken))
        requests.append(request)
    # the class below the documented one: `infer` of that one looks at every tensor again, which takes most of a step
    infer: Any = import_module("openvino._pyopenvino").InferRequest.infer
    turn = 0

    def reset() -> None:
        nonlocal turn
        turn = 0
        for buffer, value in zip(sets[0], initial(case), strict=True):
            buffer[...] = value

    def step(row: Array) -> Array:
        nonlocal turn
        x[...] = row
        infer(requests[turn], {}, True, False)
        turn ^= 1
        return y

    return PythonSubject(name, _detail(), case, lambda row: row[None].copy(), reset, step)
