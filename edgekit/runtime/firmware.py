"""Firmware that tests itself: a program's object, and the self-test as constants beside a main that replays it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

import numpy as np

from edgekit.artifact import SelfTest
from edgekit.backends.c.data import c_array
from edgekit.errors import ToolchainError
from edgekit.ir import Graph
from edgekit.ir.widths import narrow_widths
from edgekit.runtime.build import Program
from edgekit.runtime.selftest import width_selftest
from edgekit.runtime.streams import Array
from edgekit.target import Target, firmware_files
from edgekit.toolchain import Machine, build_firmware

MAIN = "edgekit_selftest.c"
# edgekit_selftest_result_t of targets/cortex-m/selftest.h
_RESULT, _MAGIC, _PASSED, _FAILED = struct.Struct("<7I"), 0x54534B45, 1, 2
_CTYPES = {"int8": "int8_t", "int16": "int16_t", "int32": "int32_t", "float32": "float", "uint8": "uint8_t"}


def with_selftest(
    graph: Graph, program: Program, selftest: SelfTest, target: Target, *, compiler: str | None = None
) -> Program:
    """Return a Cortex-M program whose firmware replays `selftest` when it starts; ToolchainError for any other.

    Bytes are compared in an integer program, outputs within 1e-4 in one of floats. The model is linked as it is.
    """
    if program.object is None:
        raise ToolchainError(f"target {target.name!r}", "has no firmware")
    header = f"ek_{graph.name}.h"
    support: dict[str, bytes | str] = {**firmware_files(), header: program.files[header]}
    support[MAIN] = selftest_source(graph, selftest)
    library = build_firmware(program.object, support, target, main=MAIN, compiler=compiler)
    return replace(program, library=library)


@dataclass(frozen=True)
class FirmwareResult:
    """What firmware found when it tested itself: `steps` that were right, and at the first that was not, the `output`
    (None: a step failed, the state, or nothing). `stack_bytes` is what it used of its stack, `cycles` the fewest and
    the most of a step by the core's counter; None where that stands still, as it does in emulators.
    """

    passed: bool
    steps: int
    output: str | None = None
    stack_bytes: int | None = None
    cycles: tuple[int, int] | None = None


def firmware_result(machine: Machine, graph: Graph) -> FirmwareResult:
    """Read the result of a self-test that has run; ToolchainError when there is none.

    QemuSystem runs it when it boots; on any machine `machine.call("main")` does.
    """
    address = machine.image.data.get("edgekit_selftest_result")
    if address is None:
        raise ToolchainError("firmware", "has no self-test")
    magic, verdict, steps, at, least, most, stack = _RESULT.unpack(machine.read(address, _RESULT.size))
    if magic != _MAGIC or verdict not in (_PASSED, _FAILED):
        raise ToolchainError("firmware", "has not come to the end of its self-test")
    outputs = graph.entries["step"].outputs
    wrong = outputs[at] if verdict == _FAILED and at < len(outputs) else None
    return FirmwareResult(verdict == _PASSED, steps, wrong, stack or None, (least, most) if most else None)


def selftest_source(graph: Graph, selftest: SelfTest) -> str:
    """The C of a main that replays a self-test: data, buffers and one call; the loops are in selftest.h.

    An integer program with nested widths is tested at each of them, the full one last.
    """
    step, p = graph.entries["step"], f"ek_{graph.name}"
    steps = len(selftest.inputs[step.inputs[0]])
    texts = [_array(f"given{i}", selftest.inputs[name]) for i, name in enumerate(step.inputs)]
    texts.append(f"static {p} model;\nstatic uint8_t state[{len(selftest.final_state)}];\n")
    texts += [
        f"static {_CTYPES[selftest.outputs[name].dtype.name]} got{i}[{graph.tensors[name].size}];\n"
        for i, name in enumerate(step.outputs)
    ]
    given = [f"given{i} + t * {graph.tensors[name].size}u" for i, name in enumerate(step.inputs)]
    arguments = ", ".join(["&model", *given, *(f"got{i}" for i in range(len(step.outputs)))])
    texts += [
        f"static int step(uint32_t t) {{ return {p}_step({arguments}); }}\n",
        f"static int save(void) {{ return {p}_save(&model, state); }}\n\n",
    ]
    calls = []
    for percent in narrow_widths(graph)[::-1] if graph.is_integer else ():
        texts.append(_test(graph, width_selftest(graph, percent, selftest.inputs), f"_{percent}", steps))
        calls.append(f"{p}_init_width(&model, {percent}u) || edgekit_selftest(&TEST_{percent})")
    texts.append(_test(graph, selftest, "", steps))
    calls.append(f"{p}_init(&model) || edgekit_selftest(&TEST)")
    return (
        f"/* The self-test of {graph.name}, written by edgekit: {steps} steps. */\n"
        f'#include "selftest.h"\n#include "{p}.h"\n\n{"".join(texts)}'
        f"int main(void) {{ return {' || '.join(calls)}; }}\n"
    )


def _test(graph: Graph, wanted: SelfTest, ending: str, steps: int) -> str:
    """What is wanted of a self-test, under names with an ending."""
    texts, rows = list[str](), list[str]()
    for i, name in enumerate(graph.entries["step"].outputs):
        array = wanted.outputs[name]
        texts.append(_array(f"wanted{i}{ending}", array))
        rows.append(f"    {{got{i}, wanted{i}{ending}, {graph.tensors[name].size}u, {array.itemsize}u}},\n")
    texts.append(_array(f"wanted_state{ending}", np.frombuffer(wanted.final_state, np.uint8)))
    compare = "EK_BYTES" if graph.is_integer else "EK_FLOATS"
    return (
        f"{''.join(texts)}static const edgekit_output_t OUTPUTS{ending}[] = {{\n{''.join(rows)}}};\n"
        f"static const edgekit_selftest_t TEST{ending} = {{{steps}u, {len(rows)}u, {compare}, OUTPUTS{ending}, step,\n"
        f"    save, {{state, wanted_state{ending}, sizeof state, 1u}}}};\n\n"
    )


def _array(name: str, values: Array) -> str:
    return c_array(_CTYPES[values.dtype.name], name, values.reshape(-1), 8)
