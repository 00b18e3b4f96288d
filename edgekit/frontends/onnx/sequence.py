"""A model that is one Scan over time around a step: its body is the step, its loop-carried values are the states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgekit.errors import UnsupportedError
from edgekit.frontends.onnx.reading import all_nodes, onnx_module

REMEDY = "export the step itself, with its states as inputs and outputs"


@dataclass(frozen=True, eq=False)
class Sequence:
    """The step of a sequence model, its states by their input, and where time is in the ports of the sequence."""

    step: Any
    states: Mapping[str, str]
    time: Mapping[str, int]


def as_step(model: Any, thing: str) -> Sequence | None:
    """The step of a model whose outputs all come from one Scan over its inputs; None where it has no Scan.

    UnsupportedError for a Scan that is not the whole model: there is no step of which the model is the loop.
    """
    scans = [n for n in model.graph.node if n.op_type == "Scan"]
    if not scans:
        return None
    scan, faults = scans[0], []
    if len(scans) > 1:
        faults.append(f"it has {len(scans)} of them")
    attrs = {a.name: onnx_module().helper.get_attribute_value(a) for a in scan.attribute}
    count = int(attrs["num_scan_inputs"])
    held, body = len(scan.input) - count, attrs["body"]
    axes_in = list(attrs.get("scan_input_axes") or [0] * count)
    axes_out = list(attrs.get("scan_output_axes") or [0] * (len(scan.output) - held))
    if any(attrs.get("scan_input_directions") or ()) or any(attrs.get("scan_output_directions") or ()):
        faults.append("it runs backwards")
    named = {v.name: v for v in model.graph.input}
    ends = {v.name for v in model.graph.output}
    faults += [f"its input {n!r} is computed" for n in scan.input[held:] if n not in named]
    faults += [f"{n!r} is computed after it" for n in ends if n not in scan.output]
    stored = {t.name for t in model.graph.initializer}
    faults += [f"its first state {n!r} is computed" for n in scan.input[:held] if n not in named and n not in stored]
    before = [n for n in model.graph.node if n is not scan]
    faults += [
        f"{n.op_type} {n.name or n.output[0]!r} works beside it" for n in before if any(i in named for i in n.input)
    ]
    if faults:
        raise UnsupportedError(thing, "has a Scan that is not a whole model over time", REMEDY, faults)
    return Sequence(
        _step(model, scan, body, [named.get(n) for n in scan.input], [None] * held + axes_in),
        dict(zip(_ports_in(scan, body), [_port_out(scan, body, at) for at in range(held)], strict=False)),
        {
            **dict(zip(scan.input[held:], axes_in, strict=True)),
            **{n: axis for n, axis in zip(scan.output[held:], axes_out, strict=True) if n},
        },
    )


def _ports_in(scan: Any, body: Any) -> list[str]:
    """The inputs of the step under the names that they have outside, body names where one is fed twice."""
    names = list(scan.input)
    return [n if names.count(n) == 1 else b.name for n, b in zip(names, body.input, strict=True)]


def _port_out(scan: Any, body: Any, at: int) -> str:
    return str(scan.output[at] or body.output[at].name)


def _step(model: Any, scan: Any, body: Any, outside: list[Any], axes: list[int | None]) -> Any:
    """The body as a model, its ports under the names that they have outside; `axes` are those of time."""
    step = onnx_module().ModelProto()
    step.CopyFrom(model)
    graph = step.graph
    for field in ("node", "input", "output", "value_info"):
        graph.ClearField(field)
    graph.node.extend(n for n in model.graph.node if n.op_type != "Scan")
    inner = onnx_module().GraphProto()
    inner.CopyFrom(body)
    names = dict(zip((v.name for v in body.input), _ports_in(scan, body), strict=True))
    names |= {v.name: _port_out(scan, body, at) for at, v in enumerate(body.output) if v.name not in names}
    for place in _names(inner):
        place.rename(names)
    graph.node.extend(inner.node)
    graph.initializer.extend(inner.initializer)
    for at, value in enumerate(inner.output):
        if value.name != _port_out(scan, body, at):  # an input that leaves as it is, or a value that leaves twice
            graph.node.append(onnx_module().helper.make_node("Identity", [value.name], [_port_out(scan, body, at)]))
            value.name = _port_out(scan, body, at)
    for at, value in enumerate(inner.input):
        known = outside[at]
        if known is not None and not value.type.tensor_type.HasField("shape"):
            value.type.CopyFrom(known.type)
            if axes[at] is not None:
                del value.type.tensor_type.shape.dim[axes[at]]
    graph.input.extend(inner.input)
    graph.output.extend(inner.output)
    return step


@dataclass(frozen=True, eq=False)
class _Place:
    """A field that holds names of values."""

    owner: Any
    field: str

    def rename(self, names: Mapping[str, str]) -> None:
        value = getattr(self.owner, self.field)
        if isinstance(value, str):
            setattr(self.owner, self.field, names.get(value, value))
        else:
            value[:] = [names.get(n, n) for n in value]


def _names(graph: Any) -> Iterator[_Place]:
    """Every place where a graph, or one inside its nodes, names a value."""
    for value in (*graph.input, *graph.output):
        yield _Place(value, "name")
    for node in all_nodes(graph):
        yield _Place(node, "input")
        yield _Place(node, "output")
        for attribute in node.attribute:
            if attribute.HasField("g"):
                for value in attribute.g.output:
                    yield _Place(value, "name")
