"""Precision `auto`: hold everything wide, then narrow again whatever the decisions do not need, by sensitivity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from edgekit.compress.bounds import Bounds
from edgekit.compress.calibrate import Calibration
from edgekit.compress.integer import IntegerProgram, quantise_program
from edgekit.compress.plan import Plan
from edgekit.compress.recipes import AUTO, Recipe, recipe
from edgekit.compress.stored import Array
from edgekit.compress.terms import Dot, Sums
from edgekit.ir import SPIKE, Graph

WIDE = 16  # bits of weights and operands held wide; of states 32
QUICK = 768  # windows that sensitivities are measured on


class Score(Protocol):
    """How much a program is like the original."""

    @property
    def value(self) -> float:
        """From 0 to 1."""

    def reaches(self, least: float) -> bool:
        """Whether it is as much alike as was asked for."""


class Judge(Protocol):
    """Tells how much programs are like the original."""

    def score(self, program: Graph, least: float = 0.0, /) -> Score:
        """The score of a program; it may be cut short once it is certain not to reach `least`."""

    def thinned(self, most: int) -> Judge:
        """A judge over so many windows at most."""


@dataclass(frozen=True)
class Change:
    """Something that can be held wider: in words, and by the names of weights, states or operands."""

    text: str
    weights: Mapping[str, int]
    states: Mapping[str, int]
    operands: Mapping[str, int]

    def applied(self, to: Recipe) -> Recipe:
        return to.widened(weights=self.weights, states=self.states, operands=self.operands)


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The program found and its score, and what was widened, each with what it costs and what it is good for."""

    program: IntegerProgram
    score: Score
    widened: tuple[str, ...] = ()


def changes(graph: Graph, calibration: Calibration, current: Recipe) -> list[Change]:
    """Everything that a recipe holds narrow: the weights of a sum, operands of matrices, states."""
    sums = Sums(graph)
    plan = Plan(sums, Bounds(calibration, sums), current)
    found: dict[str, Change] = {}
    for op in sums.step.ops:
        root = op.outputs[0]
        if not sums.is_sum(root) or sums.dissolves(root):
            continue
        dots = [t for t in plan.terms(root) if isinstance(t, Dot)]
        events = [d for d in dots if sums.is_spike(d.x)]  # on one scale: all of them or none
        for group in [events] * bool(events) + [[d] for d in dots if not sums.is_spike(d.x)]:
            narrow = [d for d in group if plan.weights.bits(d, sums.feeds_itself(root, d.x)) < WIDE]
            if narrow:
                names = sorted({d.tensor for d in narrow})
                text = f"weights {', '.join(names)} to int{WIDE}"
                found[text] = Change(text, dict.fromkeys(names, WIDE), {}, {})
        for d in dots:
            if not sums.is_spike(d.x) and plan.operand_bits(d.x) < WIDE:
                text = f"operand {d.x} to int{WIDE}"
                found[text] = Change(text, {}, {}, {d.x: WIDE})
    for state in graph.states:
        name = state.tensor
        if state.reset == "scratch" or name in sums.learned:  # a rule's own, not the model's
            continue
        if graph.tensors[name].dtype is SPIKE or current.states.get(name) == 2 * WIDE:
            continue
        spec = plan.spec(name)
        if spec.dtype.bits < 2 * WIDE or spec.sums is not None:  # a wide membrane takes finer weights, too
            finer = "" if spec.dtype.bits < 2 * WIDE else ", and finer sums"
            text = f"state {name} to int{2 * WIDE}{finer}"
            found[text] = Change(text, {}, {name: 2 * WIDE}, {})
    return list(found.values())


def widen_until(
    graph: Graph,
    calibration: Calibration,
    normalisation: Mapping[str, tuple[Array, Array]] | None = None,
    *,
    judge: Judge,
    least: float,
    start: Recipe | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> SearchResult:
    """The recipe `start` where its program is enough like the original, else with as little held wider as that takes.

    Narrow things hide each other's harm: a spiking net that one coarse matrix has led astray hardly minds a second one.
    So everything is widened, each thing narrowed alone tells what that costs, and then what saves most bytes for its
    harm is narrowed for good, as long as the score still reaches `least`. Where nothing reaches it the result is the
    widest there is.
    """
    first = start or recipe(AUTO)

    def made(wide: Sequence[Change]) -> IntegerProgram:
        wider = first
        for change in wide:
            wider = change.applied(wider)
        return quantise_program(graph, calibration, wider, normalisation)

    program = made(())
    score = judge.score(program.graph, least)
    if score.reaches(least):
        return SearchResult(program, score)
    wide = changes(graph, calibration, first)
    program = made(wide)
    score = judge.score(program.graph)
    if not score.reaches(least):
        return SearchResult(program, score, tuple(c.text for c in wide))
    quick, total = judge.thinned(QUICK), 2 * len(wide)
    best, size = quick.score(program.graph).value, stored_bytes(program.graph)
    harm: dict[str, float] = {}
    saved: dict[str, int] = {}
    for at, change in enumerate(wide):
        without = made([c for c in wide if c is not change])
        harm[change.text] = max(0.0, best - quick.score(without.graph).value)
        saved[change.text] = size - stored_bytes(without.graph)
        progress(at + 1, total)

    def order(change: Change) -> tuple[float, int]:
        return harm[change.text] / max(1, saved[change.text]), -saved[change.text]

    for at, change in enumerate(sorted(wide, key=order)):
        fewer = [c for c in wide if c is not change]
        candidate = made(fewer)
        found = judge.score(candidate.graph, least)
        if found.reaches(least):
            wide, program, score = fewer, candidate, found
        progress(len(harm) + at + 1, total)
    texts = (f"{c.text}: {saved[c.text]:,} bytes; without it {100 * harm[c.text]:.2f} points less alike" for c in wide)
    return SearchResult(program, score, tuple(texts))


def stored_bytes(graph: Graph) -> int:
    """Bytes of the constants of a step, packed, and of its states."""
    used = {n for op in graph.entries["step"].ops for n in op.inputs}
    kept = [t for n, t in graph.tensors.items() if n in graph.state_names or (t.is_const and n in used)]
    return sum(t.stored_bytes for t in kept)
