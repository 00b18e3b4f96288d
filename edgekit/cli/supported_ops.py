"""`edgekit supported-ops`: every op in every backend and precision, and what the front ends read."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from edgekit.cli.output import JsonOption, Output, VerboseOption, table
from edgekit.errors import UsageError

WIDTH = 100


def supported_ops(
    from_: Annotated[
        str | None, typer.Option("--from", help="Instead: the operators that a front end reads: torch, onnx or nir.")
    ] = None,
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Print what each backend does with each op of the IR in each precision; with -v also what the ops mean."""
    from edgekit.convert.support import read_by

    if from_ is None:
        _print_table(json=json, verbose=verbose)
        return
    if verbose:
        raise UsageError("--verbose", "is not used with --from, which has no more to say", "leave one of them out")
    names = read_by(from_)

    def human(console: Console) -> None:
        console.print(f"{from_}: {len(names)} operators are read", style="bold")
        width = max(map(len, names)) + 2
        across = max(1, WIDTH // width)
        for at in range(0, len(names), across):
            console.print("".join(f"{name:<{width}}" for name in names[at : at + across]).rstrip())

    Output(as_json=json).answer({"from": from_, "operators": names}, human)


def _print_table(*, json: bool, verbose: bool) -> None:
    from edgekit.convert.support import MEANING, columns, support_table

    rows, places = support_table(), [(backend, precisions) for backend, precisions, _ in columns()]

    def human(console: Console) -> None:
        shown = table("op", *(f"{backend} {_brief(precisions)}" for backend, precisions in places))
        for row in rows:
            cells = [row["backends"][backend][precisions[0]] for backend, precisions in places]
            shown.add_row(str(row["op"]), *cells)
        console.print(shown)
        console.print()
        for word, meaning in MEANING.items():
            console.print(f"{word}: {meaning}")
        console.print("w8 has int8 weights and the arithmetic of fp32; onnx int8 is QDQ: linear and conv on int8")
        if verbose:
            meanings = table("op", "group", "attributes", "meaning")
            for row in rows:
                meanings.add_row(row["op"], row["group"], " ".join(row["attributes"]), row["meaning"])
            console.print()
            console.print(meanings)

    Output(as_json=json).answer({"ops": rows, "how": dict(MEANING)}, human)


def _brief(precisions: tuple[str, ...]) -> str:
    return ", ".join(precisions) if len(precisions) < 4 else f"{precisions[0]} to {precisions[-1]}"
