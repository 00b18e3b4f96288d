"""The reference of the command line, from the commands themselves."""

from __future__ import annotations

import inspect
from typing import Any

import typer

from edgekit.bench.command import bench_app
from edgekit.cli.app import app
from tools.docs.markdown import code, escape, table

HEAD = """# Command line

What `edgekit VERB --help` says, on one page. Every verb that gives an answer takes `--json`, which prints one object
with `schema_version`. Exit codes: 0 ok; 1 the answer is no (a verification that fails, a guard that refuses); 2 bad
usage or input; 130 interrupted, as by Ctrl-C. An option that has no meaning for what was asked is refused.
"""


def cli_page() -> str:
    """A section for each verb: what it does, how it is called, its arguments and options."""
    command: Any = typer.main.get_command(app)
    lines = [HEAD]
    for name, verb in command.commands.items():
        # What follows `edgekit bench` goes on to a command line of the benchmark's own.
        lines += _verb(name, typer.main.get_command(bench_app()) if name == "bench" else verb)
    return "\n".join(lines)


def _verb(name: str, verb: Any) -> list[str]:
    context = typer.Context(verb, info_name=f"edgekit {name}")
    options, lines = [], [f"## {name}", ""]
    for paragraph in inspect.cleandoc(verb.help).split("\n\n"):
        lines += [escape(paragraph), ""]
    lines += [f"    edgekit {name} {' '.join(verb.collect_usage_pieces(context))}", ""]
    for parameter in verb.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and "--help" not in parameter.opts:
            options.append((code(record[0]), escape(record[1])))
    return [*lines, *table(("argument or option", "meaning"), options), ""]
