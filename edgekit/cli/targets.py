"""`edgekit targets`: the devices programs are built for, with the source of every figure."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from edgekit.cli.output import JsonOption, Output, table


def targets(
    name: Annotated[str | None, typer.Argument(help="Show this target alone, with the sources of its figures.")] = None,
    json: JsonOption = False,
) -> None:
    """List the targets, or show one."""
    from edgekit.target import list_targets, load_target

    found = [load_target(name)] if name else [load_target(n) for n in list_targets()]

    def megabytes(size: int | None) -> str:
        return "-" if size is None else f"{size / 2**20:,.0f} MiB"

    def human(console: Console) -> None:
        if name is None:
            rows = table("target", "core", "SIMD", "clock", "RAM", "emulated as", "description", right=(3, 4))
            for t in found:
                clock = "-" if t.clock_hz is None else f"{t.clock_hz / 1e6:,.0f} MHz"
                rows.add_row(
                    t.name, t.cpu, t.simd, clock, megabytes(t.ram_bytes), t.emulated_core or "-", t.description
                )
            console.print(rows)
            return
        target = found[0].to_dict()
        sources = target.pop("sources")
        rows = table("field", "value", "source")
        for key, value in target.items():
            shown = " ".join(value) if isinstance(value, list) else "-" if value is None else str(value)
            rows.add_row(key, shown, sources.get(key, ""))
        console.print(rows)

    Output(as_json=json).answer({"targets": [t.to_dict() for t in found]}, human)
