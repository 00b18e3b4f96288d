"""`edgekit bench`: edgekit and its peers side by side. Its options are those of `python -m edgekit.bench`."""

from __future__ import annotations

import typer

SETTINGS = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
"""All that is typed goes on to the benchmark, whose packages need not be loaded for other verbs."""


def bench(context: typer.Context) -> int:
    """Time a step beside PyTorch, ONNX Runtime, LiteRT, ExecuTorch and OpenVINO; or count instructions of it."""
    from edgekit.bench.command import run_command

    return run_command(context.args, "edgekit bench")
