"""`edgekit doctor`: what is installed here, what is missing, and what to do about it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from edgekit.cli.exits import ANSWER_IS_NO
from edgekit.cli.output import JsonOption, Output, table

if TYPE_CHECKING:
    from edgekit.toolchain.doctor import Tool


def _state(tool: Tool) -> str:
    return "ok" if tool.ok else "missing" if tool.path is None else "broken"


def doctor(json: JsonOption = False) -> None:
    """Check this computer: compilers, emulators and packages, with a remedy for what is missing."""
    from edgekit.target import load_target
    from edgekit.toolchain import doctor as check

    tools = check()
    host = load_target("host")

    def human(console: Console) -> None:
        console.print(f"host: {host.arch}, {host.cpu}, SIMD {host.simd}\n")
        rows = table("tool", "version", "state", "remedy")
        for tool in tools:
            rows.add_row(tool.tool, tool.version or "-", _state(tool), tool.remedy or "")
        console.print(rows)

    document = {"host": host.to_dict(), "tools": [dataclasses.asdict(t) for t in tools]}
    Output(as_json=json).answer(document, human)
    if not any(t.ok for t in tools):
        raise typer.Exit(ANSWER_IS_NO)
