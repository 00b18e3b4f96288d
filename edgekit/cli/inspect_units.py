"""What the rules of a recipe can name in a model: groups of units, matrices, states and operands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console

from edgekit.cli.output import table
from edgekit.ir import Graph

if TYPE_CHECKING:
    from edgekit.compress.shrink import Units


def units_of(graph: Graph) -> dict[str, Any]:
    """The names, with sizes, of an imported model: as a recipe for integers finds them."""
    from edgekit.compress.matrices import filters, matrices
    from edgekit.compress.named import roles
    from edgekit.compress.shrink import units
    from edgekit.passes.pipelines import FOR_INTEGERS, OPTIMISE, run_passes

    floats = run_passes(graph, OPTIMISE)
    found = run_passes(floats, FOR_INTEGERS)
    tensors = found.tensors
    _, states, operands = roles(found)
    return {
        "units": [
            {"name": u.name, "size": u.size, "weights": u.weights, "matrices": _along(u, found)} for u in units(found)
        ],
        "matrices": [
            {"name": name, "shape": list(tensors[name].shape), "inputs": list(xs)}
            for name, xs in matrices(found).items()
        ],
        "filters": [{"name": name, "shape": list(floats.tensors[name].shape)} for name in filters(floats)],
        "states": [{"name": name, "shape": list(tensors[name].shape)} for name in states],
        "operands": [{"name": name, "shape": list(tensors[name].shape)} for name in operands],
    }


def _along(group: Units, graph: Graph) -> list[str]:
    """The matrices, those of a memory too, that lose rows or columns with a unit."""
    joint = {name for name, _ in group.joint}
    return [name for name, tensor in graph.consts.items() if name in joint and len(tensor.shape) > 1]


def print_units(console: Console, found: Mapping[str, Any]) -> None:
    """The names in tables, each under the rules that it is for."""
    rows = table("group of units", "units", "weights of each", "in", title="[[units]] match", right=(1, 2))
    for u in found["units"]:
        rows.add_row(u["name"], str(u["size"]), f"{u['weights']:,}", ", ".join(u["matrices"]))
    console.print(rows)
    rows = table("matrix", "outputs x inputs", "weights", "inputs", title="[[weights]] match", right=(1, 2))
    for m in found["matrices"]:
        out, width = m["shape"]
        rows.add_row(m["name"], f"{out} x {width}", f"{out * width:,}", ", ".join(m["inputs"]))
    console.print(rows)
    if found["filters"]:
        names = ", ".join(f["name"] for f in found["filters"])
        console.print(f"with fp32 and w8 the filters of convolutions instead: {names} (density alone)")
    rows = table("state or operand", "shape", "", title="[[states]] match")
    for what in ("states", "operands"):
        for s in found[what]:
            rows.add_row(s["name"], " x ".join(map(str, s["shape"])) or "1", what[:-1])
    console.print(rows)
