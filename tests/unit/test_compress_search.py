"""Precision auto: what it keeps wide, how sure it is of the agreement, and how soon it gives up on a program."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.compress.calibrate import calibrate
from edgekit.compress.named import with_bits
from edgekit.compress.recipes import RECIPES, recipe
from edgekit.compress.search import changes, stored_bytes, widen_until
from edgekit.convert import agreement
from edgekit.convert.agreement import Agreement, Decisions, Likeness, Outputs, decision_rule, decisions, judge_of
from edgekit.errors import UsageError
from edgekit.ir import Graph, GraphBuilder
from edgekit.passes.pipelines import OPTIMISE, run_passes
from edgekit.verify import output_error


def network(seed: int = 0) -> Graph:
    """Two hidden layers of reals and a leaky read-out."""
    rng, b = np.random.default_rng(seed), GraphBuilder("network", dt=None)
    x = b.input("x", (40,))
    b.state("s", np.zeros(5))
    for at, (out, features) in enumerate(((96, 40), (64, 96))):
        w = b.const(f"w{at}", rng.normal(size=(out, features)) / np.sqrt(features))
        x = b.op("relu", b.op("linear", x, w, out=f"a{at}"), out=f"h{at}")
    y = b.op("linear", x, b.const("w2", rng.normal(size=(5, 64)) / 8), out="a2")
    new = b.op("add", b.op("mul", "s", b.const("decay", np.float32(0.9)), out="decayed"), y, out="new")
    b.update("s", new)
    b.output(new)
    return run_passes(b.build(), OPTIMISE)


GRAPH = network()
WINDOWS = {"x": np.random.default_rng(1).normal(size=(300, 6, 40)).astype(np.float32)}
SEEN = calibrate(GRAPH, WINDOWS)


def bits_of(program: Graph, weights: str) -> int:
    """Bits that a matrix has in a program."""
    (dtype,) = {t.dtype.bits for n, t in program.tensors.items() if n.startswith(f"{weights}.int")}
    return dtype


@dataclass
class Demanding:
    """A judge that wants some matrices wide, and counts what it is asked."""

    wide: tuple[str, ...]
    asked: list[float] = field(default_factory=list)

    def score(self, program: Graph, least: float = 0.0, /) -> Likeness:
        self.asked.append(least)
        return Likeness(0.1 * sum(bits_of(program, w) < 16 for w in self.wide))

    def thinned(self, most: int) -> Demanding:
        return self


@pytest.mark.parametrize("wide", [(), ("w0",), ("w1",), ("w0", "w1")])
def test_only_what_decisions_need_is_held_wide(wide: tuple[str, ...]) -> None:
    judge = Demanding(wide)
    found = widen_until(GRAPH, SEEN, judge=judge, least=0.95)
    assert found.score.value == 1.0
    assert {w for w in ("w0", "w1") if bits_of(found.program.graph, w) == 16} == set(wide)
    assert [text.split()[1] for text in found.widened] == list(wide)
    assert found.program.recipe.states == {}
    things = len(changes(GRAPH, SEEN, recipe("auto")))
    assert len(judge.asked) == (1 if not wide else 3 + 2 * things)  # as it is, widest, and twice each


def test_a_widened_matrix_says_what_it_costs_and_what_it_is_good_for() -> None:
    (text,) = widen_until(GRAPH, SEEN, judge=Demanding(("w1",)), least=0.95).widened
    assert text == "weights w1 to int16: 6,144 bytes; without it 10.00 points less alike"


def test_what_nothing_reaches_is_as_wide_as_can_be() -> None:
    class Never(Demanding):
        def score(self, program: Graph, least: float = 0.0, /) -> Likeness:
            return Likeness(0.5)

    found = widen_until(GRAPH, SEEN, judge=Never(()), least=0.95)
    assert found.score.value == 0.5
    assert not changes(GRAPH, SEEN, found.program.recipe)
    assert {bits_of(found.program.graph, w) for w in ("w0", "w1", "w2")} == {16}


def test_progress_ends_at_the_total() -> None:
    told: list[tuple[int, int]] = []
    widen_until(GRAPH, SEEN, judge=Demanding(("w1",)), least=0.95, progress=lambda *counts: told.append(counts))
    assert [done for done, _ in told] == list(range(1, told[-1][1] + 1))


def test_bytes_count_packed_constants_and_states() -> None:
    program = widen_until(GRAPH, SEEN, judge=Demanding(()), least=0.0).program.graph
    weights = 96 * 40 + 64 * 96 + 2 * 5 * 64  # the last one is small, and int16
    assert weights + 2 * 5 < stored_bytes(program) < weights + 2 * 5 + 4 * 2 * (96 + 64 + 5) + 64


# --- how sure one can be ---


@given(st.integers(1, 5000), st.floats(0, 1))
def test_the_bound_is_below_the_share_and_grows_with_it(windows: int, share: float) -> None:
    equal = round(share * windows)
    found = Agreement(equal, windows)
    assert 0 <= found.at_least <= found.value
    assert equal == windows or Agreement(equal + 1, windows).at_least > found.at_least
    assert Agreement(2 * equal, 2 * windows).at_least >= found.at_least


@pytest.mark.parametrize(
    ("equal", "windows", "bound"),
    [(0, 10, 0.0), (10, 10, 0.78706), (50, 100, 0.41885), (990, 1000, 0.98341), (3121, 3150, 0.98749)],
)
def test_the_bound_is_wilsons(equal: int, windows: int, bound: float) -> None:
    """The root of (p - b)² = z² b (1 - b) / n below p."""
    found, p, z = Agreement(equal, windows).at_least, equal / windows, agreement.DEVIATIONS
    assert abs((p - found) ** 2 - z * z * found * (1 - found) / windows) < 1e-9
    assert found == pytest.approx(bound, abs=1e-4)


def test_few_windows_have_to_be_all_equal() -> None:
    assert Agreement(20, 20).reaches(0.985)
    assert not Agreement(19, 20).reaches(0.9)
    assert Agreement(3121, 3150).reaches(0.985)
    assert not Agreement(3105, 3150).reaches(0.985)  # 98.57 % of these windows, but of others?


def test_a_hopeless_program_is_given_up_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "SHORT", 16)
    expected = decisions(GRAPH, WINDOWS, "last")
    wrong = Decisions(WINDOWS, (expected + 1) % 5, "last")
    assert wrong.score(GRAPH, 0.985) == Agreement(0, 16)
    assert wrong.score(GRAPH) == Agreement(0, 300)
    right = Decisions(WINDOWS, expected, "last")
    assert right.score(GRAPH, 0.985) == Agreement(300, 300)
    assert right.thinned(100).score(GRAPH) == Agreement(100, 100)
    assert right.thinned(299).score(GRAPH) == Agreement(150, 150)


def test_giving_up_never_changes_the_answer() -> None:
    """A program cut short would not have reached the share with every other window equal."""
    for equal_then in range(0, 300, 7):
        for done in (128, 256):
            if equal_then <= done and not Agreement(equal_then + 300 - done, 300).reaches(0.985):
                assert not Agreement(equal_then, done).reaches(0.985)


def test_outputs_are_judged_by_their_deviation() -> None:
    judge = judge_of(GRAPH, WINDOWS, None)
    assert isinstance(judge, Outputs)
    assert judge.score(GRAPH).value == 1.0
    coarse = widen_until(GRAPH, SEEN, judge=judge, least=0.5).program.graph
    assert 0.9 < judge.score(coarse).value < 0.9999
    fine = widen_until(GRAPH, SEEN, judge=judge, least=0.998).score
    assert fine.value >= 0.998
    assert judge.thinned(7).score(coarse).value == pytest.approx(judge.score(coarse).value, abs=0.02)


def test_the_error_of_outputs_is_that_of_the_worst_element() -> None:
    exact = np.stack([np.arange(100.0), np.full(100, 50.0)], axis=1)
    got = exact + np.array([2.0, 0.0])
    assert output_error(exact, got) == pytest.approx(2 / np.std(np.arange(100)))
    assert output_error(exact, exact + np.array([0.0, 5.0])) == pytest.approx(0.1)  # never changes: by its size
    assert output_error(exact, exact) == 0


def test_what_decides_is_declared_or_plain() -> None:
    assert decision_rule(GRAPH, {}) is None
    assert decision_rule(GRAPH, {"decision": "mean"}) == "mean"
    b = GraphBuilder("still", dt=None)
    b.output(b.op("relu", b.input("x", (3,)), out="y"))
    assert decision_rule(b.build(), {}) == "last"
    b = GraphBuilder("spikes", dt=None)
    b.state("s", np.zeros(3))
    new = b.op("add", b.op("mul", "s", b.const("d", np.float32(0.5)), out="d.s"), b.input("x", (3,)), out="new")
    b.update("s", new)
    b.output(b.op("gt", new, b.const("one", np.float32(1)), out="y"))
    assert decision_rule(b.build(), {}) == "sum"


# --- bits by name ---


def test_names_get_the_bits_they_are_given() -> None:
    made = with_bits(RECIPES["int8"], GRAPH, {"w1": 16, "s": 32, "h0": 16})
    assert (made.weights, made.states, made.operands) == ({"w1": 16}, {"s": 32}, {"h0": 16})
    assert RECIPES["int8"].weights == {}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"w9": 16}, "--widen w9: names nothing that has bits of its own.*operands: h0, h1, x"),
        ({"w1": 32}, "weights are held in 4, 8, 16 bits"),
        ({"s": 4}, "states are held in 8, 16, 32 bits"),
        ({"h0": 32}, "operands are held in 8, 16 bits"),
    ],
)
def test_names_and_bits_that_there_are_not_are_refused(asked: dict[str, int], says: str) -> None:
    with pytest.raises(UsageError, match=f"(?s){says}"):
        with_bits(RECIPES["int8"], GRAPH, asked)
