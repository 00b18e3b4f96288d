"""How a command ends: its exit codes, and an error as one line for people and one object for machines."""

from __future__ import annotations

import json
import os
import sys

SCHEMA_VERSION = 1
OK, ANSWER_IS_NO, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
STOPPED = "interrupted; no file is half written"  # all may be: it comes as well while the answer is printed


def give_up_output() -> None:
    """Let what is still to be printed vanish: at the exit it could not be written either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def report_error(text: str) -> None:
    """Print an error, its list of items on lines of their own; with --json also as an object."""
    if "--json" in sys.argv:
        first, *items = text.split("\n  - ")
        print(json.dumps({"schema_version": SCHEMA_VERSION, "error": first, "items": items}, indent=1))
    print(f"error: {text}", file=sys.stderr)
