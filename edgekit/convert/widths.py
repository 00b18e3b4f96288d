"""The widths of a program: each is proven like the program itself, and what it would take alone is told."""

from __future__ import annotations

from typing import Any

from edgekit.artifact import SelfTest
from edgekit.convert.capacity import STEPS
from edgekit.convert.inputs import Inputs
from edgekit.ir import Graph
from edgekit.ir.widths import at_width, narrow_widths, widths_of
from edgekit.passes.ranges import analyse, certificate
from edgekit.runtime import program_stream
from edgekit.runtime.build import Library, Program, emitted_for
from edgekit.runtime.selftest import make_selftest, replay_selftest, width_selftest
from edgekit.runtime.streams import MachineStream
from edgekit.target import Target


def prove_widths(graph: Graph) -> None:
    """Prove of every width below the full one that nothing wraps around; UnsupportedError lists what might."""
    for percent in narrow_widths(graph):
        narrow = alone(graph, percent)
        certificate(analyse(narrow), narrow)


def alone(graph: Graph, percent: int) -> Graph:
    """The program of one width, without the states that only wider ones have."""
    narrow = at_width(graph, percent)
    read = {n for e in narrow.entries.values() for op in e.ops for n in op.inputs}
    used = read | {n for e in narrow.entries.values() for n in (*e.updates, *e.outputs)}
    idle = narrow.state_names - used
    tensors = {name: tensor for name, tensor in narrow.tensors.items() if name not in idle}
    return narrow.replace(tensors=tensors, states=tuple(s for s in narrow.states if s.tensor not in idle))


def widths_section(
    graph: Graph, program: Program, target: Target, selftest: SelfTest, stimulus: Inputs
) -> list[dict[str, Any]]:
    """The section `widths` of the manifest, after a self-test of each width on each machine of the target.

    Of each width: what its weights and its struct would take in a program of their own (derived), and the mean of
    instructions of a step where the target is emulated. ReplayError where a width is not what the reference says.
    """
    libraries: list[tuple[Program | Library, Target]] = [(program, target)]
    libraries += [(other, other.target) for other in program.also.values()]
    rows = []
    for percent in widths_of(graph):
        narrow = alone(graph, percent)
        inputs = selftest.inputs
        if not graph.is_integer:  # another width keeps its distance from thresholds on another stream
            inputs = make_selftest(narrow, stimulus).inputs
        wanted = width_selftest(graph, percent, inputs)
        written, _ = emitted_for(narrow, target)
        row = {"percent": percent, "weights_bytes": written.const_bytes, "ram_bytes": written.struct_bytes}
        for library, machine in libraries:
            stream = program_stream(graph, library, machine, percent)
            replay_selftest(graph, wanted, stream)
            if machine is target and isinstance(stream, MachineStream) and stream.counts:
                row["instructions"] = _instructions(stream, [inputs[n] for n in graph.entries["step"].inputs])
        rows.append(row)
    return rows


def _instructions(stream: MachineStream, inputs: list[Any]) -> int:
    """Of a step, the mean over the first of a run."""
    stream.reset()
    given = [array[:STEPS] for array in inputs]
    return round((stream.measure_run(given).instructions or 0) / len(given[0]))
