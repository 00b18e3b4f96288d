"""The ops behind the functions of a step: which kernel runs each, and which layer of the model it came from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from edgekit.artifact import Artifact
from edgekit.ir import Graph, Op


def op_of(graph: Graph, entry: str, symbol: str) -> Op | None:
    """The op of an entry that a symbol such as `op3_map` numbers; None when the number is none of the graph's."""
    number = re.match(r"op(\d{1,6})_", symbol)
    ops = graph.entries[entry].ops
    return ops[int(number[1])] if number and int(number[1]) < len(ops) else None


def step_calls(graph: Graph, calls: Sequence[str]) -> tuple[str, ...]:
    """Those of the functions that entries call which the step calls: it takes inputs, runs ops, and gives outputs."""
    mine = re.compile(rf"ek_{graph.name}_step_(take|op\d+_\w+|give)")
    return tuple(call for call in calls if mine.fullmatch(call))


def layer_of(graph: Graph, op: Op) -> str:
    """The module that an op came from, else the weights of a linear or memory update, else ''."""
    weights = op.inputs[1:2] if op.kind == "linear" else op.inputs[1::2] if op.kind == "memory_update" else ()
    return op.source or next((name for name in weights if graph.tensors[name].is_const), "")


def step_kernels(artifact: Artifact) -> Mapping[str, str]:
    """The kernel of each function of the step, by its symbol without the prefix."""
    return {row["op"]: row["kernel"] for row in artifact.manifest.get("kernels", []) if row["entry"] == "step"}
