"""One trial: a compression as the program of its target, what that takes there, and what it loses."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.backends.c import SUPPORTED
from edgekit.compress.rules import Compression
from edgekit.convert.inputs import Inputs, some
from edgekit.convert.integer import stored_inputs
from edgekit.errors import EdgekitError, TargetError, ToolchainError
from edgekit.ir import SCALAR_OPS, Graph
from edgekit.passes.activity import measure_activity
from edgekit.passes.choose_forms import choose_forms
from edgekit.passes.legalize import legalize
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.runtime import program_stream
from edgekit.runtime.build import Program, build_program
from edgekit.runtime.streams import CHUNK, MachineStream
from edgekit.search.limits import Failed, Outcome, Result
from edgekit.search.problem import COUNTED, Problem
from edgekit.search.program import held_of, integer_graph

OVERFLOW = "overflowed by"  # as linkers say of a program that is too large for a board


@dataclass(frozen=True)
class Job:
    """What a worker is asked for: the outcome of a compression, `quick` on fewer validation windows."""

    compression: Compression
    quick: bool = False


def run_trial(problem: Problem, job: Job) -> Result:
    """The outcome of a compression: the same for the same problem wherever it is computed.

    What this computer lacks is no property of the compression: ToolchainError and TargetError, not Failed.
    """
    try:
        integer = integer_graph(problem, held_of(problem, job.compression))
        stimulus = stored_inputs(integer, problem.raw)
        graph = lowered(integer, stimulus)
        program = build_program(graph, problem.target, compiler=problem.compiler)
        stack, instructions = counted(problem, graph, program, stimulus)
    except (ToolchainError, TargetError) as error:
        if not any(OVERFLOW in item for item in error.items):
            raise
        return Failed(f"{error.items[0].strip()}, on the board that the target is emulated on")
    except EdgekitError as error:
        return Failed(str(error).splitlines()[0])
    verdict = (problem.quick_jury if job.quick else problem.jury).verdict(integer)
    return Outcome(
        drop=verdict.drop,
        error=verdict.error,
        score=verdict.score,
        windows=verdict.windows,
        flash=program.flash_bytes,
        weights=program.constant_bytes,
        ram=program.struct_bytes + (stack or 0),
        instructions=instructions,
        program=graph.hash(),
    )


def lowered(integer: Graph, stimulus: Inputs) -> Graph:
    """The program as it is compiled: what a conversion makes of an integer graph."""
    graph = run_passes(legalize(integer, SUPPORTED | SCALAR_OPS.keys(), "C"), LOWER)
    return choose_forms(graph, measure_activity(graph, some(stimulus), typical=True))


def counted(problem: Problem, graph: Graph, program: Program, stimulus: Inputs) -> tuple[int | None, float | None]:
    """The stack of a run and the mean instructions of a step, over a few windows on the emulated core.

    None where the target's machine code is not emulated, or not counted.
    """
    stream = program_stream(graph, program, problem.target)
    if not isinstance(stream, MachineStream) or not stream.counts:
        return None, None
    names = graph.entries["step"].inputs
    count = len(stimulus[names[0]])
    stack, total, steps = 0, 0, 0
    for at in range(0, count, max(1, count // COUNTED))[:COUNTED]:
        window = [stimulus[name][at][:CHUNK] for name in names]
        stream.reset()
        call = stream.measure_run(window)
        stack, total, steps = (
            max(stack, call.stack_bytes or 0),
            total + (call.instructions or 0),
            steps + len(window[0]),
        )
    return stack, total / steps
