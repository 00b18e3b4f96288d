"""The `io` section of a manifest: what goes in, what comes out, in which units, and how a window is decided."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edgekit.artifact.schema import choice, count, list_of, optional, record
from edgekit.artifact.validate import DECISIONS, LAYOUTS, NAME, PORT_FACTS, io_faults
from edgekit.errors import ModelError
from edgekit.ir import Graph

_INPUT = {
    "name": NAME,
    **PORT_FACTS,
    "window": count(1),
    "stride": count(1),
    "layout": choice(*LAYOUTS),
}
_META = {"input": record({}, {key: optional(check) for key, check in _INPUT.items()})}
_META |= {"decision": choice(*DECISIONS), "classes": list_of(NAME)}
_CHECK = record({}, {key: optional(check) for key, check in _META.items()})


def check_meta(meta: object) -> dict[str, Any]:
    """What a model file says of its input and decision, as plain data; ModelError lists everything wrong with it."""
    try:
        plain = json.loads(json.dumps(meta, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelError("io", f"is not plain JSON data ({error})", "use lists, numbers and strings") from error
    faults = _CHECK(plain, "io")
    unknown = any("not a known key" in fault for fault in faults)
    _refuse(faults, f"known are {', '.join(_META)}; of input {', '.join(_INPUT)}" if unknown else "")
    return dict(plain)


def check_io(graph: Graph, meta: Mapping[str, Any]) -> None:
    """Refuse checked `meta` that does not fit a graph: channels that do not divide its input, too few classes."""
    _refuse(io_faults(describe_io(graph, meta)))


def _refuse(faults: list[str], remedy: str = "") -> None:
    if len(faults) == 1:
        raise ModelError("io", faults[0], remedy)
    if faults:
        raise ModelError("io", f"{len(faults)} faults", remedy, items=faults)


def describe_io(graph: Graph, meta: Mapping[str, Any]) -> dict[str, Any]:
    """The `io` section for a graph, from what the model file says (`input`, `decision`, `classes`; all optional)."""
    step, spec = graph.entries["step"], dict(meta.get("input") or {})

    def port(name: str, **extra: Any) -> dict[str, Any]:
        tensor = graph.tensors[name]
        return {"name": name, "shape": list(tensor.shape), "dtype": tensor.dtype.name, **extra}

    first = {key: spec[key] for key in PORT_FACTS if spec.get(key) is not None}
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


def meta_of_raw(io: Mapping[str, Any]) -> dict[str, Any]:
    """What an `io` section says beside its graph, for a graph that takes raw units: offset and scale are part of it."""
    port, window = io["inputs"][0], io.get("window") or {}
    spec = {key: port[key] for key in ("name", *PORT_FACTS) if port.get(key) is not None}
    spec |= {"window": window["length"], "stride": window["stride"], "layout": window["layout"]} if window else {}
    for key in ("offset", "scale"):
        spec.pop(key, None)
    return {"input": spec, **{key: io[key] for key in ("decision", "classes") if io.get(key) is not None}}
