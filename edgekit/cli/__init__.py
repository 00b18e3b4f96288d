"""The command line: one file per verb; each parses, calls the library, and prints."""

from __future__ import annotations

import os
import sys

from edgekit.cli.exits import BAD_INPUT, INTERRUPTED, STOPPED, report_error
from edgekit.cli.packages import explain_import


def main() -> None:
    """Entry point of `edgekit`."""
    _open_closed()
    try:
        from edgekit.cli.app import run_command_line  # here, so that Ctrl-C while packages load is no traceback

        code = run_command_line()
    except KeyboardInterrupt:
        report_error(STOPPED)
        code = INTERRUPTED
    except ImportError as error:
        text = explain_import(error)
        if text is None:
            raise
        report_error(text)
        code = BAD_INPUT
    sys.exit(code)


def _open_closed() -> None:
    """Give the standard streams that the caller has closed the null device: Python leaves None in their place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))
