"""The step of a float graph as an int8 model: integers throughout, on the scales of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgekit.artifact.exported import Quantised, step_document
from edgekit.backends.tflite.integer_rows import ROWS
from edgekit.backends.tflite.integers import Integers
from edgekit.backends.tflite.scales import Scales, ports
from edgekit.backends.tflite.step_end import STEP, finished
from edgekit.backends.tflite.variables import Variables
from edgekit.backends.tflite.writer import ModelWriter
from edgekit.compress.plan import Plan
from edgekit.errors import UnsupportedError
from edgekit.ir import DTYPES, SPIKE, Graph


def emit_integer(graph: Graph, *, meta: Mapping[str, Any], precision: str, resource: bool, plan: Plan) -> bytes:
    """The bytes of an int8 model of an optimised float graph, on the scales of a plan made for that graph."""
    _check(graph)
    model = ModelWriter()
    step, states = graph.entries[STEP], graph.states
    to = model.subgraph(STEP)
    scales = Scales(graph, plan)
    held = ports(scales)
    context = Integers(graph, to, scales)
    document = step_document(
        graph,
        meta=meta,
        precision=precision,
        dtypes={n: DTYPES[f"int{h.bits}"] for n, h in held.items()},
        quant={n: Quantised(h.scale, h.zero) for n, h in held.items()},
    )
    inputs = {n: context.port(n, context.shape(n), held[n].dtype, held[n].quant) for n in step.inputs}
    variables = Variables(model, context, document) if resource and states else None
    if variables:
        variables.read()
    for state in states:
        name = state.tensor
        if variables is None:
            inputs[name] = context.port(name, context.shape(name), held[name].dtype, held[name].quant)
        value = variables.values[name] if variables else inputs[name]
        _take(context, name, value)
    for name in step.inputs:
        _take(context, name, inputs[name])
    for op in step.ops:
        context.begin(op)
        ROWS[op.kind](context, op)
    outputs = {name: context.ending(name, held[name]) for name in step.outputs}
    following = {s.tensor: step.updates.get(s.tensor, s.tensor) for s in states}
    ends = {s: context.ending(v, held[s]) for s, v in following.items() if not variables or s != v}
    return finished(model, to, document, inputs=inputs, outputs=outputs, following=ends, variables=variables)


def _take(context: Integers, name: str, port: int) -> None:
    if context.graph.tensors[name].dtype is SPIKE:
        context.set_flag(name, context.spike(port))
    else:
        context.set_real(name, port)


def _check(graph: Graph) -> None:
    """UnsupportedError that lists every op that has no integer form."""
    step, items = graph.entries[STEP], []
    for op in step.ops:
        live = op.kind in ("div", "linear") and not graph.tensors[op.inputs[1]].is_const
        volume = op.kind == "conv" and len(op.attrs["stride"]) == 3
        if op.kind not in ROWS or live or volume:
            what = " by a value that is computed" if live else " over three axes" if volume else ""
            items.append(f"{op.kind}{what} (from {op.source or 'the graph'})")
    if items:
        raise UnsupportedError(
            f"graph {graph.name!r}", f"TFLite has no int8 form for {len(items)} ops", "use fp32 or w8", items
        )
