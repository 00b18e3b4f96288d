"""The ops of a program as a table: which kernel runs each, on what, where it comes from, and what it costs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from edgekit.cli.output import table
from edgekit.ir import Graph, Op

if TYPE_CHECKING:
    from edgekit.runtime.cost import StepCosts


def op_table(kernels: Sequence[Mapping[str, str]], graph: Graph, costs: StepCosts | None = None) -> Table:
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
        op = _op_of(graph, row)
        name = row["op"].split("_")[0] if op else row["op"]
        instructions = counted.get(row["op"]) if row["entry"] == "step" else None
        add(row["entry"], [name, row["kernel"], *_described(graph, op)], instructions)
    for name in around:
        add("step", [name, "", "", "", ""], counted[name])
    if costs is not None:
        add("step", ["calls", "", "", "", ""], costs.calls)
        add("step", ["step, all", "", "", "", ""], costs.total)
    return rows


def _op_of(graph: Graph, row: Mapping[str, str]) -> Op | None:
    """The op that a row of the manifest numbers; None when the number is none of the graph's."""
    number = re.match(r"op(\d{1,6})_", row["op"])
    ops = graph.entries[row["entry"]].ops
    return ops[int(number[1])] if number and int(number[1]) < len(ops) else None


def _described(graph: Graph, op: Op | None) -> list[str]:
    """The result of an op, the shape of its weights or else of its result, and its module or else its constant."""
    if op is None:
        return ["", "", ""]
    shaped = op.inputs[1] if op.kind == "linear" else op.outputs[0]
    shape = " x ".join(map(str, graph.tensors[shaped].shape)) or "1"
    constant = next((name for name in op.inputs if graph.tensors[name].is_const), "")
    return [op.outputs[0].removeprefix("step."), shape, op.source or constant]
