"""The verbs of the command line, and what becomes of every fault that a user can cause."""

from __future__ import annotations

import sys
from typing import Any, cast

import typer

from edgekit._version import __version__
from edgekit.cli import (
    bench,
    compress,
    convert,
    demo,
    deploy,
    doctor,
    inspect,
    learn,
    profile,
    run,
    search,
    supported_ops,
    targets,
    trust,
    verify,
)
from edgekit.cli.exits import BAD_INPUT, INTERRUPTED, OK, answered, report_error

app = typer.Typer(
    name="edgekit",
    help="Trained PyTorch models as verified, tiny, measured programs for edge devices.",
    epilog="Verbs share --target, --json, -o, -v and -q. Exit codes: 0 ok; 1 the answer is no; 2 bad usage or input; "
    "130 interrupted, as by Ctrl-C.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("doctor")(doctor.doctor)
app.command("targets")(targets.targets)
app.command("supported-ops")(supported_ops.supported_ops)
app.command("inspect")(inspect.inspect)
app.command("convert")(convert.convert)
app.command("compress")(compress.compress)
app.command("verify")(verify.verify)
app.command("run")(run.run)
app.command("profile")(profile.profile)
app.command("learn")(learn.learn)
app.command("deploy")(deploy.deploy)
app.command("bench", context_settings=bench.SETTINGS)(bench.bench)
app.command("search")(search.search)
app.command("demo")(demo.demo)
app.command("trust")(trust.trust)


def _version(show: bool) -> None:
    if show:
        print(f"edgekit {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """The options of edgekit itself."""


# What typer raises for options and arguments that fit nothing; it names this class only as a base of BadParameter.
_WRONG_USAGE = cast("type[Exception]", typer.BadParameter.__base__)


def _one_line(error: Any) -> str:
    return " ".join(str(error.format_message()).split()).rstrip(".")


def _answer() -> int:
    """Run the verb that the command line names and return its exit code."""
    arguments = sys.argv[1:] or ["--help"]
    try:
        code = app(arguments, standalone_mode=False)
    except _WRONG_USAGE as error:
        report_error(f"{_one_line(error)}; see edgekit --help")
        return BAD_INPUT
    except SystemExit:  # rich and typer exit when the pipe is closed, and for nothing else
        raise BrokenPipeError from None
    except typer.Abort:
        raise KeyboardInterrupt from None
    if code == INTERRUPTED:  # typer has caught Ctrl-C
        raise KeyboardInterrupt
    return code if isinstance(code, int) else OK


def run_command_line() -> int:
    """Run a verb and turn every fault a user can cause into one line and an exit code."""
    return answered(_answer)
