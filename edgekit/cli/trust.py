"""`edgekit trust`: the list of artifacts whose native code may run on this computer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from edgekit.cli.output import JsonOption, Output, table
from edgekit.errors import UsageError


def trust(
    file: Annotated[Path | None, typer.Argument(help="The artifact whose code you want to run here.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the artifact off the list.")] = False,
    json: JsonOption = False,
) -> None:
    """Trust an artifact: its own native code may then run on this computer. Without FILE, print the list."""
    from edgekit.artifact import list_path, list_trusted, read_artifact, untrust
    from edgekit.artifact import trust as add

    if file is None:
        if remove:
            raise UsageError("--remove", "needs the artifact to take off the list")
        trusted = list_trusted()

        def show(console: Console) -> None:
            rows = table("SHA-256", "file")
            for sha256, name in trusted.items():
                rows.add_row(sha256, name)
            console.print(rows if trusted else "nothing is trusted yet")

        Output(as_json=json).answer({"list": str(list_path()), "trusted": trusted}, show)
        return
    if remove:
        sha256, word = read_artifact(file).sha256, "no longer trusted" if untrust(file) else "was not on the list"
    else:
        sha256, word = add(file), "trusted"

    def human(console: Console) -> None:
        console.print(f"{file}: {word}\nSHA-256 {sha256}\nlist    {list_path()}")

    Output(as_json=json).answer({"file": str(file), "sha256": sha256, "state": word}, human)
