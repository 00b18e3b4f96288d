"""Commands that a page only shows, indented or in a sentence: they need a board, a sensor, a model of the reader's.

Commands in a fenced block are run by tests; of these a test asks the command line itself whether it takes them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import typer

from edgekit.bench.command import bench_app
from edgekit.cli.app import app
from tools.docs.blocks import FENCE

_CODE = re.compile(r"^    (?P<block>\S.*)$|`(?P<inline>edgekit [^`]+)`", re.MULTILINE)
PROGRAM = "edgekit"


def shown(page: Path) -> Iterator[tuple[list[str], bool]]:
    """Every call of edgekit outside the fenced blocks of a page, one in a pipe as well: its words without the
    program's name, and whether it stands in a sentence, which may leave out what it is not about."""
    text = re.sub(r"\\\n +", " ", FENCE.sub("", page.read_text(encoding="utf-8")))
    for found in _CODE.finditer(text):
        line = found["block"] or found["inline"]
        words = list(_lexer(line)) if PROGRAM in line else []
        starts = [at for at, word in enumerate(words) if word == PROGRAM and (not at or words[at - 1] in ("|", "&&"))]
        for start in starts:
            ends = (at for at, word in enumerate(words) if at > start and set(word) <= set("|&;<>"))
            yield words[start + 1 : next(ends, len(words))], bool(found["inline"])


def refused(words: list[str], abridged: bool = False) -> str:
    """Why the command line does not take these words; empty when it does. Nothing is run.

    Of an `abridged` call arguments may be missing, and the value of its last option.
    """
    verb = _verbs().get(words[0]) if words else None
    if verb is None:
        return "is no verb"
    try:
        verb.make_context(f"{PROGRAM} {words[0]}", words[1:])
    except Exception as error:  # whatever the parser of the command line has
        reason = str(error) or repr(error)
        return "" if abridged and re.search(r"^Missing parameter|requires an argument", reason) else reason
    return ""


@cache
def _verbs() -> Mapping[str, Any]:
    command: Any = typer.main.get_command(app)
    return {**command.commands, "bench": typer.main.get_command(bench_app())}


def _lexer(line: str) -> shlex.shlex:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    return lexer
