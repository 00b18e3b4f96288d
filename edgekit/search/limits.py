"""What a program may take and lose, and what came of a trial: figures, or why there are none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from edgekit.errors import DataError
from edgekit.target import Target


@dataclass(frozen=True)
class Outcome:
    """What one compression comes to on its target.

    `drop` is how many points it loses of what is judged, `error` the standard error of that over so many `windows`,
    `score` what it reaches, all in per cent. `flash` (code and constants), `weights` (constants as stored) and `ram`
    (states, scratch, stack) are bytes; `instructions` the mean of a step on the emulated core, None where none counts;
    `program` is the hash of the graph that was compiled.
    """

    drop: float
    error: float
    score: float
    windows: int
    flash: int
    weights: int
    ram: int
    instructions: float | None
    program: str


@dataclass(frozen=True)
class Failed:
    """A compression that gives no program, and why."""

    reason: str


Result = Outcome | Failed


def document_of(result: Result) -> dict[str, Any]:
    """A result as plain JSON values."""
    return asdict(result)


def result_of(document: Mapping[str, Any]) -> Result:
    """The result that `document_of` was given; DataError for what is none."""
    kind = Failed if "reason" in document else Outcome
    kinds = {field.name: str(field.type) for field in fields(kind)}
    if document.keys() != kinds.keys() or not all(_is(kinds[name], value) for name, value in document.items()):
        raise DataError("result of a trial", "lacks a figure, or holds something else in its place")
    return kind(**document)


def _is(kind: str, value: object) -> bool:
    """Whether a value is of the type that a field is annotated with."""
    if kind == "str":
        return isinstance(value, str)
    if value is None:
        return "None" in kind
    numbers = int if kind == "int" else int | float
    return isinstance(value, numbers) and not isinstance(value, bool) and math.isfinite(value)


ASKED = ("flash", "weights", "ram", "instructions")
"""The figures that a promise can limit beside the drop."""


def points(count: float) -> str:
    """A number of points in words."""
    return f"{count:g} point{'s' * (count != 1)}"


@dataclass(frozen=True)
class Limits:
    """The promise: points that may be lost, and the most bytes and instructions; None where there is no limit.

    `target_flash` and `target_ram` are the bytes that the target has, which limit as well, whatever was asked for.
    """

    drop: float
    flash: int | None = None
    weights: int | None = None
    ram: int | None = None
    instructions: float | None = None
    target_flash: int | None = None
    target_ram: int | None = None

    def on(self, target: Target) -> Limits:
        """The same limits on a target, with what it has."""
        return replace(self, target_flash=target.flash_bytes, target_ram=target.ram_bytes)

    def most(self, name: str) -> float | None:
        """The most of a figure of ASKED: what was asked for, and what is there; None where there is no limit."""
        given = (getattr(self, name), getattr(self, f"target_{name}", None))
        return min((limit for limit in given if limit is not None), default=None)

    def excess(self, outcome: Outcome) -> dict[str, float]:
        """By how much an outcome is beyond each limit, in the unit of the limit; 0 and below where it keeps it."""
        found = {"drop": outcome.drop - self.drop}
        for name in ASKED:
            limit, value = self.most(name), getattr(outcome, name)
            if limit is not None and value is not None:
                found[name] = value - limit
        return found

    def shares(self, outcome: Outcome) -> dict[str, float]:
        """The same as shares of the limits, so that they can be compared; points of drop count as they are."""
        excess = self.excess(outcome)
        return {name: by if name == "drop" else by / (self.most(name) or 1) for name, by in excess.items()}

    def kept(self, outcome: Outcome, margin: float = 0.0) -> bool:
        """Whether an outcome keeps the promise, with `margin` standard errors of its drop to spare."""
        excess = self.excess(outcome)
        return excess["drop"] + margin * outcome.error <= 0 and max(excess.values()) <= 0

    def size(self, outcome: Outcome) -> int:
        """What is to be small: the weights where they alone are limited, else the flash."""
        return outcome.weights if self.weights is not None and self.flash is None else outcome.flash

    @property
    def size_name(self) -> str:
        """What `size` is."""
        return "weights" if self.weights is not None and self.flash is None else "flash"

    def figures(self, plain: Outcome) -> tuple[str, ...]:
        """The figures beside the size that are worth a loss where an option saves them.

        Those are RAM and instructions where they are limited, and what the target has too little of for `plain` int8.
        """
        scarce = {name for name, by in self.excess(plain).items() if by > 0 and name in ("flash", "ram")}
        asked = {name for name in ("ram", "instructions") if getattr(self, name) is not None}
        scarce -= {name for name in scarce if getattr(self, name) is not None}
        return tuple(name for name in ASKED if name in asked | scarce and name != self.size_name)
