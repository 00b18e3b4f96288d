"""edgekit's own two subjects: the native step in a C loop, and `Session.step` called from Python."""

from __future__ import annotations

import ctypes
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.bench.cases import Array, Case
from edgekit.bench.subject import PythonSubject, Subject
from edgekit.convert import Conversion
from edgekit.errors import ToolchainError
from edgekit.runtime import load
from edgekit.runtime.streams import ALIGN, NativeProgram
from edgekit.target import load_target
from edgekit.toolchain import build_shared

NATIVE, SESSION = "edgekit, C loop", "edgekit, Session.step"
LOOP = "loop.c"
_POINTER, _COUNT = ctypes.c_void_p, ctypes.c_uint32


class NativeLoop:
    """The converted program's own machine code, called from a loop in C as a firmware calls it."""

    name = NATIVE

    def __init__(self, case: Case, conversion: Conversion) -> None:
        program = conversion.program
        self.detail = f"{load_target('host').simd}, {program.compiler}"
        native = NativeProgram(conversion.artifact.graph, program.library, self.detail)
        self._init, self._step = native.function("init"), ctypes.cast(native.function("step"), _POINTER)
        self._loop = _load_loop()
        self._stimulus, self._y = case.stimulus, np.zeros_like(case.expected)
        self._x = np.zeros(case.stimulus.shape[1], np.float32)
        room = np.zeros(native.struct_bytes + ALIGN, np.uint8)
        self._struct = room[-room.ctypes.data % ALIGN :]
        self._start()

    def _start(self) -> None:
        _check("init", self._init(_POINTER(self._struct.ctypes.data)))

    def _go(self, steps: int, y_stride: int) -> None:
        struct, stimulus, x, y = (a.ctypes.data for a in (self._struct, self._stimulus, self._x, self._y))
        rows, width = self._stimulus.shape
        _check("step", self._loop(self._step, struct, steps, stimulus, rows, width, x, y, y_stride))

    def replay(self) -> Array:
        self._start()
        self._go(*self._y.shape)
        return self._y.copy()

    def spin(self, steps: int) -> None:
        self._go(steps, 0)


def own_subjects(case: Case, conversion: Conversion) -> list[Subject]:
    """The native loop and the session, of a conversion for this computer."""
    session = load(conversion.artifact, engine="native")
    return [
        NativeLoop(case, conversion),
        PythonSubject(SESSION, session.engine, list(case.stimulus), session.reset, session.step),
    ]


def _check(name: str, code: int) -> None:
    if code:
        raise ToolchainError(f"benchmark {name}", f"was refused with code {code}")


def _load_loop() -> Any:
    """`ek_bench_loop` of loop.c, built like the programs it calls."""
    source = Path(__file__).with_name(LOOP).read_text(encoding="utf-8")
    library = build_shared({LOOP: source}, LOOP, load_target("host"))
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        path = Path(folder) / "loop.so"
        path.write_bytes(library)
        loop = ctypes.CDLL(str(path)).ek_bench_loop
    loop.argtypes = [_POINTER, _POINTER, _COUNT, _POINTER, _COUNT, _COUNT, _POINTER, _POINTER, _COUNT]
    return loop
