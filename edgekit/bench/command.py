"""The command line of the benchmark, for `edgekit bench` and `python -m edgekit.bench`.

Exit code 0 when everything was measured (goals may be missed), 1 when a program of a table without timing could not be
built or run, 2 for bad usage.
"""

from __future__ import annotations

import json as json_module
import os
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console

from edgekit.bench.cases import CASES, FAMILIES
from edgekit.bench.given import given_case
from edgekit.bench.integer import MODELS, IntegerReport, run_integer
from edgekit.bench.measure import run_bench, thread_counts
from edgekit.bench.page import check_packages, write_html
from edgekit.bench.peers import PEERS
from edgekit.bench.report import Report
from edgekit.bench.tables import WIDTH
from edgekit.bench.targets import TargetReport, run_targets
from edgekit.bench.timing import FULL, QUICK
from edgekit.errors import UsageError

FAILED = 1
_ALL_PEERS = ",".join(PEERS)
# What typer raises for options and arguments that fit nothing; it names this class only as a base of BadParameter.
_WRONG_USAGE = cast("type[Exception]", typer.BadParameter.__base__)


class Threads(str, Enum):
    """How many threads peers get."""

    ONE, ALL, BOTH = "1", "all", "both"


def bench(
    model: Annotated[
        Path | None,
        typer.Argument(help="A model file of edgekit.save, or a state_dict of a known family, instead of --models."),
    ] = None,
    *,
    models: Annotated[str | None, typer.Option(help=f"Models, separated by commas: {', '.join(CASES)}.")] = None,
    peers: Annotated[str, typer.Option(help="Peers, separated by commas; empty for none.")] = _ALL_PEERS,
    threads: Annotated[Threads, typer.Option(help="How many threads peers get; edgekit has one.")] = Threads.BOTH,
    calib: Annotated[
        Path | None,
        typer.Option(
            help="With a model file: .npy or .npz of windows [N, T, …] in raw units, to run over and calibrate."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="With a state_dict: JSON with what the weights do not tell.")
    ] = None,
    targets: Annotated[bool, typer.Option("--targets", help="No timing: a table over all emulated targets.")] = False,
    instructions: Annotated[
        bool,
        typer.Option(
            "--instructions",
            "--integer",
            help="No timing: instructions of a step, int8 on watches and boards and fp32 on boards, and their goals.",
        ),
    ] = False,
    markdown: Annotated[Path | None, typer.Option(help="With --instructions: write the table to this file.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Write the libraries that were timed to this folder.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the JSON object to this file too.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write one self-contained page to this file.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer rounds, for a first look.")] = False,
) -> int:
    """Time edgekit and its peers side by side: same model, same data, one run; or count instructions of a step."""
    _check_files({"--output": output, "--html": html, "--markdown": markdown}, keep)
    _check_usage(
        model=model,
        models=models,
        calib=calib,
        config=config,
        targets=targets,
        instructions=instructions,
        markdown=markdown,
    )
    if (targets or instructions) and (quick or keep or html or peers != _ALL_PEERS):
        table = "--targets" if targets else "--instructions"
        raise UsageError(table, "times nothing", "leave out --quick, --keep, --html and --peers")
    if html is not None:
        check_packages()
    if models is None:
        models = ",".join(FAMILIES if targets else MODELS if instructions else () if model else CASES)
    os.environ["OMP_NUM_THREADS"] = "1"  # before anything that reads it is imported; peers have processes of their own
    bare = json or not sys.stderr.isatty() or bool(os.environ.get("CI"))
    report: Report | TargetReport | IntegerReport
    with Console(stderr=True, quiet=bare).status("start") as status:
        if targets:
            report = run_targets(_names(models), status.update)
        elif instructions:
            report = run_integer(_names(models), status.update)
        else:
            given = None if model is None else given_case(model, calib, config)
            report = run_bench(
                _names(models),
                _names(peers),
                QUICK if quick else FULL,
                status.update,
                threads=thread_counts(threads.value),
                given=given,
                keep=keep,
            )
    text = json_module.dumps(report.to_dict(), indent=1) + "\n"
    if json:
        print(text, end="")
    else:
        report.print(Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH))
    if output is not None:
        output.write_text(text, encoding="utf-8")
    if markdown is not None and isinstance(report, IntegerReport):
        markdown.write_text(report.to_markdown(), encoding="utf-8")
    if html is not None:
        write_html(report.to_dict(), html)
    return 0 if isinstance(report, Report) or report.complete else FAILED


def _check_files(files: dict[str, Path | None], keep: Path | None) -> None:
    for option, path in files.items():
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"{option} {path}", "is in a folder that does not exist")
    if keep is not None and not keep.is_dir():
        raise UsageError(f"--keep {keep}", "is not a folder")


def _check_usage(
    *,
    model: Path | None,
    models: str | None,
    calib: Path | None,
    config: Path | None,
    targets: bool,
    instructions: bool,
    markdown: Path | None,
) -> None:
    if targets and instructions:
        raise UsageError("--targets", "cannot be combined with --instructions", "one table at a time")
    if markdown is not None and not instructions:
        raise UsageError("--markdown", "is for the table of --instructions")
    if model is not None and (models is not None or targets or instructions):
        raise UsageError(f"model {model}", "is given", "leave out --models, --targets and --instructions")
    if model is None and (calib is not None or config is not None):
        raise UsageError("--calib and --config", "belong to a model file", "name one")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def bench_app() -> typer.Typer:
    """The command line of the benchmark."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(context_settings={"help_option_names": ["-h", "--help"]})(bench)
    return app


def run_command(arguments: Sequence[str], name: str) -> int:
    """Run the command line of `name` and return its exit code; EdgekitError, OSError and KeyboardInterrupt pass."""
    try:
        code = bench_app()(list(arguments), prog_name=name, standalone_mode=False)
    except _WRONG_USAGE as error:
        text = " ".join(str(cast("Any", error).format_message()).split()).rstrip(".")
        raise UsageError("command line", text, f"see {name} --help") from error
    return code if isinstance(code, int) else 0
