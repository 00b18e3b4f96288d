"""From a lowered graph to a library for a target: memory plan, C, compiler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgekit.backends.c import KernelUse, emit
from edgekit.ir import Graph, Plan
from edgekit.passes.plan_memory import plan_memory
from edgekit.target import Target
from edgekit.toolchain import build_flags, build_shared, find_compiler

LANES = {"portable": 8, "neon": 8, "neon32": 8, "avx2": 8, "avx512": 16}  # floats that rows of weights are padded to
DOT = "asimddp"  # the feature of cores that multiply int8 by fours; elsewhere that kernel is right, but slow


@dataclass(frozen=True)
class Program:
    """A built program: C sources by their path below c/, the library, and how both came about."""

    files: Mapping[str, str]
    library: bytes
    kernels: tuple[KernelUse, ...]
    plan: Plan
    struct_bytes: int
    compiler: str
    flags: tuple[str, ...]


def build_program(graph: Graph, target: Target, *, compiler: str | None = None) -> Program:
    """Plan, emit and compile a lowered graph for a target; ToolchainError when no compiler builds for it."""
    plan = plan_memory(graph)
    emitted = emit(graph, plan, pad=LANES[target.simd], dot=DOT in target.features)
    library = build_shared(emitted.files, emitted.main, target, compiler=compiler)
    found = find_compiler(target, compiler)
    return Program(
        files=emitted.files,
        library=library,
        kernels=emitted.kernels,
        plan=plan,
        struct_bytes=emitted.struct_bytes,
        compiler=str(found),
        flags=build_flags(target, found),
    )
