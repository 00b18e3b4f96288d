"""TFLite-Micro's interpreter with its reference kernels: whether it computes the step, and the arena that it takes."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.bench.cases import Case
from edgekit.bench.peers.carried import Encoding, carried
from edgekit.bench.peers.litert import FP32, STATIC, tflite_file
from edgekit.bench.subject import Subject
from edgekit.errors import ToolchainError

_ROOM = 1 << 24  # bytes, of which it takes what it needs


def subjects(case: Case, folder: Path, threads: int) -> dict[str, Callable[[], Subject]]:  # noqa: ARG001
    """Float32 and int8 throughout; it has no kernels for int8 weights with float activations, and one thread."""
    names = {"TFLite-Micro fp32": FP32, "TFLite-Micro static int8": STATIC}
    return {name: partial(_subject, name, case, folder, recipe) for name, recipe in names.items()}


def _subject(name: str, case: Case, folder: Path, recipe: str) -> Subject:
    path = tflite_file(case, folder, recipe)
    states = len(case.module.names)
    ports = _Ports(path, 1 + states)
    detail = f"TFLite-Micro {version('tflite-micro')}, reference kernels, arena of {ports.arena:,} bytes"
    return carried(name, detail, case, ports)


class _Ports:
    """Inputs and outputs in the order of the file, which is that of the step."""

    def __init__(self, path: Path, count: int) -> None:
        runtime: Any = import_module("tflite_micro.python.tflite_micro.runtime")
        self._interpreter: Any = runtime.Interpreter.from_file(str(path), arena_size=_ROOM)
        self.arena = _arena(self._interpreter)
        self.inputs = [_encoding(self._interpreter.get_input_details(at)) for at in range(count)]
        self.outputs = [_encoding(self._interpreter.get_output_details(at)) for at in range(count)]
        self.invoke: Callable[[], None] = self._interpreter.invoke

    def give(self, at: int, value: Any) -> None:
        """Set an input."""
        self._interpreter.set_input(value, at)

    def take(self, at: int) -> Any:
        """A copy of an output."""
        return self._interpreter.get_output(at)


def _arena(interpreter: Any) -> int:
    """Bytes of the arena that the model takes, which the interpreter says on stderr and nowhere else."""
    with tempfile.TemporaryFile() as said:
        before = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            interpreter.print_allocations()
        finally:
            os.dup2(before, 2)
            os.close(before)
        said.seek(0)
        found = re.search(rb"Arena allocation total (\d+) bytes", said.read())
    if found is None:
        raise ToolchainError("TFLite-Micro", "does not say how large its arena is")
    return int(found.group(1))


def _encoding(detail: Any) -> Encoding:
    found = detail.get("quantization_parameters", {})
    scales, zeros = found.get("scales", ()), found.get("zero_points", ())
    scale, zero = (float(scales[0]), int(zeros[0])) if len(scales) else (0.0, 0)
    return Encoding(np.dtype(detail["dtype"]), scale, zero)
