"""The op table as a page, from OPS and from what the backends and front ends say of themselves."""

from __future__ import annotations

from edgekit.convert.support import FROM, MEANING, columns, read_by, support_table
from edgekit.ir import OPS
from tools.docs.markdown import code, escape, table

HEAD = """# Ops

A program is a list of these ops over tensors and states. One table, `OPS` in `edgekit/ir/ops/`, says of each what it
takes, what it gives, how the numpy reference evaluates it and what it costs; serialiser, verifier, backends, tests and
this page are derived from it.
`edgekit supported-ops` prints the same. Integers are rounded half up, once for each requantisation, and saturate.
"""
ABOUT = {
    "elementwise": "One value at a time, with numpy's broadcasting. Comparisons give spikes.",
    "contract": "Sums of products, and sums. A `linear` or `conv` over spikes adds the weights of what fired.",
    "integer": "The border of an integer program, and tables of functions.",
    "movement": "The same values elsewhere. Nothing is computed.",
    "plastic": "Over weights that change: entries that learn on the device.",
}
NAMES = {"torch": "PyTorch, as ATen operators", "onnx": "ONNX", "nir": "NIR"}


def ops_page() -> str:
    """The ops by group, how each backend has them, and what each front end reads."""
    rows = support_table()
    lines = [HEAD]
    groups = dict.fromkeys(row["group"] for row in rows)
    for group in groups:
        lines += [f"## {group}", "", ABOUT[group], ""]
        cells = [
            (code(row["op"]), _arity(row["op"]), ", ".join(map(code, row["attributes"])), escape(row["meaning"]))
            for row in rows
            if row["group"] == group
        ]
        lines += [*table(("op", "inputs", "attributes", "meaning"), cells), ""]
    return "\n".join([*lines, *_backends(rows), *_front_ends()])


def _arity(kind: str) -> str:
    low, high = OPS[kind].arity
    return str(low) if low == high else f"{low} or more" if high is None else f"{low} to {high}"


def _backends(rows: list[dict[str, dict[str, dict[str, str]]]]) -> list[str]:
    places = [(backend, precisions) for backend, precisions, _ in columns()]
    lines = ["## In the backends", ""]
    lines += [f"- *{word}*: {escape(meaning)}" for word, meaning in MEANING.items()]
    lines += ["", "w8 has int8 weights and the arithmetic of fp32; onnx int8 is QDQ, with linear and conv on int8.", ""]
    cells = [(code(str(row["op"])), *(row["backends"][b][precisions[0]] for b, precisions in places)) for row in rows]
    return [*lines, *table(("op", *(f"{b} {', '.join(precisions)}" for b, precisions in places)), cells), ""]


def _front_ends() -> list[str]:
    lines = ["## What the front ends read", ""]
    for name in FROM:
        found = read_by(name)
        lines += [f"### {NAMES[name]}: {len(found)}", "", ", ".join(map(code, found)), ""]
    return lines
