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
DOT = "asimddp"  # the feature of cores that multiply int8 by fours
DOT_INPUTS_AVX2 = 64  # it multiplies int16 by pairs; making fewer inputs into integers costs more than it saves


@dataclass(frozen=True)
class Program:
    """A built program: C sources by their path below c/, the library, and how both came about.

    `struct_bytes` is the memory that the caller owns, `constant_bytes` the weights as the C stores them: padded, of
    sparse ones the non-zero weights and their indices, and the tables of kernels. A compiler may fold a few into code.
    """

    files: Mapping[str, str]
    library: bytes
    kernels: tuple[KernelUse, ...]
    plan: Plan
    struct_bytes: int
    constant_bytes: int
    compiler: str
    flags: tuple[str, ...]


def build_program(graph: Graph, target: Target, *, compiler: str | None = None) -> Program:
    """Plan, emit and compile a lowered graph for a target; ToolchainError when no compiler builds for it."""
    plan = plan_memory(graph)
    emitted = emit(graph, plan, pad=LANES[target.simd], dot=_dot_inputs(target))
    library = build_shared(emitted.files, emitted.main, target, compiler=compiler)
    found = find_compiler(target, compiler)
    return Program(
        files=emitted.files,
        library=library,
        kernels=emitted.kernels,
        plan=plan,
        struct_bytes=emitted.struct_bytes,
        constant_bytes=emitted.const_bytes,
        compiler=str(found),
        flags=build_flags(target, found),
    )


def _dot_inputs(target: Target) -> int:
    """The fewest inputs of a linear whose int8 weights are multiplied as integers; 0 for none."""
    if DOT in target.features:
        return 1
    return DOT_INPUTS_AVX2 if target.simd == "avx2" else 0
