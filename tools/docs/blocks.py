"""Code blocks of a page, and the commands in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(?P<language>[a-z]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
KEPT = re.compile(r"(?:#|/\*) (?P<name>\w+\.(?:py|c|toml))\b")
EXIT = re.compile(r"#.*\bexit code (?P<code>\d+)")
SHELL, PYTHON, OUTPUT = "sh", "python", "text"


@dataclass(frozen=True)
class Block:
    """One fenced block of a page: its language, its text, and the line that it begins at."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def kept(self) -> str:
        """The name of the file that the block is to be kept in, as its first line says; empty for none."""
        found = KEPT.match(self.text)
        return found["name"] if found else ""

    def commands(self) -> list[str]:
        """The commands of a shell block: its lines without comments of their own, continued ones joined."""
        joined = self.text.replace("\\\n", " ")
        return [line.strip() for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found["language"], found["text"])
        for found in FENCE.finditer(text)
    ]


def exit_code(command: str) -> int:
    """What a command has to end with: 0, or what its comment says (`# exit code 2`)."""
    said = EXIT.search(command)
    return int(said["code"]) if said else 0


def missing_lines(expected: str, output: str) -> list[str]:
    """The lines of `expected` that do not stand in `output`, in their order; `…` stands for anything in a line."""
    left, missing = iter(output.splitlines()), []
    for line in filter(str.strip, expected.splitlines()):
        pattern = r"\s+".join(".*".join(map(re.escape, word.split("…"))) for word in line.split())
        if line.strip() != "…" and not any(re.search(pattern, printed) for printed in left):
            missing.append(line)
    return missing
