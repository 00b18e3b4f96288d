"""The engines that integer programs are compared on: compilers and instruction sets here, emulated cores elsewhere.

Many programs share one library and one machine; `opened` gives a stream of each.
"""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from images import build_image

from edgekit.backends.c import emit
from edgekit.backends.c.integer import flavour_of
from edgekit.errors import ToolchainError
from edgekit.ir import Graph
from edgekit.passes.plan_memory import plan_memory
from edgekit.runtime.streams import MachineStream, NativeProgram, NativeStream, Stream
from edgekit.target import Target, list_targets, load_target
from edgekit.toolchain import (
    Emulator,
    Machine,
    QemuSystem,
    find_compiler,
)
from edgekit.toolchain.qemu_system import find_qemu_system

MAIN = "programs.c"
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Engine:
    """A target, how its code is compiled, and the machine that runs it; on the host programs run in this process."""

    name: str
    target: str
    compiler: str | None = None
    flags: tuple[str, ...] = ()
    machine: type[Machine] = Emulator

    @property
    def at_once(self) -> int:
        """How many random programs fit the memory of its machine."""
        return 10 if self.machine is QemuSystem else 20

    @property
    def there(self) -> bool:
        """Whether its compiler and its emulator are installed."""
        if self.machine is QemuSystem and find_qemu_system() is None:
            return False
        try:
            find_compiler(load_target(self.target), self.compiler)
        except ToolchainError:
            return False
        return True


HOST = {
    e.name: e
    for e in (
        Engine("x86 simd", "host", "zig"),
        Engine("x86 portable", "host", "zig", ("-DEK_FORCE_PORTABLE", "-O1")),
        Engine("gcc", "host", "gcc", ("-O3",)),
        Engine("clang", "host", "clang", ("-O1",)),
    )
}
CORES = {
    "raspberrypi4": "A72",
    "raspberrypi5": "A76",
    "stm32mp157": "A7",
    "smartwatch-m4": "M4",
    "smartwatch-m33": "M33",
}
EMULATED = {CORES[name]: Engine(CORES[name], name) for name in list_targets() if name in CORES} | {
    e.name: e
    for e in (
        Engine("M4 qemu", "smartwatch-m4", machine=QemuSystem),
        Engine("M33 qemu", "smartwatch-m33", machine=QemuSystem),
        Engine("M55", "smartwatch-m55", machine=QemuSystem),
        Engine("M4 gcc", "smartwatch-m4", "gcc", ("-O3",)),
        Engine("M55 gcc", "smartwatch-m55", "gcc", machine=QemuSystem),
    )
}


def emitted(graph: Graph, target: Target | None = None) -> Any:
    """The C program of a lowered graph."""
    flavour = flavour_of(target.simd if target else "portable")
    return emit(graph, plan_memory(graph, align=flavour.align, lanes=flavour.lanes), simd=flavour.name)


def merged(programs: Sequence[Any]) -> dict[str, str]:
    """The C files of emitted programs together; `MAIN` is the one to compile: it includes the C file of each.

    Every program has a prefix of its own, and the kernels come once.
    """
    files: dict[str, str] = {}
    for program in programs:
        for path, text in program.files.items():
            assert files.setdefault(path, text) == text, f"{path} differs between programs"
    assert len({p.main for p in programs}) == len(programs), "two programs have one name"
    return {**files, MAIN: "".join(f'#include "{p.main}"\n' for p in programs)}


def build(engine: Engine, graphs: Sequence[Graph]) -> bytes:
    """One library that holds all of the programs."""
    target = load_target(engine.target)
    files = merged([emitted(g, target) for g in graphs])
    return build_image(files, MAIN, target, compiler=engine.compiler, extra_flags=engine.flags)


class Library:
    """A merged library in this process."""

    def __init__(self, library: bytes) -> None:
        with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
            path = Path(folder) / "programs.so"
            path.write_bytes(library)
            self.handle = ctypes.CDLL(str(path))

    def stream(self, graph: Graph) -> NativeStream:
        """A fresh stream of one of the programs."""
        return NativeStream(_Part(self, graph))


class _Part(NativeProgram):
    """One program of a library that is loaded already."""

    def __init__(self, library: Library, graph: Graph) -> None:
        self.graph, self.engine, self._library = graph, "native", library.handle
        self.struct_bytes = int(self.function("sizeof")())
        self.state_bytes = int(self.function("state_bytes")())


@contextmanager
def machine_of(engine: Engine, graphs: Sequence[Graph]) -> Iterator[Machine]:
    """An emulated machine that holds all of the programs."""
    with engine.machine(build(engine, graphs), load_target(engine.target), timeout_s=TIMEOUT_S) as machine:
        yield machine


@contextmanager
def opened(engine: Engine, graphs: Sequence[Graph]) -> Iterator[Callable[[Graph], Stream]]:
    """A function that gives a fresh stream of any of the programs."""
    if engine.target == "host":
        yield Library(build(engine, graphs)).stream
        return
    with machine_of(engine, graphs) as machine:
        yield lambda graph: MachineStream(graph, machine, engine.name)


def every() -> Mapping[str, Engine]:
    """All engines, those of this computer first."""
    return {**HOST, **EMULATED}
