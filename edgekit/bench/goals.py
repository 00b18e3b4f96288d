"""What the figures are held against. A goal that is missed is printed as missed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

INSTRUCTIONS = "instructions per step, cortex-a72"
SPEED_UP = "times faster than ONNX Runtime io-binding"
OVERHEAD = "µs, Session.step over the C loop"


@dataclass(frozen=True)
class Goal:
    """One limit: `figure` names what is limited, `at_least` which side of the limit is good."""

    figure: str
    limit: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether a value is on the good side; the limit itself is."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True)
class Outcome:
    """A goal with the figure of this run; `grade` says how the figure came about."""

    figure: str
    limit: float
    at_least: bool
    value: float
    met: bool
    grade: str


GOALS: Mapping[str, tuple[Goal, ...]] = {
    "mlp": (Goal(INSTRUCTIONS, 29_167), Goal(SPEED_UP, 2.9, at_least=True), Goal(OVERHEAD, 3.0)),
    "l2mu": (Goal(INSTRUCTIONS, 20_000), Goal(SPEED_UP, 20.0, at_least=True), Goal(OVERHEAD, 3.0)),
}


def judge(case: str, figures: Mapping[str, tuple[float, str]]) -> tuple[Outcome, ...]:
    """Hold the figures (value, grade) of a model against its goals; a goal whose figure was not taken is left out."""
    outcomes = []
    for goal in GOALS[case]:
        if goal.figure in figures:
            value, grade = figures[goal.figure]
            outcomes.append(Outcome(goal.figure, goal.limit, goal.at_least, value, goal.met(value), grade))
    return tuple(outcomes)
