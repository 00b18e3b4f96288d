"""The `io` section of a manifest: what goes in, what comes out, in which units, and how a window is decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgekit.errors import ModelError
from edgekit.ir import Graph

KNOWN = {
    "": ("input", "decision", "classes"),
    "input": ("name", "channels", "unit", "rate_hz", "offset", "scale", "window", "stride", "layout"),
}
PORT_KEYS = ("unit", "rate_hz", "channels", "offset", "scale")


def check_meta(meta: Mapping[str, Any]) -> None:
    """Refuse unknown keys in what a model file says of its input and decision; ModelError lists the known ones."""
    for where, section in (("", meta), ("input", meta.get("input") or {})):
        for key in section:
            if key not in KNOWN[where]:
                raise ModelError(f"io key {key!r}", "is not known", f"known are {', '.join(KNOWN[where])}")


def describe_io(graph: Graph, meta: Mapping[str, Any]) -> dict[str, Any]:
    """The `io` section for a graph, from what the model file says (`input`, `decision`, `classes`; all optional)."""
    step, spec = graph.entries["step"], dict(meta.get("input") or {})

    def port(name: str, **extra: Any) -> dict[str, Any]:
        tensor = graph.tensors[name]
        return {"name": name, "shape": list(tensor.shape), "dtype": tensor.dtype.name, **extra}

    first = {key: spec[key] for key in PORT_KEYS if spec.get(key) is not None}
    io: dict[str, Any] = {
        "inputs": [port(n, **(first if at == 0 else {})) for at, n in enumerate(step.inputs)],
        "outputs": [port(n) for n in step.outputs],
    }
    if graph.dt is not None or spec.get("rate_hz"):
        io["dt"] = graph.dt if graph.dt is not None else 1 / spec["rate_hz"]
    if spec.get("window"):
        io["window"] = {
            "length": spec["window"],
            "stride": spec.get("stride", spec["window"]),
            "layout": spec.get("layout", "sequence"),
        }
    io.update({key: meta[key] for key in ("decision", "classes") if meta.get(key) is not None})
    return io
