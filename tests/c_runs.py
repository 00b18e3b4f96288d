"""Run a C program in this process or in the emulator through one interface, with guard bytes around every buffer."""

from __future__ import annotations

import ctypes
import tempfile
from pathlib import Path

import numpy as np

from edgekit.backends.c import Program, emit
from edgekit.ir import Graph
from edgekit.passes.plan_memory import plan_memory
from edgekit.target import load_target
from edgekit.toolchain import Emulator, build_shared

GUARD, FILL = 256, 0xA5


def compiled(graph: Graph, **options: int) -> Program:
    """The C program of a lowered graph."""
    return emit(graph, plan_memory(graph), **options)


class Guarded:
    """A buffer of this process between guard bytes."""

    def __init__(self, nbytes: int, offset: int = 0) -> None:
        self.nbytes = nbytes
        self._raw = np.full(nbytes + 2 * GUARD + 64, FILL, np.uint8)
        self._at = GUARD + (-(self._raw.ctypes.data + GUARD)) % 64 - 64 * (offset > 0) + offset

    @property
    def address(self) -> int:
        return self._raw.ctypes.data + self._at

    @property
    def data(self) -> np.ndarray:
        return self._raw[self._at : self._at + self.nbytes]

    def check(self) -> None:
        assert (self._raw[: self._at] == FILL).all(), "wrote before the buffer"
        assert (self._raw[self._at + self.nbytes :] == FILL).all(), "wrote past the buffer"


class Native:
    """A program compiled for this machine and called through ctypes. Buffers of the caller are unaligned on purpose."""

    def __init__(self, graph: Graph, compiler: str, flags: tuple[str, ...] = (), **options: int) -> None:
        self.graph, self.program = graph, compiled(graph, **options)
        library = build_shared(
            self.program.files, self.program.main, load_target("host"), compiler=compiler, extra_flags=flags
        )
        with tempfile.NamedTemporaryFile(suffix=".so") as file:
            Path(file.name).write_bytes(library)
            self._lib = ctypes.CDLL(file.name)
        self._model = Guarded(self.program.struct_bytes)
        assert self._call("sizeof", model=False) == self.program.struct_bytes
        assert self._call("init") == 0

    def _call(self, name: str, *args: object, model: bool = True) -> int:
        function = getattr(self._lib, f"ek_{self.program.name}_{name}")
        pointers = [ctypes.c_void_p(self._model.address)] if model else []
        for arg in args:
            pointers.append(ctypes.c_void_p(arg.address) if isinstance(arg, Guarded) else ctypes.c_uint32(int(arg)))
        code = int(function(*pointers))
        for arg in (self._model, *args):
            if isinstance(arg, Guarded):
                arg.check()
        return code

    def entry(self, name: str, *inputs: np.ndarray, steps: int | None = None) -> tuple[int, list[np.ndarray]]:
        """Return code and outputs of one entry; with `steps`, of `run` over arrays [T, …]."""
        entry, lead = self.graph.entries[name], () if steps is None else (steps,)
        buffers = []
        for array in inputs:
            buffers.append(Guarded(4 * array.size, offset=4))
            buffers[-1].data[:] = np.ascontiguousarray(array, np.float32).reshape(-1).view(np.uint8)
        shapes = [(*lead, *self.graph.tensors[n].shape) for n in entry.outputs]
        outputs = [Guarded(4 * int(np.prod(shape)), offset=4) for shape in shapes]
        code = self._call(name if steps is None else "run", *([] if steps is None else [steps]), *buffers, *outputs)
        return code, [o.data.view(np.float32).reshape(s).copy() for o, s in zip(outputs, shapes, strict=True)]

    def reset(self) -> None:
        assert self._call("reset") == 0

    def save(self) -> bytes:
        blob = Guarded(self._call("state_bytes", model=False), offset=1)
        assert self._call("save", blob) == 0
        return blob.data.tobytes()

    def restore(self, data: bytes) -> int:
        blob = Guarded(len(data), offset=1)
        blob.data[:] = np.frombuffer(data, np.uint8)
        return self._call("restore", blob, len(data))


class Emulated:
    """A program compiled for a device, the Raspberry Pi 4 unless named, in an emulator whose memory ends in pages that
    fault.
    """

    def __init__(self, graph: Graph, device: str = "raspberrypi4", **options: int) -> None:
        self.graph, self.program = graph, compiled(graph, **options)
        target = load_target(device)
        self.emulator = Emulator(build_shared(self.program.files, self.program.main, target, compiler="zig"), target)
        self._model = self.emulator.alloc(self.program.struct_bytes)
        sizes = {n: 4 * t.size for n, t in graph.tensors.items()}
        values = {n for e in graph.entries.values() for n in (*e.inputs, *e.outputs)}
        self._buffers = {n: self.emulator.alloc(sizes[n], 4) for n in values}
        self.instructions = 0
        self.by_symbol: dict[str, int] = {}
        self.emulator.call(f"ek_{self.program.name}_init", [self._model])

    def entry(self, name: str, *inputs: np.ndarray) -> tuple[int, list[np.ndarray]]:
        """Return code and outputs of one entry; `instructions` and `by_symbol` then tell what it cost."""
        entry, prefix = self.graph.entries[name], f"ek_{self.program.name}"
        for value, array in zip(entry.inputs, inputs, strict=True):
            self.emulator.write(self._buffers[value], np.ascontiguousarray(array, np.float32).tobytes())
        pointers = [self._model, *(self._buffers[n] for n in (*entry.inputs, *entry.outputs))]
        result = self.emulator.call(f"{prefix}_{name}", pointers)
        self.instructions, self.by_symbol = result.instructions or 0, dict(result.by_symbol)
        outputs = []
        for value in entry.outputs:
            shape = self.graph.tensors[value].shape
            raw = self.emulator.read(self._buffers[value], 4 * int(np.prod(shape)))
            outputs.append(np.frombuffer(raw, np.float32).reshape(shape))
        return result.value, outputs

    def close(self) -> None:
        self.emulator.close()
