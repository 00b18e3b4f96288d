"""From a lowered graph to a program for a target: memory plan, C, compiler; a library for Linux, or firmware."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgekit.backends.c import KernelUse, emit
from edgekit.backends.c import Program as CProgram
from edgekit.backends.c.integer import flavour_of
from edgekit.ir import Graph, Plan
from edgekit.passes.plan_memory import plan_memory
from edgekit.target import Target, firmware_files
from edgekit.toolchain import (
    Sizes,
    build_archive,
    build_firmware,
    build_flags,
    build_object,
    build_shared,
    find_compiler,
    object_sizes,
)

LANES, LANES_AVX512 = 8, 16  # floats that rows of weights are padded to
DOT = "asimddp"  # the feature of cores that multiply int8 by fours
DOT_INPUTS = {"avx2": 64, "vnni": 16}  # pairs, fours: making fewer inputs into integers costs more than it saves


@dataclass(frozen=True)
class Library:
    """A program for one machine: the library, and the flags that decided its code."""

    library: bytes
    target: Target
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Program:
    """A built program: C sources by their path below c/, the library, and how both came about.

    The library of a Cortex-M is firmware, an ELF for the board that emulates it; beside it there are the program's
    object, a static library of it for firmware of one's own, and the sizes of its sections.

    `struct_bytes` is the memory that the caller owns, `constant_bytes` the weights as the C stores them: padded, of
    sparse ones the non-zero weights and their indices, and the tables of kernels. A compiler may fold a few into code.
    Of them `coded_bytes` are entropy-coded; `decoded_bytes` of the struct hold what `init` decodes of these.

    `also` holds, by architecture, the libraries for further machines of the target.
    """

    files: Mapping[str, str]
    library: bytes
    kernels: tuple[KernelUse, ...]
    plan: Plan
    struct_bytes: int
    constant_bytes: int
    compiler: str
    flags: tuple[str, ...]
    also: Mapping[str, Library] = field(default_factory=dict)
    object: bytes | None = None
    archive: bytes | None = None
    sizes: Sizes | None = None
    coded_bytes: int = 0
    decoded_bytes: int = 0

    @property
    def flash_bytes(self) -> int:
        """What the program takes of a flash: code and constants, or the whole library where that is a file."""
        return self.sizes.flash if self.sizes else len(self.library)


def build_program(graph: Graph, target: Target, *, compiler: str | None = None, coded: bool = False) -> Program:
    """Plan, emit and compile a lowered graph for a target; ToolchainError when no compiler builds for it.

    With `coded`, integer constants lie in flash entropy-coded and are decoded into RAM.
    """
    emitted, plan = emitted_for(graph, target, coded=coded)
    found = find_compiler(target, compiler)
    library, parts = (
        _firmware(emitted, target, compiler) if target.is_bare else (_shared(emitted, target, compiler), {})
    )
    return Program(
        files=emitted.files,
        library=library,
        kernels=emitted.kernels,
        plan=plan,
        struct_bytes=emitted.struct_bytes,
        constant_bytes=emitted.const_bytes,
        compiler=str(found),
        flags=(*build_flags(target, found), *target.ldflags),
        also={arch: _beside(graph, other, compiler, coded=coded) for arch, other in target.also.items()},
        coded_bytes=emitted.coded_bytes,
        decoded_bytes=emitted.decoded_bytes,
        **parts,
    )


def _beside(graph: Graph, target: Target, compiler: str | None, *, coded: bool) -> Library:
    emitted, _ = emitted_for(graph, target, coded=coded)
    flags = (*build_flags(target, find_compiler(target, compiler)), *target.ldflags)
    return Library(_shared(emitted, target, compiler), target, flags)


def emitted_for(graph: Graph, target: Target, *, coded: bool = False) -> tuple[CProgram, Plan]:
    """The C of a graph in the form that the target is fast at, and the memory plan it was written for."""
    if graph.is_integer:
        flavour = flavour_of(target.simd)
        plan = plan_memory(graph, align=flavour.align, lanes=flavour.lanes)
        return emit(graph, plan, simd=target.simd, coded=coded), plan
    plan = plan_memory(graph)
    pad = LANES_AVX512 if target.simd in ("avx512", "vnni") else LANES
    return emit(graph, plan, pad=pad, dot=_dot_inputs(target), coded=coded), plan


def _shared(emitted: CProgram, target: Target, compiler: str | None) -> bytes:
    return build_shared(emitted.files, emitted.main, target, compiler=compiler, extra_flags=target.ldflags)


def _firmware(emitted: CProgram, target: Target, compiler: str | None) -> tuple[bytes, dict[str, Any]]:
    """Firmware without a self-test, whose expected results nobody knows yet; and what else a Cortex-M is given."""
    made = build_object(emitted.files, emitted.main, target, compiler=compiler)
    archive = build_archive({f"ek_{emitted.name}.o": made}, target, compiler=compiler)
    library = build_firmware(made, firmware_files(), target, compiler=compiler)
    return library, {"object": made, "archive": archive, "sizes": object_sizes(made)}


def _dot_inputs(target: Target) -> int:
    """The fewest inputs of a linear whose int8 weights are multiplied as integers; 0 for none."""
    if DOT in target.features:
        return 1
    return DOT_INPUTS.get(target.simd, 0)
