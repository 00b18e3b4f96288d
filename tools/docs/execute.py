"""Pages executed as a reader would: their shell and Python blocks, in order, in one folder.

python -m tools.docs.execute PAGE…

A `text` block after another says what that prints, at least: its lines have to come in their order, `…` stands for
anything. A command that has to fail says so in a comment: `# exit code 2`. Every Python block is a program of its own.
A block that begins with the name of a file in a comment (`# own.py`, `# small.toml`, `/* main.c */`) is kept in it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tools.docs.blocks import OUTPUT, PYTHON, SHELL, blocks, exit_code, missing_lines
from tools.docs.worker import Worker

ROOT = Path(__file__).parent.parent.parent
PROGRAMS = Path(sys.executable).parent
SEEN = ("examples", "tools", "docs", "Makefile")  # what pages name beside what they make
END = 2000  # characters of what a failed command printed

Change = Callable[[str], str | None]


def as_written(command: str) -> str | None:
    """Every command as it stands in the page."""
    return command


def execute(
    page: Path,
    folder: Path,
    change: Change = as_written,
    programs: Path = PROGRAMS,
    worker: Worker | None = None,
    **variables: str,
) -> list[str]:
    """Run the blocks of a page in `folder` until one goes wrong, and return what did: page, line and reason.

    `change` may give another command for one, or None to leave it out. `programs` is the folder of Python and what it
    has installed; `variables` are added to those of this process. A `worker` runs what it can, which saves time alone.
    """
    environment = {**os.environ, **variables, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    output = ""
    for block in blocks(page):
        where = f"{page.name}:{block.line}"
        if block.language == OUTPUT:
            if missing := missing_lines(block.text, output):
                return [f"{where}: is not printed: {line}" for line in missing] + [output[-END:]]
            continue
        if block.kept:
            (folder / block.kept).write_text(block.text, encoding="utf-8")
        if block.language == SHELL:
            calls = (["bash", "-c", command] for command in map(change, block.commands()) if command)
        elif block.language == PYTHON:
            calls = iter([["python", "-c", block.text]])
        else:
            continue
        output = ""
        for call in calls:
            ran = worker.run(call, folder, environment) if worker else None
            code, printed = ran or _run(call, folder, environment)
            output += printed
            if code != (wanted := exit_code(call[-1]) if block.language == SHELL else 0):
                return [f"{where}: {call[-1]}: exit code {code}, not {wanted}\n{printed[-END:]}"]
    return []


def prepare(folder: Path) -> Path:
    """Make what pages name visible in an empty folder, and return it."""
    for name in SEEN:
        (folder / name).symlink_to(ROOT / name)
    return folder


def _run(call: list[str], folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        call,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def main() -> int:
    """Execute pages, each in a folder of its own; 1 when something went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tools.docs.execute", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pages", nargs="+", type=Path)
    faults = []
    for page in parser.parse_args().pages:
        with tempfile.TemporaryDirectory() as folder:
            faults += execute(page.resolve(), prepare(Path(folder)))
    print("\n".join(faults) or "every block ran, and printed what its page says")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
