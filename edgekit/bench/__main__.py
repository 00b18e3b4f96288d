"""`python -m edgekit.bench`: exit code 0 when everything was measured (goals may be missed), 1 when a program of the
table over all targets or of integer programs could not be built or run, 2 for bad usage.
"""

from __future__ import annotations

import json as json_module
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from edgekit.bench import FULL, QUICK, IntegerReport, Report, TargetReport, run_bench, run_integer, run_targets
from edgekit.bench.cases import CASES, FAMILIES
from edgekit.bench.integer import MODELS
from edgekit.bench.peers import PEERS
from edgekit.bench.tables import WIDTH
from edgekit.errors import EdgekitError, UsageError

FAILED, BAD_INPUT = 1, 2


def bench(
    *,
    models: Annotated[str | None, typer.Option(help="Models, separated by commas.")] = None,
    peers: Annotated[str, typer.Option(help="Peers, separated by commas; empty for none.")] = ",".join(PEERS),
    targets: Annotated[bool, typer.Option("--targets", help="No timing: a table over all emulated targets.")] = False,
    integer: Annotated[
        bool, typer.Option("--integer", help="No timing: int8 programs on watches and boards, and their goals.")
    ] = False,
    keep: Annotated[Path | None, typer.Option(help="Write the libraries that were timed to this folder.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write all figures to this file.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer rounds, for a first look.")] = False,
) -> None:
    """Time edgekit and its peers side by side, and count instructions on the emulated Raspberry Pi 4."""
    if json is not None and not json.parent.is_dir():
        raise UsageError(f"--json {json}", "is in a folder that does not exist")
    if keep is not None and not keep.is_dir():
        raise UsageError(f"--keep {keep}", "is not a folder")
    if targets and integer:
        raise UsageError("--targets", "cannot be combined with --integer", "one table at a time")
    if (targets or integer) and (quick or keep or peers != ",".join(PEERS)):
        table = "--targets" if targets else "--integer"
        raise UsageError(table, "times nothing", "leave out --quick, --keep and --peers")
    if models is None:
        models = ",".join(FAMILIES if targets else MODELS if integer else CASES)
    os.environ["OMP_NUM_THREADS"] = "1"  # before anything that reads it is imported
    width = None if sys.stdout.isatty() else WIDTH
    bare = bool(os.environ.get("CI"))
    report: Report | TargetReport | IntegerReport
    with Console(stderr=True, quiet=bare).status("start") as status:
        if targets:
            report = run_targets(_names(models), status.update)
        elif integer:
            report = run_integer(_names(models), status.update)
        else:
            report = run_bench(_names(models), _names(peers), QUICK if quick else FULL, status.update, keep=keep)
    report.print(Console(highlight=False, width=width))
    if json is not None:
        json.write_text(json_module.dumps(report.to_dict(), indent=1) + "\n", encoding="utf-8")
    if not isinstance(report, Report) and not report.complete:
        raise typer.Exit(FAILED)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def main() -> None:
    """Run, and turn every fault a user can cause into one line and exit code 2."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(bench)
    try:
        app()
    except (EdgekitError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)


if __name__ == "__main__":
    main()
