"""What the figures are held against. A goal that is missed is printed as missed, with what bounds the figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

INSTRUCTIONS = "instructions per step, cortex-a72"
INSTRUCTIONS_M4 = "instructions per step, cortex-m4"
INSTRUCTIONS_M55 = "instructions per step, cortex-m55"
FEWER = "times fewer instructions than fp32, cortex-a76"
FLASH = "bytes of flash: weights, code, tables"
RAM = "bytes of RAM: struct and stack"
WINDOW = "instructions of the costliest window, 40 steps"
SPEED_UP = "times faster than ONNX Runtime io-binding"
OVERHEAD = "µs, Session.step over the C loop"
EVENTS = "instructions of the step, over those with no input zero"
FASTER = "times faster than the fastest peer, no less exact"
LIMIT = "times the time of reading its constants"
BEST = "best"  # of the precisions
CONVERSION = "s, import and conversion, no build cache"


@dataclass(frozen=True)
class Goal:
    """One limit: `figure` of `precision` is limited, `at_least` says which side of the limit is good."""

    figure: str
    limit: float
    at_least: bool = False
    precision: str = "fp32"

    @property
    def key(self) -> tuple[str, str]:
        """What the figure is looked up by."""
        return self.figure, self.precision

    def met(self, value: float) -> bool:
        """Whether a value is on the good side; the limit itself is."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True)
class Figure:
    """A value of this run; `grade` says how it came about, `bound` in words what keeps it from being better."""

    value: float
    grade: str
    bound: str = ""


@dataclass(frozen=True)
class Outcome:
    """A goal with the figure of this run; `bound` is empty where the goal is met."""

    goal: Goal
    value: float
    met: bool
    grade: str
    bound: str


def _faster(fp32: float, w8: float) -> tuple[Goal, Goal]:
    return Goal(SPEED_UP, fp32, at_least=True), Goal(SPEED_UP, w8, at_least=True, precision="w8")


def _fastest(times: float) -> Goal:
    return Goal(FASTER, times, at_least=True, precision=BEST)


def _integer(m4: int, m55: int) -> tuple[Goal, ...]:
    return (
        Goal(INSTRUCTIONS_M4, m4, precision="int8"),
        Goal(INSTRUCTIONS_M55, m55, precision="int8"),
        Goal(FEWER, 2.0, at_least=True, precision="int8"),
    )


_AT_THE_LIMIT = Goal(LIMIT, 1.5, precision=BEST)
_EVENTS = (Goal(EVENTS, 0.60), Goal(CONVERSION, 5.0))

GOALS: Mapping[str, tuple[Goal, ...]] = {
    "mlp": (
        *(_fastest(2.5), _AT_THE_LIMIT, Goal(INSTRUCTIONS, 26_000), *_faster(2.9, 6.0), Goal(OVERHEAD, 3.0)),
        *_integer(65_000, 7_500),
    ),
    "l2mu": (
        *(_fastest(10.0), Goal(INSTRUCTIONS, 12_000), *_faster(20.0, 20.0), Goal(OVERHEAD, 3.0)),
        *_integer(10_000, 4_000),
    ),
    "elm": (
        *(_fastest(4.0), _AT_THE_LIMIT, Goal(INSTRUCTIONS, 50_000), *_faster(4.4, 8.0)),
        *_integer(90_000, 14_000),
    ),
    "neuronio": _EVENTS,
    "neuronio-released": _EVENTS,
    "har-l2mu": tuple(
        Goal(figure, limit, precision="int8") for figure, limit in ((FLASH, 60_000), (RAM, 3_000), (WINDOW, 700_000))
    ),
}


def judge(case: str, figures: Mapping[tuple[str, str], Figure]) -> tuple[Outcome, ...]:
    """Hold the figures of a model, by (figure, precision), against its goals; a goal whose figure was not taken is left
    out.
    """
    outcomes = []
    for goal in GOALS.get(case, ()):
        if goal.key in figures:
            figure = figures[goal.key]
            met = goal.met(figure.value)
            outcomes.append(Outcome(goal, figure.value, met, figure.grade, "" if met else figure.bound))
    return tuple(outcomes)
