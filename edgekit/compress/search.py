"""Precision `auto`: start narrow, measure, and widen what gains the most decisions a byte."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgekit.compress.bounds import Bounds
from edgekit.compress.calibrate import Calibration
from edgekit.compress.integer import IntegerProgram, quantise_program
from edgekit.compress.plan import Plan
from edgekit.compress.recipes import AUTO, Recipe, recipe
from edgekit.compress.stored import Array
from edgekit.compress.terms import Dot, Sums
from edgekit.ir import SPIKE, Graph

Agreement = Callable[[Graph], float]
WORTH = 0.25  # of the largest gain of a round: a cheaper change that gains this much goes first


@dataclass(frozen=True)
class Change:
    """Something that can be held wider: what, to how many bits, and the bytes that costs."""

    text: str
    extra_bytes: int
    weights: Mapping[str, int]
    states: Mapping[str, int]
    operands: Mapping[str, int]

    def applied(self, to: Recipe) -> Recipe:
        return to.widened(weights=self.weights, states=self.states, operands=self.operands)


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The program found, its agreement (None where nothing is decided), and what was widened, in words."""

    program: IntegerProgram
    agreement: float | None
    widened: tuple[str, ...]


def changes(graph: Graph, calibration: Calibration, current: Recipe) -> list[Change]:
    """Everything that this recipe still holds narrow: the weights of a sum, states, operands of matrices."""
    sums = Sums(graph)
    plan = Plan(sums, Bounds(calibration, sums), current)
    found: dict[str, Change] = {}
    for op in sums.step.ops:
        root = op.outputs[0]
        if not sums.is_sum(root) or (
            sums.uses[root] == 1 and any(sums.is_sum(r.outputs[0]) for r in sums.readers.get(root, []))
        ):
            continue
        dots = [t for t in plan.terms(root) if isinstance(t, Dot)]
        events = [d for d in dots if sums.is_spike(d.x)]  # on one scale: all of them or none
        for group in [events] * bool(events) + [[d] for d in dots if not sums.is_spike(d.x)]:
            narrow = [d for d in group if plan.weight_bits(d, sums.feeds_itself(root, d.x)) < 16]
            if narrow:
                names = sorted({d.tensor for d in narrow})
                size = sum(graph.tensors[n].size for n in names)
                text = f"weights {', '.join(names)} to int16"
                found[text] = Change(text, size, dict.fromkeys(names, 16), {}, {})
        for d in dots:
            if not sums.is_spike(d.x) and d.x not in sums.step.inputs and plan.operand_bits(d.x) < 16:
                text = f"operand {d.x} to int16"
                found[text] = Change(text, graph.tensors[d.x].size, {}, {}, {d.x: 16})
    for state in graph.states:
        tensor = graph.tensors[state.tensor]
        if tensor.dtype is SPIKE:
            continue
        spec = plan.spec(state.tensor)
        asked = current.states.get(state.tensor, current.state_bits)
        if asked < 32 and (spec.dtype.bits < 32 or spec.sums is not None):  # a wider membrane takes finer weights too
            text = f"state {state.tensor} to int{2 * asked}"
            size = max(tensor.size * (2 * asked - spec.dtype.bits) // 8, 1)
            found[text] = Change(text, size, {}, {state.tensor: 2 * asked}, {})
    return list(found.values())


def widen_until(
    graph: Graph,
    calibration: Calibration,
    normalisation: Mapping[str, tuple[Array, Array]] | None = None,
    *,
    agreement: Agreement | None,
    least: float,
    quick: Agreement | None = None,
    start: Recipe | None = None,
) -> SearchResult:
    """Widen what gains most per byte until a program makes at least the share `least` of the original's decisions.

    `agreement` tells that share over all windows, `quick` over some of them, while the search compares. Where nothing
    is decided (`agreement` None) hidden values are held in int16 and the rest as in the recipe int8.
    """
    current = start or recipe(AUTO)
    program = quantise_program(graph, calibration, current, normalisation)
    if agreement is None:
        every = [c for c in changes(graph, calibration, current) if c.operands]
        for change in every:
            current = change.applied(current)
        program = quantise_program(graph, calibration, current, normalisation)
        return SearchResult(program, None, tuple(c.text for c in every))
    compare = quick or agreement
    applied: list[tuple[Change, float]] = []
    reached = agreement(program.graph)
    while reached < least:
        base, tried = compare(program.graph), []
        for change in changes(graph, calibration, current):
            candidate = quantise_program(graph, calibration, change.applied(current), normalisation)
            tried.append((compare(candidate.graph) - base, change, candidate))
        if not tried:
            break
        gain, change, program = _best(tried)
        current = change.applied(current)
        reached = agreement(program.graph)
        applied.append((change, gain))
    # Two changes may gain only together: the search goes on where one alone gains nothing, and takes back in the end
    # what turned out not to be needed, the most expensive first.
    for change, _ in sorted(applied, key=lambda pair: -pair[0].extra_bytes) if reached >= least else []:
        others = [(c, g) for c, g in applied if c is not change]
        recipe_without = start or recipe(AUTO)
        for other, _ in others:
            recipe_without = other.applied(recipe_without)
        candidate = quantise_program(graph, calibration, recipe_without, normalisation)
        without = agreement(candidate.graph)
        if without >= least:
            applied, program, reached = others, candidate, without
    texts = (f"{c.text}: {g:+.2%} of decisions for {c.extra_bytes:,} bytes" for c, g in applied)
    return SearchResult(program, reached, tuple(texts))


def _best(tried: list[tuple[float, Change, IntegerProgram]]) -> tuple[float, Change, IntegerProgram]:
    """The change that gains most per byte, of those that gain a fair share of the largest gain."""
    best = max(gain for gain, _, _ in tried)
    if best <= 0:
        return max(tried, key=lambda t: (t[0], -t[1].extra_bytes))
    return max((t for t in tried if t[0] >= WORTH * best), key=lambda t: t[0] / t[1].extra_bytes)
