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
    """The most bytes of stack that a run, or the border, was seen to use on an emulated core; None elsewhere."""
    if not isinstance(stream, MachineStream) or not stream.counts:
        return None
    step = graph.entries["step"]
    stream.reset()
    calls = [stream.measure_run([selftest.inputs[n][:STEPS] for n in step.inputs])]
    if graph.is_integer:
        calls.append(stream.measure("quantize", [raw[n][0, 0] for n in step.inputs])[1])
        calls.append(stream.measure("dequantize", [selftest.outputs[n][0] for n in step.outputs])[1])
    return max(call.stack_bytes or 0 for call in calls)


def check_capacity(target: Target, program: Program, stack: int | None = 0) -> None:
    """CapacityError unless flash and RAM (the struct, and the stack where it is known) hold the program."""
    for what, required, available in (
        ("flash", program.flash_bytes, target.flash_bytes),
        ("RAM", program.struct_bytes + (stack or 0), target.ram_bytes),
    ):
        if available is not None and required > available:
            remedy = "a smaller model, a narrower precision such as int8 or int4, or a larger target"
            raise CapacityError(f"target {target.name}, {what}", required, available, remedy)
