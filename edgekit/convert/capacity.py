"""What a program takes of its target, and whether that is there."""

from __future__ import annotations

from edgekit.artifact import SelfTest
from edgekit.convert.inputs import Inputs
from edgekit.errors import CapacityError
from edgekit.ir import Graph
from edgekit.runtime.build import Program
from edgekit.runtime.streams import MachineStream, Stream
from edgekit.target import Target

STEPS = 8  # of the self-test, on which the stack is measured: there is no recursion, and it depends on few branches


def stack_bytes(stream: Stream, graph: Graph, selftest: SelfTest, raw: Inputs) -> int | None:
    """The most bytes of stack that a step, or `quantize`, was seen to use on an emulated core; None elsewhere."""
    if not isinstance(stream, MachineStream) or not stream.counts:
        return None
    names, used = graph.entries["step"].inputs, [0]
    stream.reset()
    for t in range(min(STEPS, *(len(a) for a in selftest.inputs.values()))):
        used.append(stream.measure("step", [selftest.inputs[n][t] for n in names])[1].stack_bytes or 0)
    if "quantize" in graph.entries:
        used.append(stream.measure("quantize", [a[0, 0] for a in raw.values()])[1].stack_bytes or 0)
    return max(used)


def check_capacity(target: Target, program: Program, stack: int | None = 0) -> None:
    """CapacityError unless flash and RAM (the struct, and the stack where it is known) hold the program."""
    for what, required, available in (
        ("flash", program.flash_bytes, target.flash_bytes),
        ("RAM", program.struct_bytes + (stack or 0), target.ram_bytes),
    ):
        if available is not None and required > available:
            remedy = "a smaller model, a narrower precision such as int8 or int4, or a larger target"
            raise CapacityError(f"target {target.name}, {what}", required, available, remedy)
