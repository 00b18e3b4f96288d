"""A TensorRT engine of an exported step, built and tried on the Jetson that will run it. Untested on a device."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.artifact import Artifact
from edgekit.artifact.exported import StepDocument
from edgekit.deploy.asking import answer_to
from edgekit.deploy.probe import BoardFacts
from edgekit.errors import ReplayError, TargetError, UsageError
from edgekit.profile.ssh import Ssh
from edgekit.profile.ssh_said import printable_lines
from edgekit.runtime.exported import read_exported

MODEL, ENGINE = "model.onnx", "model.engine"
PID = "pid"  # which board.sh knows
BUILD_S, RUN_S = 3600.0, 120.0
TOLERANCE = 1e-3  # relative to the larger of 1 and the value: TensorRT chooses the order of its sums
_INPUT, _OUTPUT = "tensorrt-input", "tensorrt-output.json"


@dataclass(frozen=True, eq=False)
class Step:
    """An exported step to build an engine of: the file, and what it takes and gives."""

    model: bytes
    document: StepDocument

    @property
    def sha256(self) -> str:
        """That of the file."""
        return hashlib.sha256(self.model).hexdigest()


def read_step(path: Path, artifact: Artifact) -> Step:
    """The step in an .onnx file of the same model as an artifact; UsageError for what cannot be compared with it."""
    model, document = read_exported(path)
    graph = artifact.graph
    taken = [(port.name, port.shape) for port in (*document.inputs, *document.outputs)]
    taken += sorted((state.name, state.shape) for state in document.states)
    entry = graph.entries["step"]
    wanted = [(name, graph.tensors[name].shape) for name in (*entry.inputs, *entry.outputs)]
    wanted += sorted((state.tensor, graph.tensors[state.tensor].shape) for state in graph.states)
    if graph.is_integer or document.precision not in ("fp32", "w8"):
        raise UsageError(f"--tensorrt {path}", "is for programs of floats", "use an fp32 artifact and file")
    if taken != wanted:
        cause = f"takes, gives or keeps something else than artifact {artifact.name!r}"
        raise UsageError(f"--tensorrt {path}", cause, "export the same model: edgekit convert MODEL --format onnx")
    return Step(model, document)


def build_engine(board: Ssh, facts: BoardFacts, step: Step, artifact: Artifact) -> float:
    """Build an engine in the folder of a board, and run the first step of the self-test on it: its worst error.

    TargetError where there is no trtexec or it fails, ReplayError where the engine gives something else.
    """
    if facts.trtexec is None:
        raise TargetError(board.name, "has no trtexec", "on JetPack: sudo apt install libnvinfer-bin")
    values = {port.name: artifact.selftest.inputs[port.name][0] for port in step.document.inputs}
    values |= {state.input: state.init for state in step.document.states}
    stored = {name: np.asarray(value, np.float32) for name, value in values.items()}
    files = {f"{_INPUT}{at}": value.tobytes() for at, value in enumerate(stored.values())}
    board.put({MODEL: step.model, **files})
    shapes = ",".join(f"{name}:{'x'.join(map(str, (1, *value.shape)))}" for name, value in stored.items())
    inputs = ",".join(f"{name}:{file}" for name, file in zip(stored, files, strict=True))
    build = [f"--onnx={MODEL}", f"--saveEngine={ENGINE}", "--noTF32"]
    build += [f"--{kind}Shapes={shapes}" for kind in ("min", "opt", "max")]
    run = [f"--loadEngine={ENGINE}", f"--shapes={shapes}", f"--loadInputs={inputs}", f"--exportOutput={_OUTPUT}"]
    _trtexec(board, facts.trtexec, build, BUILD_S, "does not build an engine of it")
    _trtexec(board, facts.trtexec, [*run, "--iterations=1", "--duration=0", "--warmUp=0"], RUN_S, "does not run it")
    folder = shlex.quote(board.folder)
    _, answer, _ = answer_to(
        board, f"cd {folder} && test -s {ENGINE} && cat {_OUTPUT} && rm {' '.join(files)} {_OUTPUT} {PID}"
    )
    return _compare(board, _outputs(board, answer), artifact)


def _trtexec(board: Ssh, trtexec: str, options: list[str], limit_s: float, cause: str) -> None:
    words = " ".join(map(shlex.quote, (trtexec, *options)))
    # Its number, by which the shell that holds the folder ends it when the connection ends.
    script = f"cd {shlex.quote(board.folder)} && {{ {words} & echo $! >{PID}; wait $!; }}"
    code, said, messages = board.do(script, b"", limit_s)
    if code:
        lines = printable_lines(said.decode("utf-8", "replace") + messages).splitlines()
        faults = [line for line in lines if "[E]" in line] or lines
        raise TargetError(f"trtexec on {board.name}", cause, "it says:", faults[-4:])


def _outputs(board: Ssh, answer: str) -> dict[str, npt.NDArray[np.float32]]:
    """The outputs that trtexec has written down."""
    try:
        rows: list[Mapping[str, Any]] = json.loads(answer)
        return {str(row["name"]): np.asarray(row["values"], np.float32).ravel() for row in rows}
    except (ValueError, TypeError, KeyError) as error:
        cause = "wrote down no outputs that can be read"
        raise TargetError(f"trtexec on {board.name}", cause, "is it another version?") from error


def _compare(board: Ssh, found: Mapping[str, npt.NDArray[np.float32]], artifact: Artifact) -> float:
    worst = 0.0
    for name, steps in artifact.selftest.outputs.items():
        wanted = np.asarray(steps[0], np.float32).ravel()
        got = found.get(name)
        if got is None or got.shape != wanted.shape:
            raise ReplayError(f"engine on {board.name}", f"gives no output {name!r} of {wanted.size} values")
        error = float(np.max(np.abs(got - wanted) / np.maximum(1, np.abs(wanted)), initial=0.0))
        if not error <= TOLERANCE:
            cause = f"output {name!r} differs by {error:.2g} at the first step, allowed {TOLERANCE:.0e}"
            raise ReplayError(f"engine on {board.name}", cause, "please report this")
        worst = max(worst, error)
    return worst
