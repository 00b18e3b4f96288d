"""`edgekit targets`: the devices programs are built for, with the source of every figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from edgekit.cli.output import JsonOption, Output, table

if TYPE_CHECKING:
    from edgekit.target import Target


def targets(
    name: Annotated[str | None, typer.Argument(help="Show this target alone, with the sources of its figures.")] = None,
    json: JsonOption = False,
) -> None:
    """List the targets, or show one."""
    from edgekit.target import ALIASES, list_targets, load_target

    known = list_targets()
    found = [load_target(name)] if name else [load_target(n) for n in known]
    aliases = {alias: real for alias, real in ALIASES.items() if real in known}

    def human(console: Console) -> None:
        if name:
            _show(console, found[0])
        else:
            _list(console, found)
            console.print("\n" + ", ".join(f"{alias} is short for {real}" for alias, real in aliases.items()))

    Output(as_json=json).answer({"targets": [t.to_dict() for t in found], "aliases": aliases}, human)


def _list(console: Console, found: list[Target]) -> None:
    rows = table("target", "cores", "SIMD", "clock", "RAM", "emulated as", "description", right=(3, 4))
    for t in found:
        cores = t.cpu if t.cores is None else f"{t.cores} x {t.cpu}"
        clock, ram = readable("clock_hz", t.clock_hz), readable("ram_bytes", t.ram_bytes)
        description = f"{t.description} ({t.grade})" if t.grade else t.description
        rows.add_row(t.name, cores, t.simd, clock, ram, t.emulated_core or "-", description)
    console.print(rows)


def _show(console: Console, target: Target) -> None:
    fields = target.to_dict()
    sources, also, power = fields.pop("sources"), fields.pop("also"), fields.pop("power")
    sources |= {f"power.{key}": source for key, source in power.pop("sources").items()}
    rows = table("field", "value")
    for key, value in fields.items():
        rows.add_row(key, readable(key, value))
    for key, value in power.items():
        between = (
            f"{value['low']:.3g} to {value['high']:.3g}, {value['typical']:.3g}" if isinstance(value, dict) else value
        )
        rows.add_row(f"power.{key}", between or "-")
    console.print(rows)
    console.print("\nsources", style="bold")
    for key, source in sources.items():
        console.print(f"{key}: {source}")
    for arch in also:
        console.print(f"\nalso built for {arch}", style="bold")
        _show(console, target.also[arch])


def readable(key: str, value: object) -> str:
    """A field for people: memories in KiB to GiB, clocks in MHz, rates in GB/s, gaps as a dash."""
    if value is None or value == []:
        return "-"
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, int) and key.endswith("_bytes"):
        for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
            if value >= 1 << shift:
                return f"{value / (1 << shift):.4g} {unit}"
    if isinstance(value, int) and key == "clock_hz":
        return f"{value / 1e6:,.0f} MHz"
    if isinstance(value, int) and key == "memory_bytes_per_s":
        return f"{value / 1e9:.3g} GB/s"
    return str(value)
