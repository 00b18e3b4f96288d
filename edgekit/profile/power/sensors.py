"""What a power sensor is, as data: what is read of it, what the texts mean, and what it sees of the board.

Reading is apart from meaning: a `Tree` hands out the texts of files, here or on a board, and `Sensor.parse` turns them
into one figure a rail.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import Protocol

WATTS, JOULES = "W", "J"
COMMAND_S = 2.0  # a command that takes longer than this hangs
PROGRAMS = ("/usr/bin", "/bin", "/opt/vc/bin")

Parse = Callable[[Sequence[str]], tuple[float, ...]]


class Tree(Protocol):
    """A computer's files and commands, by absolute paths."""

    def glob(self, pattern: str) -> list[str]:
        """Paths that match, in the order of their numbers; none where nothing does."""

    def read(self, path: str) -> str:
        """The text of a file; OSError when it cannot be read."""

    def run(self, command: Sequence[str]) -> str:
        """What a command prints; OSError when it fails or hangs."""


@dataclass(frozen=True)
class LocalTree:
    """This computer, or a part of its files below `root` that is laid out like one."""

    root: Path = Path("/")

    def glob(self, pattern: str) -> list[str]:
        """Paths that match, in the order of their numbers; none where nothing does."""
        found = (f"/{path.relative_to(self.root)}" for path in self.root.glob(pattern.lstrip("/")))
        return sorted(found, key=lambda path: (len(path), path))

    def read(self, path: str) -> str:
        """The text of a file; OSError when it cannot be read."""
        with (self.root / path.lstrip("/")).open("rb") as file:
            return file.read().decode(errors="replace").strip(" \t\r\n\0")

    def run(self, command: Sequence[str]) -> str:
        """What a command below the root prints; OSError when it fails or hangs."""
        program = self.root / command[0].lstrip("/")
        try:
            done = subprocess.run([program, *command[1:]], capture_output=True, timeout=COMMAND_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{command[0]} took longer than {COMMAND_S:g} s") from error
        text = done.stdout.decode(errors="replace")
        if done.returncode:
            said = (done.stderr.decode(errors="replace") + text).strip()
            raise OSError(f"{command[0]} ended with {done.returncode}: {said}")
        return text


@dataclass(frozen=True)
class Rail:
    """One supply that a sensor tells apart.

    `counted` says whether it is part of the total; `step` is the least difference of two readings, W or J, None where
    nobody documents it; `wraps` is the reading in J at which a counter of energy begins again.
    """

    name: str
    counted: bool = True
    step: float | None = None
    wraps: float | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where figures of power, W, or of a counter of energy, J, come from: a sensor of a board, or a meter's file.

    `sees` says what the total is of, `misses` what of the board it leaves out. `update_s` is how long a reading stays
    the same where that is documented.
    """

    name: str
    family: str
    unit: str
    rails: tuple[Rail, ...]
    sees: str = "what is supplied through it"
    misses: str = ""
    update_s: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def step(self) -> float | None:
        """The least difference that tells two totals apart, W or J; None where a rail's own is not documented.

        Independent roundings add up like noise: the root of the sum of squares.
        """
        steps = [rail.step for rail in self.rails if rail.counted]
        known = [step for step in steps if step is not None]
        return None if len(known) < len(steps) else sqrt(sum(step**2 for step in known))


@dataclass(frozen=True, kw_only=True)
class Sensor(Source):
    """A source that is read again and again.

    `parse` takes the texts of `files` in their order, or that of the one `command`, and gives a figure for each rail;
    ValueError when they are no reading. `most_hz` is the rate beyond which reading disturbs what is measured.
    """

    parse: Parse = field(repr=False)
    files: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    most_hz: float = 100.0

    def read(self, tree: Tree) -> tuple[str, ...]:
        """The texts that `parse` takes; OSError when one cannot be read."""
        return (tree.run(self.command),) if self.command else tuple(tree.read(path) for path in self.files)


def total_rails(names: Sequence[str], whole: Sequence[str]) -> tuple[bool, ...]:
    """Which rails make the total: the first of those called `whole` that is there, alone, else all of them."""
    alone = next((name for name in whole if name in names), None)
    return tuple(alone is None or name == alone for name in names)


def whole_number(text: str) -> int:
    """The number in front of a unit, as drivers print both; ValueError when there is none."""
    first = text.split(maxsplit=1)[:1]
    if not first:
        raise ValueError("is empty")
    return int(first[0])
