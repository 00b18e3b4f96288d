"""The ops of a program as a table: which kernel runs each, on what, where it comes from, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from edgekit.cli.output import table
from edgekit.ir import Graph, Op
from edgekit.profile.ops import layer_of, op_of

if TYPE_CHECKING:
    from edgekit.profile.counts import StepCounts


def op_table(kernels: Sequence[Mapping[str, str]], graph: Graph, costs: StepCounts | None = None) -> Table:
    """The `kernels` of a manifest beside the ops they run, in the order of the program; counts only of the step."""
    several = len(graph.entries) > 1
    figures = ["instructions", "share"] if costs is not None else []
    columns = [*(["entry"] if several else []), "op", "kernel", "result", "shape", "from", *figures]
    rows = table(*columns, right=tuple(at for at, name in enumerate(columns) if name in figures))

    def add(entry: str, cells: Sequence[str], instructions: float | None = None) -> None:
        count = []
        if costs is not None:
            count = ["", ""]
            if instructions is not None:
                count = [f"{instructions:,.0f}", f"{instructions / costs.total:.1%}"]
        rows.add_row(*([entry] if several else []), *cells, *count)

    counted = {} if costs is None else {cost.op: cost.instructions for cost in costs.ops}
    named = {row["op"] for row in kernels if row["entry"] == "step"}
    around = [name for name in counted if name not in named]  # what takes inputs in and gives outputs out
    for row in kernels:
        op = op_of(graph, row["entry"], row["op"])
        name = row["op"].split("_")[0] if op else row["op"]
        instructions = counted.get(row["op"]) if row["entry"] == "step" else None
        add(row["entry"], [name, row["kernel"], *_described(graph, op)], instructions)
    for name in around:
        add("step", [name, "", "", "", ""], counted[name])
    if costs is not None:
        add("step", ["calls", "", "", "", ""], costs.calls)
        add("step", ["step, all", "", "", "", ""], costs.total)
    return rows


def _described(graph: Graph, op: Op | None) -> list[str]:
    """The result of an op, the shape of its weights or else of its result, and its module or else its constant."""
    if op is None:
        return ["", "", ""]
    shaped = op.inputs[1] if op.kind == "linear" else op.outputs[0]
    shape = " x ".join(map(str, graph.tensors[shaped].shape)) or "1"
    return [op.outputs[0].removeprefix("step."), shape, layer_of(graph, op)]
