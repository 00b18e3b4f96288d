"""`edgekit supported-ops`: the op table, and which PyTorch ops the front end lowers into it."""

from __future__ import annotations

from rich.console import Console

from edgekit.cli.output import JsonOption, Output, table


def supported_ops(json: JsonOption = False) -> None:
    """Print the ops of the IR, what they mean, and what the C backend does with them."""
    from edgekit.backends.c import SUPPORTED
    from edgekit.ir import OPS

    def how(kind: str) -> str:
        if kind in SUPPORTED:
            return "kernel"
        if OPS[kind].group == "elementwise":
            return "in a fused loop"
        return "decomposed" if OPS[kind].decompose else "none"

    rows = [
        {"op": kind, "group": spec.group, "meaning": spec.summary, "attributes": sorted(spec.attrs), "c": how(kind)}
        for kind, spec in OPS.items()
    ]

    def human(console: Console) -> None:
        shown = table("op", "group", "C backend", "attributes", "meaning")
        for row in rows:
            attributes = " ".join(row["attributes"])
            shown.add_row(str(row["op"]), str(row["group"]), str(row["c"]), attributes, str(row["meaning"]))
        console.print(shown)

    Output(as_json=json).answer({"ops": rows}, human)
