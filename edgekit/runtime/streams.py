"""Streams: one running copy of a program with its own state, on one of three engines.

Every stream speaks arrays in the order of the entry's inputs and outputs: float32 with spikes as 0.0 and 1.0, or in an
integer program each value's own dtype with spikes as int8 (`Graph.port_dtype`).
"""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError, StateError, ToolchainError
from edgekit.ir import Entry, Graph
from edgekit.ir.widths import FULL, width_entry
from edgekit.reference import Interpreter, Values, pack_states, unpack_states
from edgekit.toolchain import Machine
from edgekit.toolchain.machine import CallResult

Array = npt.NDArray[Any]
ALIGN = 64  # of the struct that holds a stream's state
CHUNK = 256  # steps per call of an emulated run
NONFINITE, BAD_BLOB = 1, 2  # what a program returns when it refuses


class Stream(Protocol):
    """What every engine offers for one stream."""

    @property
    def engine(self) -> str:
        """Which engine this is, in words."""

    def call(self, entry: str, inputs: Sequence[Array]) -> list[Array]:
        """Run an entry once; arrays of the step's shapes."""

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run the step over [T, *shape] arrays."""

    def reset(self) -> None:
        """States with the policy `reset` start again; `keep` states stay."""

    def save(self) -> bytes:
        """The state blob."""

    def restore(self, blob: bytes) -> None:
        """Take over a state blob; StateError when it does not belong here."""

    def fork(self) -> Stream:
        """Another stream of the same program, in the initial state."""


def refused(code: int, entry: str, graph: Graph, inputs: Sequence[Array]) -> Exception:
    """The error for a program's return code."""
    if code == NONFINITE:
        names = [n for n, a in zip(graph.entries[entry].inputs, inputs, strict=True) if not np.isfinite(a).all()]
        name = names[0] if names else entry
        return DataError(f"input {name!r}", "holds NaN or Inf", "the step is refused and the state is untouched")
    if code == BAD_BLOB:
        return StateError("state blob", "belongs to another program, is damaged, or holds NaN or Inf")
    return ToolchainError(f"entry {entry!r}", f"returned the unknown code {code}")


def _first_call(width: int) -> tuple[Any, ...]:
    """The function of a program that begins a stream, and its arguments after the struct."""
    return ("init",) if width == FULL else ("init_width", width)


class ReferenceStream:
    """A stream on the numpy reference interpreter: slow, needs nothing but numpy, and is the specification."""

    engine = "reference (numpy interpreter)"

    def __init__(self, graph: Graph, width: int = FULL) -> None:
        self._graph, self._interpreter = graph, Interpreter(graph)
        self._width, self._step = width, width_entry(width)
        self._state: Values = self._interpreter.initial_state()

    def call(self, entry: str, inputs: Sequence[Array]) -> list[Array]:
        entry = self._step if entry == "step" else entry
        names = self._interpreter.entry(entry).inputs
        given = {n: a[None] for n, a in zip(names, inputs, strict=True)}
        outputs, self._state = self._interpreter.execute(given, self._state, entry)
        names = self._interpreter.entry(entry).outputs
        return [outputs[n][0].astype(self._graph.port_dtype(n)) for n in names]

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        entry = self._interpreter.entry(self._step)
        given = {n: a[None] for n, a in zip(entry.inputs, inputs, strict=True)}
        outputs, self._state = self._interpreter.run(given, self._state, self._step)
        return [outputs[n][0].astype(self._graph.port_dtype(n)) for n in entry.outputs]

    def reset(self) -> None:
        self._state = self._interpreter.reset(self._state)

    def save(self) -> bytes:
        return pack_states(self._graph, {n: a[0] for n, a in self._state.items()})

    def restore(self, blob: bytes) -> None:
        self._state = {n: a[None] for n, a in unpack_states(self._graph, blob).items()}

    def fork(self) -> ReferenceStream:
        return ReferenceStream(self._graph, self._width)


class NativeProgram:
    """A library of this computer's own machine code, loaded once and shared by its streams."""

    def __init__(self, graph: Graph, library: bytes, engine: str) -> None:
        self.graph, self.engine = graph, engine
        # A path of its own for each library: the loader takes a path it has seen for the library it has seen.
        with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
            path = Path(folder) / f"{graph.name}.so"
            path.write_bytes(library)
            try:
                self._library = ctypes.CDLL(str(path))
            except OSError as error:
                raise ToolchainError("native library", f"cannot be loaded: {error}") from error
        self.struct_bytes = int(self.function("sizeof")())
        self.state_bytes = int(self.function("state_bytes")())

    def function(self, name: str) -> Any:
        """The exported function `ek_<model>_<name>`."""
        try:
            return self._library[f"ek_{self.graph.name}_{name}"]
        except AttributeError:
            raise ToolchainError("native library", f"does not export ek_{self.graph.name}_{name}") from None


def _aligned(nbytes: int) -> tuple[Any, ctypes.c_void_p]:
    """A zeroed buffer and the 64-byte aligned address inside it."""
    buffer = ctypes.create_string_buffer(nbytes + ALIGN)
    return buffer, ctypes.c_void_p(-(-ctypes.addressof(buffer) // ALIGN) * ALIGN)


class _Port:
    """The fixed buffers of one entry, with the arguments of its call made once."""

    def __init__(self, program: NativeProgram, entry: Entry, struct: ctypes.c_void_p) -> None:
        tensors = program.graph.tensors
        self.inputs = [np.zeros(tensors[n].shape, program.graph.port_dtype(n)) for n in entry.inputs]
        self.outputs = [np.zeros(tensors[n].shape, program.graph.port_dtype(n)) for n in entry.outputs]
        self.function = program.function(entry.name)
        self.arguments = (struct, *(ctypes.c_void_p(a.ctypes.data) for a in (*self.inputs, *self.outputs)))


class NativeStream:
    """A stream on machine code: the caller-owned struct is a buffer of this object."""

    def __init__(self, program: NativeProgram, width: int = FULL) -> None:
        self.engine, self._width = program.engine, width
        self._program, self._graph = program, program.graph
        self._buffer, self._struct = _aligned(program.struct_bytes)
        self._ports = {e.name: _Port(program, e, self._struct) for e in program.graph.entries.values()}
        self._run = program.function("run")
        self._simple(*_first_call(width))

    @property
    def struct(self) -> ctypes.c_void_p:
        """Where the program's struct lies, for functions of it that a stream does not offer."""
        return self._struct

    def _simple(self, name: str, *arguments: object) -> None:
        if code := self._program.function(name)(self._struct, *arguments):
            raise refused(code, name, self._graph, [])

    def call(self, entry: str, inputs: Sequence[Array]) -> list[Array]:
        port = self._ports[entry]
        for buffer, array in zip(port.inputs, inputs, strict=True):
            buffer[...] = array
        if code := port.function(*port.arguments):
            raise refused(code, entry, self._graph, inputs)
        return [a.copy() for a in port.outputs]

    def bind_step(self) -> Callable[[Array], Array]:
        """A function for one step of a program with one input and one output: no lookups, one foreign call."""
        port = self._ports["step"]
        (source,), (result,) = port.inputs, port.outputs
        function, arguments, graph = port.function, port.arguments, self._graph

        def step(x: Array) -> Array:
            source[...] = x
            if code := function(*arguments):
                raise refused(code, "step", graph, [x])
            return result.copy()

        return step

    def bind_raw_step(self) -> Callable[[Array], Array]:
        """The same for an integer program, raw in and real out: its own border, whose entries hand their buffers on."""
        before, port, after = (self._ports[name] for name in ("quantize", "step", "dequantize"))
        (raw,), (real,) = before.inputs, after.outputs
        struct, *_ = port.arguments
        quantised = (struct, *(ctypes.c_void_p(a.ctypes.data) for a in (*before.inputs, *port.inputs)))
        dequantised = (struct, *(ctypes.c_void_p(a.ctypes.data) for a in (*port.outputs, *after.outputs)))
        calls = ((before.function, quantised), (port.function, port.arguments), (after.function, dequantised))
        graph = self._graph

        def step(x: Array) -> Array:
            raw[...] = x
            for function, arguments in calls:
                if code := function(*arguments):
                    raise refused(code, "step", graph, [x])
            return real.copy()

        return step

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        steps = inputs[0].shape[0]
        graph, entry = self._graph, self._graph.entries["step"]
        flat = [np.ascontiguousarray(a, dtype=graph.port_dtype(n)) for n, a in zip(entry.inputs, inputs, strict=True)]
        outputs = [np.empty((steps, *graph.tensors[n].shape), graph.port_dtype(n)) for n in entry.outputs]
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*flat, *outputs)]
        if code := self._run(self._struct, ctypes.c_uint32(steps), *pointers):
            raise refused(code, "step", self._graph, inputs)
        return outputs

    def reset(self) -> None:
        self._simple("reset")

    def save(self) -> bytes:
        blob = ctypes.create_string_buffer(self._program.state_bytes)
        self._simple("save", blob)
        return blob.raw

    def restore(self, blob: bytes) -> None:
        self._simple("restore", ctypes.c_char_p(blob), ctypes.c_uint32(len(blob)))

    def fork(self) -> NativeStream:
        return NativeStream(self._program, self._width)

    def nonfinite(self) -> int:
        """How many inputs of an integer program's own `quantize` were NaN or Inf."""
        return int(self._program.function("nonfinite")(self._struct))


class MachineStream:
    """A stream in an emulator: the target's own machine code, its instructions counted where the machine can."""

    def __init__(self, graph: Graph, machine: Machine, engine: str, width: int = FULL) -> None:
        self.engine, self._width = engine, width
        self._graph, self._machine = graph, machine
        self._struct = machine.alloc(self._value("sizeof"))
        self._blob_bytes = self._value("state_bytes")
        self._blob = machine.alloc(self._blob_bytes)
        self._areas: dict[tuple[str, int], list[int]] = {}
        self.counting = False
        self._counter = [0]  # shared with forks: what all streams of this machine have executed
        self._simple(*_first_call(width))

    def _symbol(self, name: str) -> str:
        return f"ek_{self._graph.name}_{name}"

    def _value(self, name: str) -> int:
        return self._machine.call(self._symbol(name), count=False).value

    def _simple(self, name: str, *arguments: int) -> None:
        if code := self._machine.call(self._symbol(name), [self._struct, *arguments], count=False).value:
            raise refused(code, name, self._graph, [])

    def _port(self, name: str) -> np.dtype[Any]:
        """The dtype of a value in the machine's memory: every target is little-endian."""
        return self._graph.port_dtype(name).newbyteorder("<")

    def _addresses(self, entry: Entry, most: int) -> list[int]:
        """Buffers for up to `most` steps of an entry, made once: the machine has no way to give memory back."""
        key = entry.name, most
        if key not in self._areas:
            names = (*entry.inputs, *entry.outputs)
            sizes = [self._port(n).itemsize * self._graph.tensors[n].size for n in names]
            self._areas[key] = [self._machine.alloc(most * size, align=4) for size in sizes]
        return self._areas[key]

    def _execute(
        self,
        symbol: str,
        entry: Entry,
        steps: int,
        inputs: Sequence[Array],
        extra: Sequence[int],
        *,
        watch: bool = False,
    ) -> tuple[list[Array], CallResult]:
        addresses = self._addresses(entry, 1 if steps == 1 else CHUNK)
        split = len(entry.inputs)
        for address, array, name in zip(addresses[:split], inputs, entry.inputs, strict=True):
            self._machine.write(address, np.ascontiguousarray(array, dtype=self._port(name)).tobytes())
        function = self._symbol(symbol)
        watched = function if watch else None
        arguments = [self._struct, *extra, *addresses]
        result = self._machine.call(function, arguments, count=self.counting or watch, watch=watched, stack=watch)
        if result.value:
            raise refused(result.value, entry.name, self._graph, inputs)
        if self.counting and result.instructions is not None:
            self._counter[0] += result.instructions
        outputs = []
        for address, name in zip(addresses[split:], entry.outputs, strict=True):
            tensor = self._graph.tensors[name]
            wire = self._port(name)
            raw = self._machine.read(address, wire.itemsize * steps * tensor.size)
            outputs.append(np.frombuffer(raw, wire).astype(wire.newbyteorder("=")).reshape(steps, *tensor.shape))
        return outputs, result

    def call(self, entry: str, inputs: Sequence[Array]) -> list[Array]:
        return [a[0] for a in self._execute(entry, self._graph.entries[entry], 1, inputs, ())[0]]

    def measure(self, entry: str, inputs: Sequence[Array]) -> tuple[list[Array], CallResult]:
        """Run an entry once: its outputs, its stack, and its instructions in all, by function, and by each call."""
        outputs, result = self._execute(entry, self._graph.entries[entry], 1, inputs, (), watch=True)
        return [a[0] for a in outputs], result

    def measure_init(self) -> CallResult:
        """Begin anew: the stack and the instructions of that."""
        name = self._symbol("init")
        return self._machine.call(name, [self._struct], watch=name, stack=True)

    def measure_run(self, inputs: Sequence[Array]) -> CallResult:
        """Run up to CHUNK steps at once: the stack and instructions of all of them."""
        steps = inputs[0].shape[0]
        return self._execute("run", self._graph.entries["step"], steps, inputs, (steps,), watch=True)[1]

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        if not all(np.isfinite(a).all() for a in inputs):  # a run is refused as a whole, though it goes in pieces
            raise refused(NONFINITE, "step", self._graph, inputs)
        parts = []
        for start in range(0, inputs[0].shape[0], CHUNK):
            piece = [a[start : start + CHUNK] for a in inputs]
            steps = piece[0].shape[0]
            parts.append(self._execute("run", self._graph.entries["step"], steps, piece, (steps,))[0])
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]

    def reset(self) -> None:
        self._simple("reset")

    def save(self) -> bytes:
        self._simple("save", self._blob)
        return self._machine.read(self._blob, self._blob_bytes)

    def restore(self, blob: bytes) -> None:
        if len(blob) != self._blob_bytes:
            raise StateError("state blob", f"has {len(blob)} bytes, this program's has {self._blob_bytes}")
        self._machine.write(self._blob, blob)
        self._simple("restore", self._blob, len(blob))

    def fork(self) -> MachineStream:
        stream = MachineStream(self._graph, self._machine, self.engine, self._width)
        stream.counting, stream._counter = self.counting, self._counter
        return stream

    @property
    def core(self) -> str:
        """The emulated core."""
        return self._machine.core

    @property
    def counts(self) -> bool:
        """Whether this machine can count instructions at all."""
        return self._machine.counts

    def total_instructions(self) -> int:
        """Instructions counted so far in steps and runs, by this stream and its forks."""
        return self._counter[0]
