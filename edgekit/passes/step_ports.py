"""The step of a graph made ready for files whose ports have names: only the step, and what has no place there."""

from __future__ import annotations

from edgekit.artifact.exported import state_output
from edgekit.errors import UnsupportedError
from edgekit.ir.dtypes import FLOAT32, SPIKE
from edgekit.ir.graph import Graph
from edgekit.passes.rewrite import sweep


def step_alone(graph: Graph) -> Graph:
    """The graph without other entries: an exported file is one step, whose plastic weights are states like others."""
    return sweep(graph.replace(entries={"step": graph.entries["step"]}))


def check_ports(graph: Graph, backend: str) -> None:
    """UnsupportedError that lists what has no place in a file of float ports: dtypes, clashing names, no input."""
    step, states = graph.entries["step"], graph.state_names
    weights = {op.inputs[1] for op in step.ops if op.kind in ("linear", "conv")}
    items = [
        f"{name} is {tensor.dtype}" + (f" (from {source})" if (source := _sources(graph).get(name)) else "")
        for name, tensor in graph.tensors.items()
        if tensor.dtype not in (FLOAT32, SPIKE) and name not in weights
    ]
    clashes = {*step.inputs, *states} & {state_output(s) for s in states}
    items += [f"{name} is also the output of a state's next value" for name in sorted(clashes)]
    if not step.inputs:
        items.append("the step takes no input, so that the number of streams is not known")
    if items:
        raise UnsupportedError(
            f"graph {graph.name!r}", f"has no {backend} form", "export a float step (fp32 or w8)", items
        )


def _sources(graph: Graph) -> dict[str, str]:
    return {name: op.source for op in graph.entries["step"].ops for name in op.outputs}
