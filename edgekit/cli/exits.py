"""How a command ends: its exit codes, and an error as one line for people and one object for machines."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable
from typing import TextIO

from edgekit.cli.packages import explain_import
from edgekit.errors import EdgekitError

SCHEMA_VERSION = 1
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
OK, ANSWER_IS_NO, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
STOPPED = "interrupted; no file is half written"  # all may be: it comes as well while the answer is printed


def give_up_output(stream: TextIO | None = None) -> None:
    """Let what is still to be printed to a stream, standard output if none is given, vanish: it could not be written
    at the exit either.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), (stream or sys.stdout).fileno())


def report_error(text: str) -> None:
    """Print an error, its list of items on lines of their own; with --json also as an object."""
    if "--json" in sys.argv:
        first, *items = text.split("\n  - ")
        print(json.dumps({"schema_version": SCHEMA_VERSION, "error": first, "items": items}, indent=1))
    try:
        print(f"error: {text}", file=sys.stderr, flush=True)
    except OSError:
        give_up_output(sys.stderr)  # the exit code says it still


def report(error: BaseException) -> int:
    """Print one clear line for a fault that a user can cause, and return its exit code; raises every other again."""
    text, code = _explain(error)
    report_error(text)
    return code


def answered(work: Callable[[], int]) -> int:
    """The exit code of `work`, or that of the fault a user can cause that ended it, which is one line then."""
    try:
        code = work()
        sys.stdout.flush()  # at the exit nobody could say what went wrong
        return code
    except BrokenPipeError:
        give_up_output()  # the reader left; that is no fault
        return OK
    except (EdgekitError, ImportError, KeyboardInterrupt, MemoryError, OSError) as error:
        return report(error)


def _explain(error: BaseException) -> tuple[str, int]:
    if isinstance(error, EdgekitError):
        return str(error), BAD_INPUT
    if isinstance(error, KeyboardInterrupt):
        return STOPPED, INTERRUPTED
    if (package := explain_import(error)) is not None:
        return package, BAD_INPUT
    if isinstance(error, MemoryError):
        return "memory: the input is too large for this computer; use less data at once", BAD_INPUT
    if isinstance(error, OSError):
        stuck = _stuck_output() if error.filename is None else None
        unnamed = f"a file in {tempfile.gettempdir()}, or what is written"  # Python names no file that it could open
        thing = f"{stuck}: cannot be written" if stuck else error.filename or unnamed
        remedy = "; make some room" if error.errno in FULL else ""
        return f"{thing}: {error.strerror or error}{remedy}", BAD_INPUT
    raise error


def _stuck_output() -> str | None:
    """The standard stream to which nothing more can be printed, by printing nothing; what waits is given up then."""
    for stream, name in ((sys.stderr, "standard error"), (sys.stdout, "standard output")):
        try:
            stream.flush()
            os.write(stream.fileno(), b"")
        except io.UnsupportedOperation:  # no file, but memory
            continue
        except OSError:
            give_up_output(stream)
            return name
    return None
