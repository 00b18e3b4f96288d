"""The text form of a graph: what `inspect` prints and pass tests compare. It round-trips given the arrays.

graph lif dt=0.05
const %beta float32[] = [0.9]
const %w float32[64,6]
state %membrane float32[64] reset zero
entry step
  in %x float32[6]
  %i float32[64] = linear %x %w {"form": "dense"}  # cell.fc
  …
  update %membrane %next
  out %spikes
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import GraphError
from edgekit.ir.document import from_document, to_document
from edgekit.ir.dtypes import DTYPES
from edgekit.ir.graph import Graph

INLINE = 4  # constants of at most this many elements are written in the text
Array = npt.NDArray[Any]

_TYPE = r"(?P<dtype>\w+)\[(?P<shape>[\d,]*)\]"
_GRAPH = re.compile(r"graph (?P<name>\w+)(?: dt=(?P<dt>\S+))?")
_CONST = re.compile(rf"const %(?P<name>\S+) {_TYPE}(?: quant (?P<quant>\{{.*?\}}))?(?: = (?P<data>\[.*\]))?")
_STATE = re.compile(rf"state %(?P<name>\S+) {_TYPE} (?P<reset>\w+) (?P<init>zero|data)")
_ENTRY = re.compile(r"entry (?P<name>\w+)")
_INPUT = re.compile(rf"in %(?P<name>\S+) {_TYPE}")
_OP = re.compile(r"(?P<outs>%.*?) = (?P<kind>\w+)(?P<ins>(?: %\S+)*)(?: (?P<attrs>\{.*?\}))?(?:  # (?P<source>.*))?")
_TYPED = re.compile(rf"%(?P<name>\S+) {_TYPE}")
_UPDATE = re.compile(r"update %(?P<state>\S+) %(?P<value>\S+)")
_OUTPUT = re.compile(r"out(?P<names>(?: %\S+)+)")


def _typed(row: Mapping[str, Any]) -> str:
    return f"%{row['name']} {row['dtype']}[{','.join(map(str, row['shape']))}]"


def to_text(graph: Graph) -> str:
    """Print a graph, one line per constant, state, op, update and output; large constants by name only."""
    document, weights = to_document(graph)
    rows = {row["name"]: row for row in document["tensors"]}
    lines = [f"graph {graph.name}" + (f" dt={graph.dt!r}" if graph.dt is not None else "")]
    for row in document["tensors"]:
        if row.get("const"):
            quant = f" quant {json.dumps(row['quant'])}" if "quant" in row else ""
            data = weights[row["name"]]
            inline = f" = {json.dumps(data.reshape(-1).tolist())}" if data.size <= INLINE else ""
            lines.append(f"const {_typed(row)}{quant}{inline}")
    for row in document["states"]:
        lines.append(f"state {_typed(rows[row['tensor']])} {row['reset']} {row['init']}")
    for entry in document["entries"]:
        lines.append(f"entry {entry['name']}")
        lines += [f"  in {_typed(rows[name])}" for name in entry["inputs"]]
        for op in entry["ops"]:
            outs = ", ".join(_typed(rows[name]) for name in op["outputs"])
            ins = "".join(f" %{name}" for name in op["inputs"])
            attrs = f" {json.dumps(op['attrs'])}" if "attrs" in op else ""
            source = f"  # {op['source']}" if "source" in op else ""
            lines.append(f"  {outs} = {op['kind']}{ins}{attrs}{source}")
        lines += [f"  update %{state} %{value}" for state, value in entry["updates"]]
        lines.append("  out" + "".join(f" %{name}" for name in entry["outputs"]))
    return "\n".join(lines) + "\n"


def _row(match: re.Match[str]) -> dict[str, Any]:
    shape = [int(n) for n in match["shape"].split(",") if n]
    return {"name": match["name"], "shape": shape, "dtype": match["dtype"]}


def _read_line(line: str, document: dict[str, Any], arrays: dict[str, Array]) -> bool:
    """Add what one line says to the document; False when it is no line of the text form.

    Raises ValueError and its like for numbers and JSON that cannot be read.
    """
    entries = document["entries"]
    if match := _GRAPH.fullmatch(line):
        document["name"] = match["name"]
        document["dt"] = float(match["dt"]) if match["dt"] else None
    elif match := _CONST.fullmatch(line):
        row = {**_row(match), "const": True}
        if match["quant"]:
            row["quant"] = json.loads(match["quant"])
        if match["data"] and match["dtype"] in DTYPES:
            with np.errstate(over="ignore"):  # an infinity is for the verifier to refuse
                values = np.array(json.loads(match["data"]), dtype=DTYPES[match["dtype"]].numpy)
            arrays[row["name"]] = values.reshape(row["shape"])
        document["tensors"].append(row)
    elif match := _STATE.fullmatch(line):
        document["tensors"].append(_row(match))
        document["states"].append({"tensor": match["name"], "reset": match["reset"], "init": match["init"]})
    elif match := _ENTRY.fullmatch(line):
        entries.append({"name": match["name"], "inputs": [], "outputs": [], "ops": [], "updates": []})
    elif not entries:
        return False
    elif match := _INPUT.fullmatch(line):
        document["tensors"].append(_row(match))
        entries[-1]["inputs"].append(match["name"])
    elif match := _UPDATE.fullmatch(line):
        entries[-1]["updates"].append([match["state"], match["value"]])
    elif match := _OUTPUT.fullmatch(line):
        entries[-1]["outputs"] = [name[1:] for name in match["names"].split()]
    elif match := _OP.fullmatch(line):
        outs = [_row(m) for m in _TYPED.finditer(match["outs"])]
        document["tensors"] += outs
        op: dict[str, Any] = {"kind": match["kind"], "inputs": [n[1:] for n in match["ins"].split()]}
        op["outputs"] = [row["name"] for row in outs]
        if match["attrs"]:
            op["attrs"] = json.loads(match["attrs"])
        if match["source"]:
            op["source"] = match["source"]
        entries[-1]["ops"].append(op)
    else:
        return False
    return True


def from_text(text: str, weights: Mapping[str, Array] | None = None) -> Graph:
    """Parse the text form; constants not written in the text come from `weights` under their name.

    Raises GraphError that names the first line it cannot read.
    """
    arrays = dict(weights or {})
    document: dict[str, Any] = {"schema_version": 1, "name": "", "dt": None, "tensors": [], "states": [], "entries": []}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        try:
            readable = not line or _read_line(line, document, arrays)
        except (ValueError, TypeError, OverflowError, RecursionError):
            readable = False
        if not readable:
            raise GraphError(f"graph text, line {number}", f"cannot be read: {line[:80]!r}")
    return from_document(document, arrays)
