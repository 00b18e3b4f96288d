"""Commands of a page in forks of one process that has loaded the packages: each is a process of its own, without the
seconds that torch takes to load.

A command that needs a shell (a pipe, a variable, a second program) is not run here. The worker itself is
`python -m tools.docs.worker`: it reads an object a line and prints an exit code a line.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import shlex
import subprocess
import sys
import tempfile
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("torch", "pydantic.type_adapter", "edgekit.cli.app", "edgekit.models", "edgekit.convert", "edgekit.verify")

Asked = Mapping[str, Any]  # words, read, output, folder, environment


class Worker:
    """Runs calls in forks of one process, and says of others that they are not for it; to be closed at the end."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tools.docs.worker"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def close(self) -> None:
        """End the process."""
        with self._process as process:
            if process.stdin is not None:
                process.stdin.close()

    def run(self, call: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[int, str] | None:
        """Exit code and what was printed; None for a call that is not one program of ours."""
        if (plain := _plain(call)) is None:
            return None
        words, read = plain
        with tempfile.NamedTemporaryFile() as printed:
            asked = {"words": words, "read": read, "folder": str(folder), "environment": dict(environment)}
            asked["output"] = printed.name
            if self._process.stdin is None or self._process.stdout is None:
                raise RuntimeError("a worker without pipes")
            self._process.stdin.write(json.dumps(asked).encode() + b"\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            printed.seek(0)
            return code, printed.read().decode("utf-8", "replace")


def _plain(call: Sequence[str]) -> tuple[list[str], str] | None:
    """The words of a call and the file it reads from, if it is `edgekit …`, `python -m …` or a program in Python."""
    if call[0] == "python":
        return list(call), os.devnull
    lexer = shlex.shlex(call[-1], posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words, read = list(lexer), os.devnull
    if words[-2:-1] == ["<"]:
        words, read = words[:-2], words[-1]
    if not (words[:1] == ["edgekit"] or words[:2] == ["python", "-m"]) or set("".join(words)) & set("|&;<>()$*?~`"):
        return None
    return words, read


def serve() -> int:
    """Load the packages, and become each command that is asked for, in a fork."""
    for name in PACKAGES:
        __import__(name)
    gc.freeze()
    answers = os.fdopen(os.dup(1), "w")
    for line in iter(sys.stdin.readline, ""):
        if (child := os.fork()) == 0:
            _end(_become, json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)
    return 0


def _end(do: Callable[[Asked], None], asked: Asked) -> NoReturn:
    """Do it, and end as Python does, but for taking the packages down, which takes longer than most commands."""
    code: object = 0
    try:
        do(asked)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def _become(asked: Asked) -> None:
    words, folder = list(asked["words"]), str(asked["folder"])
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(dict(asked["environment"]))
    for number, name, flags in ((0, asked["read"], os.O_RDONLY), (1, asked["output"], os.O_WRONLY)):
        opened = os.open(str(name), flags)
        os.dup2(opened, number)
        os.close(opened)
    os.dup2(1, 2)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115 -- until the end
    sys.path[0] = folder
    if words[0] == "edgekit":
        from edgekit.cli import main

        sys.argv = words
        main()
    elif words[1] == "-m":
        sys.argv = words[2:]
        runpy.run_module(words[2], run_name="__main__", alter_sys=True)
    else:
        sys.argv = ["-c"]
        module = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(words[2], "<string>", "exec"), module.__dict__)  # a block of a page, as `python -c` runs it


if __name__ == "__main__":
    sys.exit(serve())
