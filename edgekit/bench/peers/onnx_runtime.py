"""ONNX Runtime: the step exported by torch.onnx with its states as inputs and outputs; plain `run` and io-binding."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.bench.cases import Case
from edgekit.bench.packages import hushed, require
from edgekit.bench.stimuli import Array
from edgekit.bench.subject import PythonSubject, Subject
from edgekit.errors import ToolchainError

RUN, IO_BINDING = "ONNX Runtime, run", "ONNX Runtime, io-binding"


def subjects(case: Case) -> list[Subject]:
    """Both ways to call the same model; every check and optimisation of ONNX Runtime is on, its threads are one."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require(package)
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    session = ort.InferenceSession(export_onnx(case), options, providers=["CPUExecutionProvider"])
    detail = f"onnxruntime {ort.__version__}"
    return [_run(case, session, detail), _io_binding(case, session, detail)]


def export_onnx(case: Case) -> bytes:
    """The step as an ONNX model: inputs x and the states, outputs y and the next states, batch 1."""
    import torch

    class Step(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = case.module

        def forward(self, x: Any, *states: Any) -> Any:
            y, following = self.model.step(x, dict(zip(self.model.names, states, strict=True)))
            return (y, *(following[name] for name in self.model.names))

    names = list(case.module.names)
    example = (torch.from_numpy(case.stimulus[:1]), *case.module.init_state(1).values())
    following = [f"{name}.next" for name in names]
    with hushed():
        program = torch.onnx.export(
            Step().eval(),
            example,
            input_names=["x", *names],
            output_names=["y", *following],
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ToolchainError("torch.onnx.export", f"made no model of {case.name}")
    model: bytes = program.model_proto.SerializeToString()
    return model


def _initial(case: Case) -> dict[str, Array]:
    return {name: value.detach().numpy().copy() for name, value in case.module.init_state(1).items()}


def _run(case: Case, session: Any, detail: str) -> Subject:
    """`run` with dictionaries: what the quick-start shows; the states that come out go in again."""
    names = list(case.module.names)
    feeds: dict[str, Array] = {}

    def reset() -> None:
        feeds.update(_initial(case))

    def step(x: Array) -> Array:
        feeds["x"] = x
        y, *states = session.run(None, feeds)
        feeds.update(zip(names, states, strict=True))
        return y  # type: ignore[no-any-return]

    reset()
    return PythonSubject(RUN, detail, list(case.stimulus[:, None]), case.ring, reset, step)


def _io_binding(case: Case, session: Any, detail: str) -> Subject:
    """Preallocated buffers, bound once: two sets of states take turns as input and output, so no state is copied."""
    x, y = np.zeros((1, case.stimulus.shape[1]), np.float32), np.zeros((1, case.expected.shape[1]), np.float32)
    sets = _initial(case), _initial(case)
    bindings = []
    for now, following in (sets, sets[::-1]):
        binding = session.io_binding()
        for name, buffer in (("x", x), *now.items()):
            binding.bind_input(name, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)
        for name, buffer in (("y", y), *((f"{name}.next", value) for name, value in following.items())):
            binding.bind_output(name, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)
        bindings.append(binding)
    turn = 0
    run = session.run_with_iobinding

    def reset() -> None:
        nonlocal turn
        turn = 0
        for name, value in _initial(case).items():
            sets[0][name][...] = value

    def step(row: Array) -> Array:
        nonlocal turn
        x[...] = row
        run(bindings[turn])
        turn ^= 1
        return y

    return PythonSubject(IO_BINDING, detail, list(case.stimulus[:, None]), case.ring, reset, step)
