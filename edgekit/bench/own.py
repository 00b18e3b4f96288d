"""edgekit's own subjects: the native step of each precision in a C loop, and `Session.step` called from Python."""

from __future__ import annotations

import ctypes

import numpy as np

from edgekit.bench.cases import Case
from edgekit.bench.native import COUNT, POINTER, aligned_bytes, native_function
from edgekit.bench.stimuli import Array
from edgekit.bench.subject import PythonSubject, Subject
from edgekit.convert import Conversion
from edgekit.errors import ToolchainError
from edgekit.runtime import load
from edgekit.runtime.streams import NativeProgram
from edgekit.target import load_target
from edgekit.toolchain import load_image
from edgekit.toolchain.elf import READ

SESSION = "edgekit fp32, Session.step"


def native_name(precision: str) -> str:
    """What the tables call the C loop of a precision."""
    return f"edgekit {precision}, C loop"


class NativeLoop:
    """The converted program's own machine code, called from a loop in C as a firmware calls it; `constants` are the
    address and the size in bytes of its weights and tables.
    """

    def __init__(self, case: Case, precision: str, conversion: Conversion) -> None:
        program = conversion.program
        self.name = native_name(precision)
        self.detail = f"edgekit {load_target('host').simd}, {program.compiler}"
        native = NativeProgram(conversion.artifact.graph, program.library, self.detail)
        self.constants = _constants(native, program.library)
        self._init, self._step = native.function("init"), ctypes.cast(native.function("step"), POINTER)
        arguments = (POINTER, POINTER, COUNT, POINTER, COUNT, COUNT, POINTER, POINTER, COUNT)
        self._loop = native_function("loop.c", "ek_bench_loop", arguments)
        self._stimulus, self._y, self._ring = case.stimulus, np.zeros_like(case.expected), case.ring
        self._x = np.zeros(case.stimulus.shape[1], np.float32)
        self._struct = aligned_bytes(native.struct_bytes)
        self._start()

    def _start(self) -> None:
        _check("init", self._init(POINTER(self._struct.ctypes.data)))

    def _go(self, steps: int, rows: int, y_stride: int) -> None:
        struct, stimulus, x, y = (a.ctypes.data for a in (self._struct, self._stimulus, self._x, self._y))
        _check("step", self._loop(self._step, struct, steps, stimulus, rows, self._x.size, x, y, y_stride))

    def replay(self) -> Array:
        self._start()
        steps, outputs = self._y.shape
        self._go(steps, steps, outputs)
        return self._y.copy()

    def spin(self, steps: int) -> None:
        self._go(steps, self._ring, 0)


def session_subject(case: Case, conversion: Conversion) -> Subject:
    """The session of a conversion for this computer."""
    session = load(conversion.artifact, engine="native")
    return PythonSubject(SESSION, session.engine, list(case.stimulus), case.ring, session.reset, session.step)


def _constants(native: NativeProgram, library: bytes) -> tuple[int, int]:
    """Where the read-only data of a loaded library are: the part of it that is neither code nor has to be relocated."""
    image = load_image(library)
    step = ctypes.cast(native.function("step"), POINTER).value or 0
    base = step - image.function(f"ek_{native.graph.name}_step").address
    segment = max((s for s in image.segments if s.access == READ), key=lambda s: len(s.data))
    return base + segment.address, len(segment.data)


def _check(name: str, code: int) -> None:
    if code:
        raise ToolchainError(f"benchmark {name}", f"was refused with code {code}")
