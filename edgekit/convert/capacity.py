"""What a program takes of its target, and whether that is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgekit.artifact import SelfTest
from edgekit.convert.inputs import Inputs
from edgekit.errors import CapacityError, UsageError
from edgekit.ir import Graph
from edgekit.ir.plan import buffer_bytes
from edgekit.learn import Learning
from edgekit.passes.plan_memory import plan_memory
from edgekit.runtime.build import Program
from edgekit.runtime.streams import Array, MachineStream, Stream
from edgekit.runtime.trial import learning_entries, learning_inputs
from edgekit.target import Target

STEPS = 8  # of the self-test, on which the stack is measured: there is no recursion, and it depends on few branches


@dataclass(frozen=True)
class Emulated:
    """What was seen on an emulated core: the most bytes of stack, instructions of a call of an entry and of init."""

    stack_bytes: int
    instructions: Mapping[str, int]
    init_instructions: int
    core: str


def measured(stream: Stream, graph: Graph, selftest: SelfTest, raw: Inputs) -> Emulated | None:
    """The stack of a run, of the border and of learning, and what these cost once; None where nothing is emulated."""
    if not isinstance(stream, MachineStream) or not stream.counts:
        return None
    step = graph.entries["step"]
    first = stream.measure_init()
    run = stream.measure_run([selftest.inputs[n][:STEPS] for n in step.inputs])
    given: dict[str, list[Array]] = {"step": [selftest.inputs[n][0] for n in step.inputs]}
    if graph.is_integer:
        given["quantize"] = [raw[n][0, 0] for n in step.inputs]
        given["dequantize"] = [selftest.outputs[n][0] for n in step.outputs]
    given |= {name: learning_inputs(graph, name) for name in learning_entries(graph)}
    before = stream.save()
    calls = {name: stream.measure(name, arrays)[1] for name, arrays in given.items()}
    stream.restore(before)
    stack = max(call.stack_bytes or 0 for call in (first, run, *calls.values()))
    instructions = {name: call.instructions or 0 for name, call in calls.items()}
    return Emulated(stack, instructions, first.instructions or 0, stream.core)


def coding_note(program: Program, emulated: Emulated | None) -> str:
    """What entropy coding of constants in flash has come to."""
    if not program.coded_bytes:
        return "entropy coding of constants would save less than its code takes: none lies in flash so, and none in RAM"
    what = f"init decodes {program.coded_bytes:,} bytes of flash into {program.decoded_bytes:,} of RAM"
    counted = f": {emulated.init_instructions:,} instructions on {emulated.core}" if emulated else ""
    return f"{what}{counted}, once"


def learning_ram(graph: Graph, program: Program) -> int:
    """Bytes of RAM that a program would not need if it did not learn: states of its own, and scratch of its entries."""
    alone = graph.replace(entries={"step": graph.entries["step"]})
    plan = plan_memory(alone, align=program.plan.align, lanes=program.plan.lanes)
    steps = graph.entries["step"]
    own = {s.tensor for s in graph.states if s.reset != "reset" or s.tensor not in steps.updates}
    held = sum(buffer_bytes(graph.tensors[name], program.plan.lanes) for name in own)
    return held + program.plan.arena_bytes - plan.arena_bytes


def check_steps(graph: Graph, asked: Learning) -> None:
    """UsageError for numbers about several steps where the model keeps nothing from one step to the next."""
    if asked.window < 1:
        raise UsageError(f"--learn-window {asked.window}", "is not 1 or more")
    if any(state.reset == "reset" for state in graph.states):
        return
    for option, value, idle in (("--learn-window", asked.window, 1), ("--trace", asked.trace, 0.0)):
        if value != idle:
            cause = "is of no use to a model without states: each of its steps is a window by itself"
            raise UsageError(f"{option} {value}", cause, "leave it out")


def check_budget(required: int, available: int | None) -> None:
    """CapacityError when learning takes more RAM than it may."""
    if available is not None and required > available:
        remedy = "fewer lateral rows (--subspace, --tasks), fewer plastic layers, or a larger --learn-budget-ram"
        raise CapacityError("learning, RAM", required, available, remedy)


def check_capacity(target: Target, program: Program, stack: int | None = 0) -> None:
    """CapacityError unless flash and RAM (the struct, and the stack where it is known) hold the program."""
    for what, required, available in (
        ("flash", program.flash_bytes, target.flash_bytes),
        ("RAM", program.struct_bytes + (stack or 0), target.ram_bytes),
    ):
        if available is not None and required > available:
            remedy = "a smaller model, a narrower precision such as int8 or int4, or a larger target"
            if what == "RAM" and program.decoded_bytes:
                remedy = f"no --flash-coding, which fills {program.decoded_bytes:,} bytes of it, or a larger target"
            raise CapacityError(f"target {target.name}, {what}", required, available, remedy)
