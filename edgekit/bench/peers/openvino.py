"""OpenVINO: the step from its ONNX file; a plain call, and two requests whose state buffers swap roles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgekit.bench.cases import Case
from edgekit.bench.peers.onnx_files import float_file, qdq_file
from edgekit.bench.peers.step import initial
from edgekit.bench.peers.swapped import swapped
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
    # the class below the documented one: `infer` of that one looks at every tensor again, which takes most of a step
    infer: Any = import_module("openvino._pyopenvino").InferRequest.infer

    def bind(inputs: Sequence[Array], outputs: Sequence[Array]) -> Any:
        request = model.create_infer_request()
        for at, (given, taken) in enumerate(zip(inputs, outputs, strict=True)):
            request.set_input_tensor(at, openvino.Tensor(given, shared_memory=True))
            request.set_output_tensor(at, openvino.Tensor(taken, shared_memory=True))
        return request

    return swapped(name, _detail(), case, bind, lambda request: infer(request, {}, True, False))
