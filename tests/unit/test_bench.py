"""The benchmark: it refuses what it cannot compare, takes turns fairly, judges honestly, and grades every figure."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import count, groupby, pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from edgekit.bench import Schedule, run_bench, timing
from edgekit.bench.cases import ACTIVITY, ACTIVITY_WITHIN, STEPS, Array, Case, build_case
from edgekit.bench.goals import GOALS, INSTRUCTIONS, OVERHEAD, SPEED_UP, judge
from edgekit.bench.packages import require
from edgekit.bench.subject import MIN_EQUAL_STEPS, compare
from edgekit.bench.timing import MAX_TRIES, WARM_STEPS, Spread, time_in_turns
from edgekit.errors import ReplayError, ToolchainError, UsageError

SHORT = Schedule(rounds=3, turn_s=1e-4)


@dataclass
class Diary:
    """A subject that writes down when it was called."""

    name: str
    calls: list[tuple[str, int]]
    detail: str = "fake"
    ring: Array = field(default_factory=lambda: np.zeros((1, 1), np.float32))

    def replay(self) -> Array:
        return self.ring

    def spin(self, steps: int) -> None:
        self.calls.append((self.name, steps))
        for _ in range(steps):  # every step takes some time, as those of a real subject do
            pass


def _case(expected: Array) -> Case:
    return Case("fake", "fake", 0, None, np.zeros((len(expected), 1), np.float32), expected, {})


def test_rounds_take_turns_and_rotate_who_starts() -> None:
    calls: list[tuple[str, int]] = []
    micros = time_in_turns([Diary("a", calls), Diary("b", calls), Diary("c", calls)], SHORT)
    assert micros.shape == (3, 3)
    assert (micros > 0).all()
    order = [name for name, _ in groupby(calls, key=lambda call: call[0])]
    assert "".join(order) == "abc" + "abc" + "bca" + "cab"  # calibration, then the rounds
    assert all(before[0] == timed[0] for before, timed in pairwise(calls) if before[1] == WARM_STEPS)


def test_an_interrupted_turn_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    interruptions = count()
    monkeypatch.setattr(timing, "_interruptions", lambda: next(interruptions))
    calls: list[tuple[str, int]] = []
    time_in_turns([Diary("a", calls)], Schedule(rounds=1, turn_s=1e-4))
    assert [steps for _, steps in calls].count(WARM_STEPS) == MAX_TRIES


def test_spread_is_median_and_percentiles() -> None:
    assert Spread.of(np.arange(101.0)) == Spread(median=50.0, p10=10.0, p90=90.0)


def test_compare_counts_equal_steps_and_refuses_another_model() -> None:
    expected = np.zeros((STEPS, 7), np.float32)
    case = _case(expected)
    assert compare("same", expected + 1e-6, case) == STEPS
    late = expected.copy()
    late[MIN_EQUAL_STEPS + 5, 3] = 1.0
    assert compare("late", late, case) == MIN_EQUAL_STEPS + 5
    for wrong in (1.0, np.nan):
        early = expected.copy()
        early[MIN_EQUAL_STEPS - 1, 0] = wrong
        with pytest.raises(ReplayError, match=f"at step {MIN_EQUAL_STEPS - 1}"):
            compare("early", early, case)


@pytest.mark.parametrize("name", GOALS)
def test_goals_are_met_at_the_limit_and_missed_beyond_it(name: str) -> None:
    limits = {goal.figure: goal.limit for goal in GOALS[name]}
    assert all(o.met for o in judge(name, {figure: (limit, "measured") for figure, limit in limits.items()}))
    beyond = {INSTRUCTIONS: 1.01, OVERHEAD: 1.01, SPEED_UP: 0.99}
    missed = judge(name, {figure: (limit * beyond[figure], "measured") for figure, limit in limits.items()})
    assert len(missed) == 3
    assert not any(o.met for o in missed)
    assert [o.figure for o in judge(name, {OVERHEAD: (1.0, "measured")})] == [OVERHEAD]


def test_a_missing_package_names_its_extra() -> None:
    with pytest.raises(ToolchainError, match=r'not_a_package.*pip install "edgekit\[bench\]"'):
        require("not_a_package")


def test_unknown_names_are_refused_before_any_work() -> None:
    with pytest.raises(UsageError, match="known are mlp, l2mu"):
        run_bench(["mlp", "lstm"], [], SHORT)
    with pytest.raises(UsageError, match="known are torch, onnxruntime"):
        run_bench(["mlp"], ["tvm"], SHORT)
    with pytest.raises(UsageError, match="twice"):
        run_bench(["mlp", "mlp"], [], SHORT)


def test_the_models_are_those_of_the_design_notes() -> None:
    mlp, l2mu = build_case("mlp"), build_case("l2mu")
    assert (mlp.weights, l2mu.weights) == (39_559, 75_803)
    assert mlp.stimulus.shape == (STEPS, 240)
    assert l2mu.stimulus.shape == (STEPS, 6)
    for population in ("m", "h"):
        assert abs(l2mu.activity[population] - ACTIVITY) <= ACTIVITY_WITHIN
    assert set(np.unique(l2mu.expected)) == {0.0, 1.0}  # read-out spikes: something to compare
    assert np.array_equal(build_case("l2mu").expected, l2mu.expected)


@pytest.mark.slow
def test_a_run_grades_every_figure_and_all_subjects_agree() -> None:
    for package in ("onnxruntime", "onnxscript", "unicorn"):
        pytest.importorskip(package)
    report = json.loads(json.dumps(run_bench(["mlp", "l2mu"], ["torch", "onnxruntime"], SHORT).to_dict()))
    assert report["schema_version"] == 1
    for case in report["cases"]:
        names = [t["subject"] for t in case["timings"]]
        assert len(names) == len(set(names)) == 5
        assert {t["grade"] for t in case["timings"]} == {"measured"}
        assert all(t["equal_steps"] >= MIN_EQUAL_STEPS for t in case["timings"])
        assert all(t["step_us"]["p10"] <= t["step_us"]["median"] <= t["step_us"]["p90"] for t in case["timings"])
        assert case["timings"][0]["times_native"] == {"median": 1.0, "p10": 1.0, "p90": 1.0}
        own, *quoted = case["counts"]
        assert (own["grade"], own["core"]) == ("emulated", "cortex-a72")
        assert own["instructions"] > 1000
        assert {q["grade"] for q in quoted} == {"quoted"}
        assert {g["figure"] for g in case["goals"]} == {INSTRUCTIONS, SPEED_UP, OVERHEAD}


@pytest.mark.parametrize(
    "arguments", [("--models", "lstm"), ("--peers", "tvm"), ("--json", "no/such/folder/out.json"), ("--rounds", "3")]
)
def test_bad_usage_is_one_message_and_exit_code_2(arguments: tuple[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgekit.bench", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert not done.stdout
    assert "Traceback" not in done.stderr
