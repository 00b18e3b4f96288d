"""The certificate of an integer program for people: what its states and sums can reach, and how that is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from edgekit.cli.output import table

WHAT_ERRORS_ARE = (
    "rounding: the most by which a state is off exact arithmetic fed with the same integers; residue: the most that "
    "silence leaves of a state that nothing is added to; both in stored integers, and in real units"
)


def print_ranges(console: Console, ranges: Mapping[str, Any] | None) -> None:
    """A certificate, or why there is none."""
    if not ranges:
        console.print("no certificate: a float program, whose values do not wrap around; nothing is proven of them")
        return
    if ranges["states"]:
        console.print(_states(ranges["states"]))
        for row in ranges["states"]:
            console.print(f"  {row['tensor']}: {row['method']}, {row['note']}")
        console.print(WHAT_ERRORS_ARE)
    if ranges["accumulators"]:
        console.print(_sums(ranges["accumulators"]))
    for row in ranges["saturates"]:
        console.print(
            f"saturates: {row['op']} -> {row['tensor']}, {row['lo']:,} to {row['hi']:,} clipped to {row['dtype']}"
        )
    inputs = ", ".join(f"{row['tensor']} {row['lo']:,} to {row['hi']:,}" for row in ranges["inputs"])
    since = "after a reset, and from every state that can be restored" if ranges["from_any_state"] else "after a reset"
    console.print(f"for all inputs ({inputs}) and at all times {since}, no value wraps around")


def _states(rows: list[Mapping[str, Any]]) -> Table:
    shown = table("state", "dtype", "bits", "stored", "real", "rounding", "residue", right=(2, 3, 4, 5, 6))
    for row in rows:
        shape = "x".join(map(str, row["shape"])) or "1"
        real = f"{row['real_lo']:.4g} to {row['real_hi']:.4g}" if "real_lo" in row else ""
        shown.add_row(
            row["tensor"],
            f"{row['dtype']} {shape}",
            _bits(row),
            f"{row['lo']:,} to {row['hi']:,}",
            real,
            _error(row, "rounding"),
            _error(row, "residue"),
        )
    return shown


def _sums(rows: list[Mapping[str, Any]]) -> Table:
    shown = table("sums, the fullest first", "op", "dtype", "bits", "stored", right=(3, 4))
    for row in rows:
        shown.add_row(row["tensor"], row["op"], row["dtype"], _bits(row), f"{row['lo']:,} to {row['hi']:,}")
    return shown


def _bits(row: Mapping[str, Any]) -> str:
    return f"{row['bits']} of {row['of_bits']}"


def _error(row: Mapping[str, Any], name: str) -> str:
    if name not in row:
        return "-"
    real = f" ({row[f'real_{name}']:.2g})" if f"real_{name}" in row else ""
    return f"{row[name]:.3g}{real}"
