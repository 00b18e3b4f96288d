"""Sessions that learn: the same bytes everywhere, streams, blobs and journals, tasks, windows cut short, and guards."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from converted import CLASSES, INPUTS, ROOT, artifact
from learners import WINDOW, examples, learner, pair, write

import edgekit
from edgekit.errors import DataError, StateError, UsageError
from edgekit.runtime import Session
from edgekit.runtime.event_log import EventLog, digest, read_log
from edgekit.runtime.examples import Course, Examples, plan_course
from edgekit.runtime.guards import Limits, accuracy, decisions, judge
from edgekit.runtime.kept import kept_values
from edgekit.runtime.learned import journal_of, learn_course, replay
from edgekit.runtime.streams import MachineStream, ReferenceStream

pytest.importorskip("torch")

ENGINES = ("rebuilt", "reference", "emulator")
KINDS = [("mlp", "hlop"), ("mlp", "delta"), ("mlp", "reward"), ("quiet", "hlop"), ("quiet", "delta")]


def session(family: str = "mlp", rule: str = "hlop", precision: str = "fp32", engine: str = "auto") -> Session:
    target = "smartwatch" if precision == "int8" else "host"
    return edgekit.load(learner(family, rule, precision, target), engine=engine)


def given(family: str = "mlp", count: int = 12, seed: int = 0) -> Examples:
    x, y = examples(count, seed, family)
    return Examples((x,), y)


def course(made: Session, some: Examples) -> Course:
    """All of them twice, and two tasks where the rule has tasks."""
    tasks = np.repeat([0, 1], len(some) // 2) if made.tasks is not None else None
    return plan_course(Examples(some.inputs, some.y, tasks), 2)


# --- the same bytes everywhere ---------------------------------------------------------------------------------------


@pytest.mark.drawn(2)
@pytest.mark.parametrize(("family", "rule"), KINDS)
def test_artifact_and_log_give_the_same_bytes_on_every_engine(family: str, rule: str, tmp_path: Path) -> None:
    """Integers: byte for byte, here, in the reference and on the emulated core; through a log in a file."""
    first, some = session(family, rule, "int8"), given(family)
    plan = course(first, some)
    learn_course(first, some, plan)
    after = first.learned()
    log = EventLog(first.artifact.sha256, some, plan, b"", digest(after), first.engine)
    (tmp_path / "ev.npz").write_bytes(log.packed())
    for engine in ENGINES:
        other = session(family, rule, "int8", engine)
        assert replay(other, read_log(tmp_path / "ev.npz", other)) == after, engine
    assert after != session(family, rule, "int8").learned()


@pytest.mark.drawn(3)
@pytest.mark.parametrize("engine", ["rebuilt", "reference"])
@pytest.mark.parametrize(("family", "rule"), KINDS)
def test_floats_are_the_same_on_one_engine_and_near_on_others(family: str, rule: str, engine: str) -> None:
    some, found = given(family), []
    for _ in range(2):
        made = session(family, rule, engine=engine)
        learn_course(made, some, course(made, some))
        found.append(made.learned())
    assert found[0] == found[1]
    other = session(family, rule, engine="reference")
    learn_course(other, some, course(other, some))
    mine, theirs = (kept_values(other.facts.layout, learned) for learned in (found[0], other.learned()))
    for name, value in theirs.items():
        np.testing.assert_allclose(mine[name], value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["mlp", "quiet"])
def test_a_blob_moves_what_was_learned_from_any_engine_to_any_other(family: str) -> None:
    some, later = given(family), given(family, 4, 7)
    sessions = {engine: session(family, "hlop", "int8", engine) for engine in ENGINES}
    for made in sessions.values():
        learn_course(made, some, plan_course(some))
        made.merge()
    blobs = {engine: made.save_state() for engine, made in sessions.items()}
    assert len(set(blobs.values())) == 1
    learn_course(sessions["rebuilt"], later, plan_course(later))
    for engine in ENGINES:
        other = session(family, "hlop", "int8", engine)
        other.restore_state(blobs["rebuilt"])
        assert other.tasks == sessions[engine].tasks
        learn_course(other, later, plan_course(later))
        assert other.learned() == sessions["rebuilt"].learned()


# --- streams, samples and journals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["rebuilt", "reference"])
@pytest.mark.parametrize("family", ["mlp", "quiet"])
def test_streams_and_samples_know_what_was_learned(family: str, engine: str) -> None:
    made, some = session(family, "delta", engine=engine), given(family)
    (x,) = some.inputs
    fresh = made.run(x)
    learn_course(made, some, plan_course(some, 3))
    before = made.save_state()
    runs = made.run(x)
    assert made.save_state() == before or family == "mlp"  # windows start from a reset and leave the session alone
    assert not np.array_equal(runs, fresh)
    other = made.stream()
    assert other.learned() == made.learned()
    np.testing.assert_array_equal(other.run(x), runs)
    learn_course(other, some, plan_course(some))  # and goes its own way from there
    assert other.learned() != made.learned()
    np.testing.assert_array_equal(made.run(x), runs)
    one = made.stream()
    first = [one.step(step) for step in (x[:1] if family == "mlp" else x[0])]
    np.testing.assert_array_equal(first, runs[:1] if family == "mlp" else runs[0])


def test_a_file_is_loaded_with_its_journal_and_an_artifact_without(tmp_path: Path) -> None:
    path, some = tmp_path / "m.edge", given()
    learner().save(path)
    made = edgekit.load(path)
    assert made.commit is None
    learn_course(made, some, plan_course(some))
    with journal_of(made.artifact, path) as journal:
        journal.commit(made.learned(), mark=len(some))
    again = edgekit.load(path)
    assert again.learned() == made.learned()
    assert again.commit is not None
    assert (again.commit.source, again.commit.mark) == (1, len(some))
    assert again.stream().commit == again.commit
    np.testing.assert_array_equal(again.run(*some.inputs), made.run(*some.inputs))
    for bare in (edgekit.load(path, learned=False), edgekit.load(edgekit.Artifact.open(path))):
        assert bare.commit is None
        assert bare.learned() == learner_first()
    made.restore_learned(None)
    assert made.learned() == learner_first()
    with pytest.raises(StateError, match="has 3 bytes"):
        made.restore_learned(b"abc")


def learner_first() -> bytes:
    return session().facts.layout.first_learned()


# --- what is refused, and what was cut short -------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("family", ["mlp", "quiet"])
def test_nothing_is_learned_from_what_does_not_fit(family: str, precision: str) -> None:
    made = session(family, "hlop", precision)
    x = given(family).inputs[0][0]
    learn_course(made, given(family), plan_course(given(family)))
    before, bad = made.save_state(), x.copy()
    bad[..., 1] = np.nan
    wrong: list[tuple[Any, ...]] = [(bad, 1), (np.where(np.isnan(bad), np.inf, bad), 1), (x[..., :-1], 1), (x[None], 1)]
    wrong += [(x, CLASSES), (x, -1), (x, 1.0), (x, None), (x, True), (x, "one"), (x, np.eye(CLASSES + 1)[0]), (x,)]
    wrong += [(x, x, 1), (np.array("a"), 1)]
    if family == "quiet":
        wrong += [(x[:-1], 1), (np.concatenate([x, x]), 1), (x[0], 1)]
    if precision == "int8":
        wrong += [(x, np.full(CLASSES, 0.5))]
    for arguments in wrong:
        with pytest.raises(DataError):
            made.learn(*arguments)
    assert made.save_state() == before
    made.learn(x, 1)


def test_a_wrong_window_is_told_what_is_wanted() -> None:
    made = session("quiet")
    with pytest.raises(DataError, match=rf"a window of {WINDOW} steps that is learned from has \({WINDOW}, {INPUTS}\)"):
        made.learn(np.zeros((WINDOW + 1, INPUTS)), 0)
    with pytest.raises(DataError, match="holds NaN or Inf; nothing was learned"):
        made.learn(np.full((WINDOW, INPUTS), np.nan), 0)


@pytest.mark.parametrize("entry", ["step", "gather", "learn"])
@pytest.mark.parametrize("engine", ["rebuilt", "reference"])
def test_a_window_that_was_cut_short_does_not_count_for_the_next(
    entry: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of a window, in a notebook that goes on."""
    made, other, some = session("quiet", engine=engine), session("quiet", engine=engine), given("quiet")
    (x,), y = some.inputs, some.y
    assert y is not None
    stream, calls = made.engine_stream, []

    def stopped(name: str, inputs: Any) -> Any:
        calls.append(name)
        if name == entry and calls.count("step") >= 3:
            raise KeyboardInterrupt
        return call(name, inputs)

    call = stream.call
    monkeypatch.setattr(stream, "call", stopped)
    with pytest.raises(KeyboardInterrupt):
        made.learn(x[0], int(y[0]))
    monkeypatch.undo()
    for at in (1, 2):
        made.learn(x[at], int(y[at]))
        other.learn(x[at], int(y[at]))
    assert made.save_state() == other.save_state()


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_tasks_end_one_after_the_other(precision: str) -> None:
    made, some = session(precision=precision), given()
    assert (made.tasks.done, made.tasks.most, made.tasks.left) == (0, 2, 2)
    assert made.merge() == 1
    assert made.merge() == 2
    assert made.tasks.left == 0
    before = made.save_state()
    with pytest.raises(UsageError, match="all 2 tasks of program 'mlp_hlop' have ended; convert the model with more"):
        made.merge()
    assert made.save_state() == before
    learn_course(made, some, plan_course(some))
    assert made.tasks.done == 2
    made.restore_learned(None)
    assert made.tasks.done == 0
    with pytest.raises(UsageError, match="has no tasks to end"):
        session(rule="delta", precision=precision).merge()
    assert session(rule="delta").tasks is None


def test_after_a_task_ended_its_inputs_change_nothing_any_more() -> None:
    """x⊥ = 0 for what lies in the subspace of old rows: W stays as it is, whatever is learned from that."""
    x = given().inputs[0][0]
    moved = {}
    for ended in (False, True):
        made = session()
        for _ in range(3000):
            made.learn(x, 1)
        if ended:
            made.merge()
        before = plastic_weights(made)
        made.learn(x, 2)
        moved[ended] = np.abs(plastic_weights(made) - before).max()
    assert moved[True] < 1e-3 * moved[False], moved


def plastic_weights(made: Session) -> np.ndarray:
    values = kept_values(made.facts.layout, made.learned())
    (name,) = (n for n in values if n.endswith(".plastic"))
    return np.array(values[name])


def test_entries_that_take_other_things_than_a_rule_s_are_called_by_their_names() -> None:
    """A graph may have entries of these names that are no rule's."""
    made = session("quiet", "hlop")
    graph = made.artifact.graph
    step, target = graph.entries["step"].inputs[0], graph.entries["learn"].inputs[0]
    for name, inputs in (("merge", (target,)), ("gather", (step,)), ("learn", (target, step))):
        entry = dataclasses.replace(graph.entries[name], inputs=inputs)
        other = Session(made.artifact, ReferenceStream(graph))
        other.facts = other._border.facts = other._learner._facts = dataclasses.replace(
            made.facts, graph=graph.with_entries(entry)
        )
        with pytest.raises(UsageError, match="has no tasks to end" if name == "merge" else "call its entries by their"):
            other.merge() if name == "merge" else other.learn(np.zeros((WINDOW, INPUTS)), 1)


# --- guards ----------------------------------------------------------------------------------------------------------


def test_a_canary_is_judged_as_the_program_decides() -> None:
    made, some = session("quiet", "delta"), given("quiet", 20)
    (x,) = some.inputs
    expected = 100 * np.mean(np.argmax(made.run(x).mean(axis=1), axis=-1) == some.y)
    before = made.save_state()
    assert accuracy(made, some) == pytest.approx(expected)
    assert made.save_state() == before
    stepwise, steps = session("mlp", "delta"), given("mlp", 20)
    right = stepwise.decide(stepwise.run(*steps.inputs)) == steps.y
    state = stepwise.save_state()
    assert accuracy(stepwise, steps) == pytest.approx(100 * np.mean(right))
    assert stepwise.save_state() == state
    two = edgekit.load(pair())
    rng = np.random.default_rng(0)
    inputs = tuple(rng.normal(size=(9, n)).astype(np.float32) for n in (2, 3))
    assert 0 <= accuracy(two, Examples(inputs, np.zeros(9, int))) <= 100


def test_an_output_that_is_not_finite_decides_nothing() -> None:
    made = session("mlp", "delta")
    y = np.zeros((3, CLASSES), np.float32)
    y[0, 2] = 1
    y[1, 1] = np.inf
    y[2, 0] = np.nan
    assert decisions(made, y).tolist() == [2, -1, -1]


def test_a_stream_of_steps_is_judged_step_by_step_from_a_reset() -> None:
    """Of a program with states that learns from single steps, whose canary may be one labelled stream."""
    made = edgekit.load(artifact("quiet", learn="delta"))
    x = np.random.default_rng(0).normal(size=(12, INPUTS)).astype(np.float32)
    y = np.argmax(made.run(x), axis=-1)
    made.run(x)  # from another state than a reset
    assert made.learning_window == 1
    assert accuracy(made, Examples((x,), y)) == 100


def test_judging_takes_no_memory_of_the_emulated_core() -> None:
    """Which has no way to give it back."""
    made, some = session("quiet", "delta", "int8", "emulator"), given("quiet", 2)
    first, stream = made.learned(), made.engine_stream
    assert isinstance(stream, MachineStream)
    judge(made, first, Limits(some))
    places = [stream._machine.alloc(8), stream._machine.alloc(8)]
    for _ in range(3):
        judge(made, first, Limits(some))
        places.append(stream._machine.alloc(8))
    assert len(set(np.diff(places).tolist())) == 1, places


def test_judging_takes_back_what_may_not_stay() -> None:
    made, some = session("mlp", "delta"), given("mlp", 40)
    learn_course(made, some, plan_course(some, 20))
    before = made.learned()
    assert some.y is not None
    wrong = Examples(some.inputs, (some.y + 1) % CLASSES)
    learn_course(made, wrong, plan_course(wrong, 20))
    after = made.learned()
    good = judge(made, before)
    assert good.stays
    assert made.learned() == after
    bad = judge(made, before, Limits(some, most_lost=5.0, most_changed=1.0))
    assert len(bad.reasons) == 2
    assert made.learned() == before
    assert (bad.before, bad.changed, bad.steps) == (accuracy(made, some), good.changed, good.steps)
    made.restore_learned(after)
    assert judge(made, before, Limits(some, most_lost=100.0, most_changed=100.0)).stays


def test_weights_that_are_not_finite_are_never_kept() -> None:
    made = session("mlp", "delta", engine="rebuilt")
    before, x = made.learned(), np.full(INPUTS, 3e38, np.float32)
    made.learn(x, 1)
    assert not all(np.isfinite(a).all() for a in kept_values(made.facts.layout, made.learned()).values())
    verdict = judge(made, before)
    assert not verdict.stays
    assert "became NaN or Inf" in verdict.reasons[0]
    assert made.learned() == before


def test_a_lesson_stops_where_the_outputs_overflow() -> None:
    made, some = session("mlp", "delta"), given("mlp", 8)
    large = Examples((some.inputs[0] * np.float32(1e30),), some.y)
    lesson = learn_course(made, large, plan_course(large, 3))
    assert lesson.overflow is not None
    assert lesson.overflow == lesson.events < 24


def test_a_course_goes_through_each_task_in_turn() -> None:
    some = Examples((np.zeros((6, 2)),), np.zeros(6, int), np.array([0, 0, 4, 4, 4, 9]))
    plan = plan_course(some, 2, end_task=True)
    assert plan.order.tolist() == [0, 1, 0, 1, 2, 3, 4, 2, 3, 4, 5, 5]
    assert plan.merges == (4, 10, 12)
    assert plan_course(some, 2).merges == (4, 10)
    assert plan_course(Examples(some.inputs, some.y), 1).merges == ()
    assert plan_course(Examples(some.inputs, some.y), 3, end_task=True).merges == (18,)


# --- without torch ---------------------------------------------------------------------------------------------------


def test_learning_takes_numpy_and_safetensors_alone(tmp_path: Path) -> None:
    """Load, learn, commit, run, take back and replay with torch blocked, and onnx, scipy and h5py too."""
    path = tmp_path / "m.edge"
    learner("quiet", "hlop", "int8", "smartwatch").save(path)
    data = write(tmp_path / "a.npz", family="quiet")
    code = f"""
import sys
for name in ("torch", "onnx", "onnxruntime", "scipy", "h5py", "nir", "sklearn"):
    sys.modules[name] = None  # whoever imports it now fails
import numpy as np, edgekit
from pathlib import Path
from edgekit.runtime.learned import journal_of
path, data = Path({str(path)!r}), np.load({str(data)!r})
session = edgekit.load(path)
for x, y in zip(data["x"], data["y"]):
    session.learn(x, int(y))
session.merge()
with journal_of(session.artifact, path) as journal:
    journal.commit(session.learned(), mark=len(data["x"]))
again = edgekit.load(path, engine="reference")
assert again.learned() == session.learned()
assert np.array_equal(again.run(data["x"]), session.run(data["x"]))
from edgekit.cli import main
for words in (["--rollback"], ["-i", {str(data)!r}, "--canary", {str(data)!r}, "--max-drop", "100", "--end-task",
              "--log", {str(tmp_path / "ev.npz")!r}], ["--replay", {str(tmp_path / "ev.npz")!r}], ["--status"],
              ["--export", {str(tmp_path / "out.edge")!r}]):
    sys.argv = ["edgekit", "learn", str(path), *words]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, words
assert edgekit.load({str(tmp_path / "out.edge")!r}).learned() == session.learned()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "the same bytes as in the journal" in done.stdout


def test_a_flattened_window_is_learned_from_as_it_is_run(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(2 * INPUTS, 4)).eval()
    io = {"input": {"window": 2, "stride": 2, "layout": "flattened"}}
    made = edgekit.convert(network, torch.zeros(1, 2 * INPUTS), name="flat", io=io, learn="delta")
    one, other, x = edgekit.load(made), edgekit.load(made), np.random.default_rng(0).normal(size=(5, 2, INPUTS))
    for window in x.astype(np.float32):
        np.testing.assert_array_equal(one.learn(window, 1), other.learn(window.reshape(-1), 1))
    assert one.learned() == other.learned()
    with pytest.raises(DataError, match="has shape"):
        one.learn(np.zeros((INPUTS, 2), np.float32), 1)
