"""edgekit's own subjects: the native step of each precision in a C loop, and `Session.step` called from Python."""

from __future__ import annotations

import ctypes
from math import prod

import numpy as np

from edgekit.bench.cases import Case
from edgekit.bench.clock import Turn, clock
from edgekit.bench.native import COUNT, POINTER, aligned_bytes, native_function
from edgekit.bench.stimuli import Array
from edgekit.bench.subject import PythonSubject, Subject
from edgekit.convert import Conversion
from edgekit.errors import ToolchainError
from edgekit.ir import Graph
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
    """The converted program's own machine code, called from a loop in C as a firmware calls it: one that computes with
    integers between its `quantize` and its `dequantize`. `constants` are the address and the size in bytes of its
    weights and tables.
    """

    def __init__(self, case: Case, precision: str, conversion: Conversion) -> None:
        program, graph = conversion.program, conversion.artifact.graph
        self.name = native_name(precision)
        self.detail = f"edgekit {load_target('host').simd}, {program.compiler}"
        native = NativeProgram(graph, program.library, self.detail)
        self.constants = _constants(native, program.library)
        self._init = native.function("init")
        names = ("quantize", "step", "dequantize") if graph.is_integer else ("step",)
        self._functions = [ctypes.cast(native.function(name), POINTER) for name in names]
        buffers = len(names) + 1  # x, what is stored between, y
        arguments = (*[POINTER] * len(names), POINTER, COUNT, POINTER, COUNT, COUNT, *[POINTER] * buffers, COUNT)
        loop = "ek_bench_integer_loop" if graph.is_integer else "ek_bench_loop"
        self._loop = native_function("loop.c", loop, arguments)
        self._stored = _stored(graph) if graph.is_integer else []
        self._stimulus, self._ring = np.ascontiguousarray(case.stimulus), case.ring
        self._outputs = case.expected.shape[1]
        self._x = np.zeros(case.stimulus.shape[1], np.float32)
        self._y = np.zeros(self._outputs, np.float32)
        self._struct = aligned_bytes(native.struct_bytes)
        self._start()

    def _start(self) -> None:
        _check("init", self._init(POINTER(self._struct.ctypes.data)))

    def _go(self, stimulus: Array, steps: int, rows: int, y: Array, y_stride: int) -> None:
        between = [a.ctypes.data for a in (self._x, *self._stored, y)]
        struct, source = self._struct.ctypes.data, stimulus.ctypes.data
        _check("step", self._loop(*self._functions, struct, steps, source, rows, self._x.size, *between, y_stride))

    def run(self, windows: Array) -> Array:
        """Step outputs [N, T, outputs] of windows [N, T, features], each from reset."""
        outputs = np.zeros((*windows.shape[:2], self._outputs), np.float32)
        for window, y in zip(np.ascontiguousarray(windows, np.float32), outputs, strict=True):
            self._start()
            self._go(window, len(window), len(window), y, self._outputs)
        return outputs

    def turn(self, steps: int) -> Turn:
        """So many steps round the stimulus."""
        return clock(lambda count: self._go(self._stimulus, count, self._ring, self._y, 0), steps)


def session_subject(case: Case, conversion: Conversion) -> Subject:
    """The session of a conversion for this computer."""
    session = load(conversion.artifact, engine="native")
    return PythonSubject(SESSION, session.engine, case, lambda row: row, session.reset, session.step)


def _stored(graph: Graph) -> list[Array]:
    """Room for the integers that go in and come out of a step."""
    step = graph.entries["step"]
    return [np.zeros(prod(graph.tensors[n].shape), graph.port_dtype(n)) for n in (*step.inputs, *step.outputs)]


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
