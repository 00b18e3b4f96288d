"""What a program may take and lose, and what came of a trial: figures, or why there are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


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
    """The result that `document_of` was given."""
    return Failed(**document) if "reason" in document else Outcome(**document)


@dataclass(frozen=True)
class Limits:
    """The promise: points that may be lost, and the most bytes and instructions; None where there is no limit."""

    drop: float
    flash: int | None = None
    weights: int | None = None
    ram: int | None = None
    instructions: float | None = None

    def excess(self, outcome: Outcome) -> dict[str, float]:
        """By how much an outcome is beyond each limit, in the unit of the limit; 0 and below where it keeps it."""
        found = {"drop": outcome.drop - self.drop}
        for name in ("flash", "weights", "ram", "instructions"):
            limit, value = getattr(self, name), getattr(outcome, name)
            if limit is not None and value is not None:
                found[name] = value - limit
        return found

    def shares(self, outcome: Outcome) -> dict[str, float]:
        """The same as shares of the limits, so that they can be compared; points of drop count as they are."""
        return {name: by if name == "drop" else by / getattr(self, name) for name, by in self.excess(outcome).items()}

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
