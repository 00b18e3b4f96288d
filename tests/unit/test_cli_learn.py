"""`edgekit learn`: what is learned, committed, refused, taken back and replayed; and what a user can do wrong."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import signal
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from converted import CLASSES, INPUTS, ROOT, Answer, artifact, edgekit_main
from learners import WINDOW, examples, learner, pair, write

import edgekit
from edgekit.cli import arrays
from edgekit.errors import DataError, StateError
from edgekit.learn import journal_file
from edgekit.runtime.event_log import read_log
from edgekit.runtime.kept import kept_values
from edgekit.runtime.learned import journal_of

pytest.importorskip("torch")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an artifact that learns, and what it can learn."""
    learner().save(tmp_path / "m.edge")
    write(tmp_path / "a.npz")
    write(tmp_path / "b.npz", 30, 1)
    return tmp_path


def learn(folder: Path, *words: object, file: str = "m.edge") -> Answer:
    """`edgekit learn`, with paths of the folder for names with a dot."""
    made = [folder / word if "." in str(word) and not str(word).startswith("-") else word for word in words]
    return edgekit_main("learn", folder / file, *made)


def document(answer: Answer) -> dict[str, Any]:
    assert answer.returncode in (0, 1), answer
    return json.loads(answer.stdout)


def refused(answer: Answer, *said: str) -> None:
    assert answer.returncode == 2, answer
    lines = answer.stderr.splitlines()
    assert lines, answer
    assert lines[0].startswith("error: "), answer.stderr
    assert all(line.startswith("  - ") for line in lines[1:]), answer.stderr
    for text in said:
        assert text in answer.stderr, answer.stderr


def kept(folder: Path, file: str = "m.edge") -> bytes:
    """What a session has learned that takes the journal over."""
    return edgekit.load(folder / file, engine="reference").learned()


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


# --- what it does ----------------------------------------------------------------------------------------------------


def test_it_learns_commits_and_runs_what_was_learned(folder: Path) -> None:
    before = json.loads(edgekit_main("run", folder / "m.edge", "-i", folder / "b.npz", "--json").stdout)
    assert document(learn(folder, "--json"))["status"]["factory"]
    found = document(learn(folder, "-i", "a.npz", "--passes", 3, "--json"))
    assert (found["windows"], found["passes"], found["updates"], found["committed"]) == (40, 3, 120, True)
    assert found["status"]["windows"] == 120
    assert found["status"]["commit"] == found["status"]["source"] == 1
    after = json.loads(edgekit_main("run", folder / "m.edge", "-i", folder / "b.npz", "--json").stdout)
    assert after["commit"] == 1
    assert after["accuracy"] > before["accuracy"] + 0.2
    assert kept(folder) != edgekit.load(folder / "m.edge", learned=False).learned()
    assert stat.S_IMODE((folder / "m.edge.journal").stat().st_mode) == 0o600


def test_the_verb_learns_what_the_session_learns(folder: Path) -> None:
    session = edgekit.load(folder / "m.edge")
    for seed, count in ((0, 40), (1, 30)):
        x, y = examples(count, seed)
        for one, label in zip(x, y, strict=True):
            session.learn(one, int(label))
        session.merge()
        learn(folder, "-i", "a.npz" if seed == 0 else "b.npz", "--end-task")
        assert kept(folder) == session.learned()


def test_people_are_told(folder: Path) -> None:
    text = learn(folder, "-i", "a.npz", "--canary", "b.npz", "--max-drop", 100, "--end-task").stdout
    assert "40 windows once" in text
    for line in ("canary: ", "decisions on the self-test that changed: ", "decided rightly before each was learned: "):
        assert line in text, text
    for row in ("in use", "commit 1, 40 windows learned", "can go back to", "hlop", "tasks ended", "1 of 2"):
        assert row in text, text
    assert learn(folder, "-i", "a.npz", "-q").stdout == ""


def test_tasks_end_where_the_data_say(folder: Path) -> None:
    write(folder / "t.npz", task=np.repeat([3, 8], 20))
    session, (x, y) = edgekit.load(folder / "m.edge"), examples(40)
    for start in (0, 20):
        for _ in range(2):
            for at in range(start, start + 20):
                session.learn(x[at], int(y[at]))
        if start == 0:
            session.merge()
    found = document(learn(folder, "-i", "t.npz", "--passes", 2, "--log", "ev.npz", "--json"))
    assert kept(folder) == session.learned()
    assert (found["status"]["tasks_ended"], found["status"]["tasks"]) == (1, 2)
    with np.load(folder / "ev.npz") as log:
        assert log["merges"].tolist() == [40]
        assert log["order"].tolist() == [*range(20), *range(20), *range(20, 40), *range(20, 40)]
    document(learn(folder, "-i", "b.npz", "--end-task", "--log", "ev.npz", "--json"))
    with np.load(folder / "ev.npz") as log:
        assert log["merges"].tolist() == [40, 110]
    refused(learn(folder, "-i", "b.npz", "--end-task"), "1 more are to end, and 2 of 2 tasks have ended before")
    refused(learn(folder, "-i", "t.npz"), "2 of 2 tasks have ended")
    assert document(learn(folder, "-i", "b.npz", "--json"))["committed"]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_tasks_end_where_the_windows_drift(precision: str, tmp_path: Path) -> None:
    """Signals of one direction, then of another: the task ends soon after, and a replay ends it at the same place."""
    learner("mlp", "telling", precision).save(tmp_path / "m.edge")
    rng = np.random.default_rng(0)
    strength = rng.uniform(0.5, 1.5, 400).astype(np.float32)
    direction = np.where(np.arange(400)[:, None] < 300, np.array([1, 0.2, 0]), np.array([-0.3, -0.2, 1]))
    x = (strength[:, None] * direction + rng.normal(scale=0.03, size=(400, INPUTS))).astype(np.float32)
    write(tmp_path / "a.npz", x=x, y=np.argmax(x, axis=1))
    quiet = document(learn(tmp_path, "-i", "a.npz", "--json"))
    assert (quiet["tasks_ended_after"], quiet["drifts_found_after"]) == ([], [])
    learn(tmp_path, "--reset")
    found = document(learn(tmp_path, "-i", "a.npz", "--detect", "--log", "ev.npz", "--json"))
    (place,) = found["tasks_ended_after"]
    assert 300 < place < 340
    assert found["status"]["tasks_ended"] == 1
    with np.load(tmp_path / "ev.npz") as log:
        assert log["merges"].tolist() == [place]
    assert document(learn(tmp_path, "--replay", "ev.npz", "--json"))["same_as_journal"]
    learn(tmp_path, "--reset")
    text = learn(tmp_path, "-i", "a.npz", "--detect").stdout
    assert f"a drift was found after window {place}: a task ended there" in text


def test_drifts_when_no_task_is_left_and_where_nobody_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner("mlp", "telling").save(tmp_path / "m.edge")
    write(tmp_path / "a.npz")
    write(tmp_path / "t.npz", task=np.zeros(40, int))
    refused(learn(tmp_path, "-i", "a.npz", "--detect", "--passes", 2), "--passes: is not used with --detect")
    refused(learn(tmp_path, "-i", "t.npz", "--detect"), "--detect: ", "t.npz says itself where tasks end")
    refused(learn(tmp_path, "--status", "--detect"), "--detect: is not used without --input")
    monkeypatch.setattr("edgekit.learn.drift.DriftDetector.see", lambda _self, _value: True)
    found = document(learn(tmp_path, "-i", "a.npz", "--detect", "--end-task", "--json"))
    assert found["drifts_found_after"] == list(range(1, 41))
    assert found["tasks_ended_after"] == [1, 40]  # the last is kept for the end that was asked for
    assert "after window 7: no task is left to end" in learn(tmp_path, "-i", "a.npz", "--detect").stdout
    learner().save(tmp_path / "n.edge")
    refused(learn(tmp_path, "-i", "a.npz", "--detect", file="n.edge"), "does not tell how new a window is", "--detect")


def test_a_rule_without_tasks_says_that_those_of_the_data_are_not_used(tmp_path: Path) -> None:
    learner(rule="delta").save(tmp_path / "m.edge")
    write(tmp_path / "t.npz", task=np.repeat([0, 1], 20))
    assert "note: the tasks in the data are not used" in learn(tmp_path, "-i", "t.npz").stdout
    refused(learn(tmp_path, "-i", "t.npz", "--end-task"), "has no tasks to end", "--learn hlop")


@pytest.mark.parametrize("rule", ["reward", "oja"])
def test_rules_that_are_told_something_else_than_classes(rule: str, tmp_path: Path) -> None:
    """A reward for a right decision, blame for a wrong one; nothing at all for a rule without a target."""
    learner(rule=rule).save(tmp_path / "m.edge")
    write(tmp_path / "a.npz", y=None if rule == "oja" else examples(40)[1])
    session, (x, y) = edgekit.load(tmp_path / "m.edge"), examples(40)
    for one, label in zip(x, y, strict=True):
        told = () if rule == "oja" else (lambda out, label=label: 1.0 if np.argmax(out) == label else -1.0,)
        session.learn(one, *told)
    found = document(learn(tmp_path, "-i", "a.npz", "--log", "ev.npz", "--json"))
    assert (found["right_before_learning"] is None) == (rule == "oja")
    assert kept(tmp_path) == session.learned()
    assert document(learn(tmp_path, "--replay", "ev.npz", "--json"))["same_as_journal"]


def test_windows_of_a_program_with_states(tmp_path: Path) -> None:
    learner("quiet").save(tmp_path / "m.edge")
    write(tmp_path / "a.npz", family="quiet")
    session, (x, y) = edgekit.load(tmp_path / "m.edge"), examples(40, family="quiet")
    for window, label in zip(x, y, strict=True):
        session.learn(window, int(label))
    found = document(learn(tmp_path, "-i", "a.npz", "--canary", "a.npz", "--max-drop", 100, "--json"))
    assert kept(tmp_path) == session.learned()
    stream = edgekit.load(tmp_path / "m.edge")
    assert found["canary_after"] == pytest.approx(100 * np.mean(np.argmax(stream.run(x).mean(1), -1) == y))
    write(tmp_path / "long.npz", x=np.zeros((40, WINDOW + 1, INPUTS), np.float32))
    refused(learn(tmp_path, "-i", "long.npz"), f"windows of {WINDOW} steps, [N, {WINDOW}, {INPUTS}]", "--learn-window")
    refused(learn(tmp_path, "-i", "long.npz", "--canary", "nosuch.npz"), "long.npz")
    assert document(learn(tmp_path, "-i", "a.npz", "--canary", "long.npz", "--max-drop", 100, "--json"))["committed"]


def test_single_steps_of_a_program_with_states(tmp_path: Path) -> None:
    """Labelled one by one, as a stream; the canary may be windows, or a stream as well."""
    artifact("quiet", learn="delta").save(tmp_path / "m.edge")
    write(tmp_path / "steps.npz")
    write(tmp_path / "windows.npz", family="quiet")
    session, (x, y) = edgekit.load(tmp_path / "m.edge"), examples(40)
    for step, label in zip(x, y, strict=True):
        session.learn(step, int(label))
    for canary in ("steps.npz", "windows.npz"):
        learn(tmp_path, "--reset")
        found = document(learn(tmp_path, "-i", "steps.npz", "--canary", canary, "--max-drop", 100, "--json"))
        assert found["committed"]
        assert kept(tmp_path) == session.learned()
    refused(learn(tmp_path, "-i", "windows.npz"), "learns from single steps", "another --learn-window")


def test_the_emulated_core_learns_the_same_and_counts(tmp_path: Path) -> None:
    made = learner("quiet", "hlop", "int8", "smartwatch")
    counts = made.manifest["learning"]["instructions"]
    found = {}
    for on in ("host", "emulator"):
        made.save(tmp_path / f"{on}.edge")
        write(tmp_path / "a.npz", 3, family="quiet")
        answer = document(learn(tmp_path, "-i", "a.npz", "--on", on, "--json", file=f"{on}.edge"))
        found[on] = (kept(tmp_path, f"{on}.edge"), answer["instructions"])
    assert found["host"][0] == found["emulator"][0]
    assert found["host"][1] is None
    expected = 3 * (counts["learn"] + WINDOW * (counts["gather"] + counts["step"]))
    assert found["emulator"][1] == pytest.approx(expected, rel=0.2)


def test_several_inputs(tmp_path: Path) -> None:
    pair().save(tmp_path / "m.edge")
    rng = np.random.default_rng(0)
    p, q = (rng.normal(size=(30, n)).astype(np.float32) for n in (2, 3))
    write(tmp_path / "a.npz", x=None, p=p, q=q, y=np.argmax(q, 1), task=np.arange(30) // 15)
    write(tmp_path / "short.npz", x=None, p=p[:-1], q=q, y=np.argmax(q, 1)[:-1])
    words = ("-i", "a.npz", "--canary", "a.npz", "--max-drop", 100, "--log", "ev.npz", "--json")
    found = document(learn(tmp_path, *words))
    assert found["status"]["tasks_ended"] == 1
    session = edgekit.load(tmp_path / "m.edge", learned=False)
    for at in range(30):
        session.learn(p[at], q[at], int(np.argmax(q[at])))
        if at == 14:
            session.merge()
    assert kept(tmp_path) == session.learned()
    assert document(learn(tmp_path, "--replay", "ev.npz", "--json"))["same_as_journal"]
    refused(learn(tmp_path, "-i", "short.npz"), "short.npz", "examples")


def test_labels_in_a_file_of_their_own(folder: Path) -> None:
    x, y = examples(40)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    np.savez(folder / "y.npz", y=y)
    np.savez(folder / "z.npz", z=y)
    for labels in ("y.npy", "y.npz"):
        learn(folder, "--reset")
        assert document(learn(folder, "-i", "x.npy", "--labels", labels, "--json"))["committed"]
    refused(learn(folder, "-i", "x.npy"), "x.npy: has no labels y; give them with --labels")
    refused(learn(folder, "-i", "a.npz", "--labels", "y.npy"), "--labels", "has labels y itself")
    refused(learn(folder, "-i", "x.npy", "--labels", "z.npz"), "z.npz: has no array 'y'")
    refused(learn(folder, "-i", "x.npy", "--labels", "x.npy"), "x.npy: has labels float32[40, 3] for 40 examples")


# --- guards ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def spoiled(folder: Path) -> Path:
    """Examples whose classes are all wrong: who learns them forgets what it knew."""
    learn(folder, "-i", "a.npz", "--passes", 20)
    write(folder / "bad.npz", y=(examples(40)[1] + 1) % CLASSES)
    return folder


def test_a_canary_that_loses_too_much_takes_it_back(spoiled: Path) -> None:
    before, image = kept(spoiled), (spoiled / "m.edge.journal").read_bytes()
    words = ("-i", "bad.npz", "--passes", 20, "--canary", "b.npz", "--log", "ev.npz")
    answer = learn(spoiled, *words)
    assert answer.returncode == 1
    assert "no commit: the canary lost" in answer.stdout
    assert "points, more than 1; everything is as it was before" in answer.stdout
    found = document(learn(spoiled, *words, "--json"))
    assert not found["committed"]
    assert found["canary_before"] - found["canary_after"] > 1
    assert (found["log"], len(found["reasons"])) == (None, 1)
    assert (spoiled / "m.edge.journal").read_bytes() == image
    assert kept(spoiled) == before
    assert "ev.npz" not in left(spoiled)
    assert document(learn(spoiled, *words, "--max-drop", 100, "--json"))["committed"]


def test_decisions_on_the_selftest_guard_without_anybodys_data(spoiled: Path) -> None:
    before = kept(spoiled)
    found = document(learn(spoiled, "-i", "bad.npz", "--passes", 20, "--max-change", 5, "--json"))
    assert not found["committed"]
    assert "decisions on the self-test changed, more than 5 %" in found["reasons"][0]
    assert found["selftest_changed"] > 0.05 * found["selftest_steps"]
    assert kept(spoiled) == before
    assert document(learn(spoiled, "-i", "a.npz", "--max-change", 100, "--json"))["committed"]


def test_what_diverges_is_not_committed(tmp_path: Path) -> None:
    """Windows that are finite, but so large that the weights are not."""
    learner(rule="delta").save(tmp_path / "m.edge")
    write(tmp_path / "a.npz", x=examples(40)[0] * np.float32(1e18))
    found = document(learn(tmp_path, "-i", "a.npz", "--log", "ev.npz", "--json"))
    assert not found["committed"]
    assert "NaN or Inf" in found["reasons"][0]
    assert found["status"]["commit"] == 0
    assert "ev.npz" not in left(tmp_path)


def test_weights_at_the_end_of_their_range_are_counted(tmp_path: Path) -> None:
    """In lateral rows of a later task, which nothing moves before."""
    made = learner(precision="int8")
    made.save(tmp_path / "m.edge")
    session = edgekit.load(made)
    values = {name: array.copy() for name, array in kept_values(session.facts.layout, session.learned()).items()}
    (name,) = (name for name in values if name.endswith(".lateral"))
    values[name][-1, :2] = 32767
    with journal_of(made, tmp_path / "m.edge") as journal:
        journal.commit(b"".join(array.tobytes() for array in values.values()))
    write(tmp_path / "a.npz", 2)
    answer = learn(tmp_path, "-i", "a.npz")
    assert "warning: 2 weights are at the end of their range: what they learn beyond it is lost" in answer.stdout
    assert "2 weights" in learn(tmp_path).stdout


def test_the_count_of_tasks_is_no_weight_at_the_end_of_its_range(tmp_path: Path) -> None:
    """Two tasks of two are held as 32767 of 32768."""
    learner(precision="int8").save(tmp_path / "m.edge")
    write(tmp_path / "a.npz", 4, task=np.array([0, 0, 1, 1]))
    found = document(learn(tmp_path, "-i", "a.npz", "--end-task", "--json"))
    assert found["status"]["tasks_ended"] == 2
    assert found["saturated_weights"] == found["status"]["saturated_weights"] == 0


def test_switched_off_it_refuses_to_learn(folder: Path) -> None:
    assert not document(learn(folder, "--switch", "off", "--json"))["status"]["learning"]
    refused(learn(folder, "-i", "a.npz"), "learning is switched off; edgekit learn", "--switch on")
    learn(folder, "--switch", "on")
    assert document(learn(folder, "-i", "a.npz", "--json"))["committed"]


# --- taking back -----------------------------------------------------------------------------------------------------


def test_commits_are_taken_back_and_forgotten(folder: Path) -> None:
    states = [kept(folder)]
    for file in ("a.npz", "b.npz", "a.npz"):
        learn(folder, "-i", file, "--history", 3) if len(states) == 1 else learn(folder, "-i", file)
        states.append(kept(folder))
    assert len(set(states)) == 4
    learn(folder, "--rollback")
    assert kept(folder) == states[2]
    assert edgekit_main("learn", "rollback", folder / "m.edge", "--to", 3).returncode == 0
    assert kept(folder) == states[3]
    refused(learn(folder, "--rollback", "--to", 1), "commit 1 is not in reach", "in reach are commits 4, 3, 2, and 0")
    refused(learn(folder, "--rollback", "--to", -1), "commit -1 is not in reach")
    learn(folder, "--rollback", "--to", 0)
    assert kept(folder) == states[0]
    learn(folder, "--rollback", "--to", 5)
    assert kept(folder) == states[3]
    learn(folder, "--reset")
    assert kept(folder) == states[0]
    refused(learn(folder, "-i", "a.npz", "--history", 1), "keeps a history of 3, not of 1")
    learn(folder, "--forget")
    assert document(learn(folder, "--json"))["status"]["commit"] == 0
    refused(learn(folder, "--rollback"), "nothing was before them")


@pytest.mark.parametrize("verb", ["--rollback", "--reset", "--forget"])
def test_there_is_nothing_to_take_back_yet(verb: str, folder: Path) -> None:
    refused(learn(folder, verb), "has learned nothing yet")
    assert "m.edge.journal" not in left(folder)


def test_an_export_has_what_was_learned_built_in(folder: Path) -> None:
    learn(folder, "-i", "a.npz", "--end-task")
    assert document(learn(folder, "--export", "out.edge", "--json"))["commit"] == 1
    x, y = examples(10, 5)
    one, other = edgekit.load(folder / "m.edge"), edgekit.load(folder / "out.edge")
    assert other.learned() == one.learned()
    assert other.tasks == one.tasks
    np.testing.assert_array_equal(one.run(x), other.run(x))
    for session in (one, other):  # and both learn on alike
        for at in range(10):
            session.learn(x[at], int(y[at]))
    assert one.learned() == other.learned()
    assert edgekit_main("inspect", folder / "out.edge", "--selftest").returncode == 0
    learn(folder, "-i", "b.npz", file="out.edge")
    refused(learn(folder, "--export", "out.edge"), "has a journal, out.edge.journal", "remove the journal")
    refused(learn(folder, "--export", "m.edge"), "is the artifact itself, which never changes")
    assert edgekit_main("learn", "export", folder / "m.edge", "-o", folder / "two.edge").returncode == 0
    assert edgekit.load(folder / "two.edge").learned() == edgekit.load(folder / "m.edge").learned()


# --- logs ------------------------------------------------------------------------------------------------------------


def test_a_log_gives_the_same_bytes_again(folder: Path) -> None:
    learn(folder, "-i", "a.npz", "--passes", 2, "--end-task", "--log", "ev.npz")
    learn(folder, "-i", "b.npz", "--log", "ev.npz")
    found = document(learn(folder, "--replay", "ev.npz", "--json"))
    assert (found["updates"], found["same_as_logged"], found["same_as_journal"]) == (110, True, True)
    assert stat.S_IMODE((folder / "ev.npz").stat().st_mode) == 0o600
    assert kept(folder)  # the journal stays as it is
    learn(folder, "--rollback")
    answer = learn(folder, "--replay", "ev.npz")
    assert answer.returncode == 1
    assert "the same bytes as when it was learned" in answer.stdout
    assert "not what the journal holds" in answer.stdout
    (folder / "m.edge.journal").unlink()  # with the artifact and the log alone
    assert document(learn(folder, "--replay", "ev.npz", "--json"))["same_as_journal"] is None


def test_a_log_begins_where_it_began(folder: Path) -> None:
    learn(folder, "-i", "a.npz")
    learn(folder, "-i", "b.npz", "--log", "ev.npz")
    assert document(learn(folder, "--replay", "ev.npz", "--json"))["same_as_journal"]
    learn(folder, "-i", "a.npz")
    refused(learn(folder, "-i", "b.npz", "--log", "ev.npz"), "does not end with what the journal holds now")
    refused(learn(folder, "-i", "b.npz", "--log", "m.edge"), "is there already", "name another file")
    refused(learn(folder, "-i", "b.npz", "--log", "b.npz"), "is what is to be read")


def hostile() -> dict[str, tuple[dict[str, Any], str]]:
    """Arrays to put into a log, and what is then said."""
    many = np.arange(1, 4)
    return {
        "format": ({"format": np.array(2)}, "of format 2, this edgekit knows 1"),
        "no format": ({"format": None}, "lacks 'format'"),
        "format is text": ({"format": np.array("1")}, "format is <U1"),
        "artifact": ({"artifact": np.array("00" * 32)}, "is the log of another artifact"),
        "artifact is a number": ({"artifact": np.array(3)}, "not a text"),
        "long text": ({"artifact": np.array("a" * 10**6)}, "not a text"),
        "fewer windows": ({"x0": np.zeros((9, INPUTS), np.float32)}, "it learns example 39 of 9"),
        "more windows": ({"x0": np.zeros((41, INPUTS), np.float32)}, "has labels int64[40] for 41 examples"),
        "no windows": ({"x0": None}, "lacks 'x0'"),
        "wide windows": ({"x0": np.zeros((40, INPUTS + 1), np.float32)}, "single steps"),
        "double windows": ({"x0": np.zeros((40, INPUTS))}, "windows are not float32"),
        "a number": ({"x0": np.float32(1)}, "windows are not float32"),
        "NaN": ({"x0": np.full((40, INPUTS), np.nan, np.float32)}, "holds NaN or Inf"),
        "labels": ({"y": np.full(40, CLASSES)}, "the program has 4 classes"),
        "negative labels": ({"y": np.full(40, -1)}, "has labels from -1"),
        "no labels": ({"y": np.zeros(0, int)}, "has no labels"),
        "huge labels": ({"y": np.full(40, 2**64 - 1, np.uint64)}, "y holds 18446744073709551615"),
        "real labels": ({"y": np.zeros(40)}, "not whole numbers"),
        "order": ({"order": np.array([40])}, "it learns example 40 of 40"),
        "negative order": ({"order": np.array([-1])}, "it learns example -1"),
        "no order": ({"order": np.zeros(0, int)}, "nothing was learned in it"),
        "deep order": ({"order": np.zeros((4, 1), int)}, "not whole numbers"),
        "merge before all": ({"merges": np.array([0])}, "do not end one after the other"),
        "negative merge": ({"merges": np.array([-5])}, "do not end one after the other"),
        "merges twice": ({"merges": np.array([9, 9])}, "do not end one after the other"),
        "merges fall": ({"merges": np.array([9, 8])}, "do not end one after the other"),
        "merge behind": ({"merges": np.array([41])}, "do not end one after the other"),
        "huge merge": ({"merges": np.array([2**62])}, "do not end one after the other"),
        "too many merges": ({"merges": many}, "3 more are to end, and 0 of 2"),
        "real merges": ({"merges": np.array([1.5])}, "not whole numbers"),
        "before": ({"before": np.zeros(3, np.uint8)}, "what was learned before has 3 bytes"),
        "before is numbers": ({"before": np.zeros(3, int)}, "is not bytes"),
        "before is NaN": ({"before": b"\xff" * 400}, "what was learned before holds NaN or Inf"),
        "after": ({"after": np.array(5)}, "not a text"),
        "pickled": ({"x0": np.array([{}], object)}, "allow_pickle"),
    }


@pytest.mark.drawn(2)
@pytest.mark.parametrize("name", list(hostile()))
def test_hostile_logs(name: str, folder: Path) -> None:
    learn(folder, "-i", "a.npz", "--log", "ev.npz")
    with np.load(folder / "ev.npz") as log:
        arrays = dict(log)
    changed, said = hostile()[name]
    if isinstance(changed.get("before"), bytes):
        changed = {"before": np.full(len(kept(folder)), 255, np.uint8)}
    arrays |= changed
    np.savez(folder / "bad.npz", **{key: value for key, value in arrays.items() if value is not None})
    refused(learn(folder, "--replay", "bad.npz"), said)


def test_logs_that_learn_something_else(folder: Path) -> None:
    learn(folder, "-i", "a.npz", "--log", "ev.npz")
    with np.load(folder / "ev.npz") as log:
        arrays = dict(log)
    for changed in ({"after": np.array("00" * 32)}, {"merges": np.array([20])}, {"order": np.arange(39)}):
        np.savez(folder / "other.npz", **{**arrays, **changed})
        answer = learn(folder, "--replay", "other.npz")
        assert answer.returncode == 1, answer
        assert "other bytes than when it was learned" in answer.stdout


def test_a_log_that_claims_a_terabyte(folder: Path) -> None:
    learn(folder, "-i", "a.npz", "--log", "ev.npz")
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (250000000000, 3), }"
    header += b" " * (117 - len(header)) + b"\n"
    with np.load(folder / "ev.npz") as log, zipfile.ZipFile(folder / "bomb.npz", "w") as archive:
        for name in log.files:
            made = io.BytesIO()
            np.save(made, log[name])
            whole = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(1000)
            archive.writestr(f"{name}.npy", whole if name == "x0" else made.getvalue())
    refused(learn(folder, "--replay", "bomb.npz"), "bomb.npz: is no event log")


def test_damaged_logs_are_refused_or_read_all_the_same(folder: Path) -> None:
    """Cut, and with single bits changed: never anything but an error of edgekit's."""
    learn(folder, "-i", "a.npz", "--log", "ev.npz")
    whole, rng, session = (folder / "ev.npz").read_bytes(), np.random.default_rng(0), edgekit.load(folder / "m.edge")
    path, refusals = folder / "bad.npz", 0
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"bad\.npz: is no event log"):
            read_log(path, session)
    for _ in range(300):
        bad = bytearray(whole)
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        path.write_bytes(bad)
        try:
            read_log(path, session)
        except (DataError, StateError):
            refusals += 1
    assert refusals > 200
    path.write_bytes(whole[:100])
    refused(learn(folder, "--replay", "bad.npz"), "bad.npz")


# --- faults ----------------------------------------------------------------------------------------------------------

X, Y = examples(40)
CLAIMS = b"{'descr': '<f4', 'fortran_order': False, 'shape': (250000000000, 3), }"
DATA: dict[str, tuple[dict[str, Any], str]] = {
    "labels below": ({"y": Y - 1}, "has labels from -1 to"),
    "labels above": ({"y": Y + CLASSES}, "the program has 4 classes"),
    "huge labels": ({"y": np.full(40, 2**64 - 1, np.uint64)}, "has labels from 18446744073709551615"),
    "real labels": ({"y": Y.astype(float)}, "labels y float64"),
    "deep labels": ({"y": Y[:, None]}, "labels y int64(40, 1)"),
    "few labels": ({"y": Y[:9]}, "labels y int64(9,)"),
    "pickled labels": ({"y": np.array([{}] * 40, object)}, "pickled objects"),
    "NaN": ({"x": np.where(np.arange(40)[:, None] == 7, np.nan, X)}, "example 7 holds NaN or Inf"),
    "Inf": ({"x": np.where(np.arange(40)[:, None] == 3, np.inf, X)}, "example 3 holds NaN or Inf"),
    "beyond float32": ({"x": np.full((40, INPUTS), 1e300)}, "more than float32 can"),
    "nothing": ({"x": X[:0], "y": Y[:0]}, "holds no samples"),
    "wide": ({"x": np.zeros((40, INPUTS + 1), np.float32)}, "single steps, [N, 3]"),
    "windows": ({"x": np.zeros((40, 5, INPUTS), np.float32)}, "single steps, [N, 3]; convert the model with another"),
    "flat": ({"x": np.zeros(40, np.float32)}, "single steps, [N, 3]"),
    "one number": ({"x": np.float32(1)}, "do not fit x ()"),
    "text": ({"x": np.array(["a"] * 40)}, "not numbers"),
    "complex": ({"x": X.astype(complex)}, "not numbers"),
    "no x": ({"x": None}, "has no array 'x'"),
    "real tasks": ({"task": np.zeros(40)}, "has tasks float64[40] for 40 examples"),
    "few tasks": ({"task": np.zeros(5, int)}, "has tasks int64[5] for 40 examples"),
    "tasks fall": ({"task": np.repeat([1, 0], 20)}, "goes from task 1 back to 0 at example 20"),
    "tasks fall, unsigned": ({"task": np.repeat([1, 0], 20).astype(np.uint8)}, "goes from task 1 back to 0"),
    "too many tasks": ({"task": np.arange(40)}, "39 more are to end, and 0 of 2"),
}


@pytest.mark.parametrize("name", list(DATA))
def test_files_that_nothing_is_learned_from(name: str, folder: Path) -> None:
    changed, said = DATA[name]
    write(folder / "bad.npz", **changed)
    before = left(folder)
    refused(learn(folder, "-i", "bad.npz", "--log", "ev.npz"), said)
    assert left(folder) == before  # no journal, no log, nothing half-written
    if "task" not in changed and name not in ("windows", "no x"):
        refused(learn(folder, "-i", "a.npz", "--canary", "bad.npz"), "bad.npz")
        assert left(folder) == before


@pytest.mark.parametrize("damage", ["empty", "noise", "cut", "flipped", "directory", "missing", "folder", "huge"])
def test_files_that_are_none(damage: str, folder: Path) -> None:
    path, whole = folder / "bad.npz", io.BytesIO()
    np.savez_compressed(whole, x=X, y=Y)
    packed = bytearray(whole.getvalue())
    if damage == "flipped":
        packed[60] ^= 0xFF  # in the compressed numbers
    elif damage == "directory":
        packed[-60:-40] = b"\xff" * 20
    made = {"empty": b"", "noise": bytes(range(256)) * 4, "cut": bytes(packed[: len(packed) // 2])}
    header = CLAIMS + b" " * (117 - len(CLAIMS)) + b"\n"
    made["huge"] = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes(made.get(damage, bytes(packed)))
    before = left(folder)
    refused(learn(folder, "-i", "bad.npz"), "bad.npz")
    refused(learn(folder, "-i", "a.npz", "--canary", "bad.npz"), "bad.npz")
    np.save(folder / "x.npy", X)
    if damage != "flipped":  # where the labels are whole
        refused(learn(folder, "-i", "x.npy", "--labels", "bad.npz"), "bad.npz")
    assert left(folder) == before | {"x.npy"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-i a.npz --passes 0", "--passes 0: is not from 1 to 1,000,000"),
        ("-i a.npz --passes x", "'--passes'"),
        ("-i a.npz --max-drop 1", "--max-drop: is not used without --canary"),
        ("-i a.npz --canary a.npz --max-drop nan", "--max-drop nan: is not from 0 to 100"),
        ("-i a.npz --canary a.npz --max-drop -1", "--max-drop -1: is not from 0 to 100"),
        ("-i a.npz --max-change 101", "--max-change 101: is not from 0 to 100"),
        ("-i a.npz --max-change nan", "is not from 0 to 100"),
        ("-i a.npz --history -1", "a history of -1; choose one from 0 to 254"),
        ("-i a.npz --history 255", "a history of 255"),
        ("-i a.npz --on moon", "--on moon: is not known; known are host, emulator"),
        ("-i a.npz --on emulator", "has no emulated core"),
        ("-i a.npz --to 1", "--to: is not used with learn"),
        ("-i a.npz -o out.npz", "--output: is not used with learn"),
        ("-i a.npz --export out.edge", "--input: is not used with export"),
        ("-i a.npz --rollback", "--input: is not used with rollback"),
        ("-i a.npz --status", "--input: is not used with status"),
        ("-i a.npz --log nodir/ev.npz", "its folder does not exist"),
        ("-i a.npz --log a.npz", "is what is to be read"),
        ("--passes 2", "--passes: is not used without --input"),
        ("--end-task --canary a.npz", "--canary, --end-task: is not used without --input"),
        ("--on host", "--on: is not used without --input"),
        ("--status --on host", "--on: is not used without --input"),
        ("--rollback --reset", "rollback and reset: cannot be done at once"),
        ("--switch maybe", "--switch maybe: is neither on nor off"),
        ("--switch on --history 3", "--history: is not used with switch"),
        ("--export out.edge -o two.edge", "--output: is not used with export"),
        ("--export nodir/out.edge", "its folder does not exist"),
        ("--replay a.npz", "a.npz: is no event log of `edgekit learn` (lacks 'format')"),
        ("--replay nothing.npz", "nothing.npz: no such file"),
        ("--replay m.edge", "m.edge: is no event log"),
        ("--replay a.npz --end-task", "--end-task: is not used with replay"),
    ],
)
def test_options_that_make_no_sense(words: str, said: str, folder: Path) -> None:
    before = left(folder)
    refused(learn(folder, *words.split()), said)
    assert left(folder) == before


def test_words_that_make_no_sense(folder: Path, tmp_path: Path) -> None:
    path = folder / "m.edge"
    refused(edgekit_main("learn"), "Missing argument")
    refused(edgekit_main("learn", "retrain", path), "action 'retrain': is not known; known are status, rollback")
    refused(edgekit_main("learn", "status", path, path), "takes one file, got 2")
    refused(edgekit_main("learn", "export", path), "export: needs a file to write")
    refused(edgekit_main("learn", "replay", path), "replay: needs a log")
    refused(edgekit_main("learn", "rollback", "--status", path), "rollback and status")
    refused(edgekit_main("learn", tmp_path / "nothing.edge"), "nothing.edge")
    refused(edgekit_main("learn", folder / "a.npz"), "a.npz")
    artifact("mlp").save(tmp_path / "fixed.edge")
    for words in ((), ("-i", "a.npz"), ("--rollback",), ("--export", "out.edge"), ("--switch", "off")):
        refused(learn(folder, *words, file="fixed.edge"), "fixed.edge: does not learn; convert the model with --learn")


def test_journals_that_are_none(folder: Path) -> None:
    learn(folder, "-i", "a.npz")
    path = folder / "m.edge.journal"
    whole = path.read_bytes()
    for bad in (b"", whole[:-1], whole[: len(whole) // 2 + 1]):
        path.write_bytes(bad)
        for words in ((), ("-i", "a.npz"), ("--rollback",), ("--export", "out.edge"), ("--replay", "a.npz")):
            refused(learn(folder, *words), "m.edge.journal: has ", "it is damaged, or belongs to another model")
        assert path.read_bytes() == bad
    path.unlink()
    os.mkfifo(path)
    for words in ((), ("-i", "a.npz"), ("--forget",)):
        refused(learn(folder, *words), "m.edge.journal: is not a regular file")


def test_the_journal_of_another_artifact(folder: Path) -> None:
    learn(folder, "-i", "a.npz")
    other = learner(rule="hlop", precision="int8")
    other.save(folder / "m.edge")  # converted again: what was learned belongs to the one before
    with journal_of(other, folder / "int8.edge") as journal:
        journal.commit(edgekit.load(other).learned())
    (folder / "int8.edge.journal").replace(folder / "m.edge.journal")
    learner().save(folder / "m.edge")
    image = (folder / "m.edge.journal").read_bytes()
    for words in ((), ("-i", "a.npz"), ("--forget",), ("--reset",)):
        refused(learn(folder, *words), "m.edge.journal: ", "belongs to")
    assert (folder / "m.edge.journal").read_bytes() == image


def test_a_newest_commit_with_damage_is_passed_over_and_said(folder: Path) -> None:
    learn(folder, "-i", "a.npz")
    first = kept(folder)
    learn(folder, "-i", "b.npz")
    path = folder / "m.edge.journal"
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 3 + 100] ^= 1  # in the second of three slots
    path.write_bytes(whole)
    assert kept(folder) == first
    found = document(learn(folder, "--json"))["status"]
    assert (found["commit"], found["damaged"]) == (1, ["slot 1 its checksum is wrong"])
    assert "passed over" in learn(folder).stdout
    ran = edgekit_main("run", folder / "m.edge", "-i", folder / "b.npz").stdout
    assert "warning: the journal is damaged: slot 1 its checksum is wrong" in ran
    assert document(learn(folder, "-i", "b.npz", "--json"))["status"]["damaged"] == []


def test_a_commit_that_the_program_cannot_use_is_named_and_can_be_taken_back(folder: Path) -> None:
    """Whole by its checksum, but not numbers: nobody but an attacker writes that."""
    nbytes = len(kept(folder))
    with journal_of(learner(), folder / "m.edge") as journal:
        journal.commit(b"\xff" * nbytes)
    for words in (("-i", "a.npz"), ("--export", "out.edge")):
        refused(learn(folder, *words), "m.edge.journal: commit 1 cannot be used", "holds NaN or Inf", "--rollback, or")
    refused(edgekit_main("run", folder / "m.edge", "-i", folder / "a.npz"), "commit 1 cannot be used")
    assert document(learn(folder, "--json"))["status"]["commit"] == 1
    learn(folder, "--rollback")
    assert document(learn(folder, "-i", "a.npz", "--json"))["committed"]


def test_one_learns_at_a_time_and_others_may_look(folder: Path) -> None:
    learn(folder, "-i", "a.npz")
    before = kept(folder)
    with journal_of(learner(), folder / "m.edge"):
        for words in (("-i", "b.npz"), ("--rollback",), ("--switch", "off"), ("--forget",)):
            refused(learn(folder, *words), "m.edge.journal: another process is learning into it; wait until it is done")
        assert document(learn(folder, "--json"))["status"]["commit"] == 1
        assert edgekit_main("run", folder / "m.edge", "-i", folder / "b.npz").returncode == 0
        assert kept(folder) == before


def test_what_another_process_learned_meanwhile_is_gone_on_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between loading the artifact and locking its journal."""
    learn(folder, "-i", "a.npz")
    second, locked = kept(folder), journal_file._open_locked
    learn(folder, "--reset")

    def late(path: Path) -> int:
        monkeypatch.setattr(journal_file, "_open_locked", locked)
        assert learn(folder, "-i", "a.npz").returncode == 0
        assert kept(folder) == second
        return locked(path)

    monkeypatch.setattr(journal_file, "_open_locked", late)
    learn(folder, "-i", "b.npz")
    session, (x, y) = edgekit.load(folder / "m.edge", learned=False), examples(30, 1)
    session.restore_learned(second)
    for one, label in zip(x, y, strict=True):
        session.learn(one, int(label))
    assert kept(folder) == session.learned()


@pytest.mark.parametrize("place", ["journal", "log", "commit"])
def test_a_full_disk(place: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if place != "journal":
        learn(folder, "-i", "a.npz")
    before, files = kept(folder), left(folder)
    if place == "commit":
        monkeypatch.setattr("edgekit.learn.journal_file.os.pwrite", full)
    else:
        monkeypatch.setattr("tempfile.mkstemp", full)
    refused(learn(folder, "-i", "b.npz", "--log", "ev.npz"), "cannot be written (No space left on device)")
    monkeypatch.undo()
    assert kept(folder) == before
    assert left(folder) == files


def test_a_folder_that_nobody_may_write_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.mkstemp", denied)
    refused(learn(folder, "-i", "a.npz"), "m.edge.journal: cannot be written (Read-only file system)", "where you may")
    assert document(learn(folder, "--json"))["status"]["factory"]
    assert learn(folder, "--export", "out.edge").returncode == 2


TELLING = """
from edgekit.cli import main
from edgekit.runtime import learned
begin = learned.learn_course
def told(*arguments):
    print("learning", flush=True)
    return begin(*arguments)
learned.learn_course = told
main()
"""


@pytest.mark.parametrize("on", ["host", "emulator"])
def test_ctrl_c_while_it_learns(on: str, tmp_path: Path) -> None:
    learner(precision="int8", target="smartwatch").save(tmp_path / "m.edge")
    write(tmp_path / "a.npz")
    learn(tmp_path, "-i", "a.npz")
    before, image = kept(tmp_path), (tmp_path / "m.edge.journal").read_bytes()
    words = ["learn", "m.edge", "-i", "a.npz", "--passes", "1000000", "--log", "ev.npz", "--on", on]
    with subprocess.Popen(
        [sys.executable, "-c", TELLING, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "learning\n"
            time.sleep(0.5)
            running.send_signal(signal.SIGINT)
            _, said = running.communicate(timeout=60)
        finally:
            running.kill()
    assert running.returncode == 130, said
    assert said.splitlines() == ["error: interrupted; no file is half written"]
    assert kept(tmp_path) == before
    assert (tmp_path / "m.edge.journal").read_bytes() == image
    assert left(tmp_path) == {"m.edge", "m.edge.journal", "a.npz"}


def test_damaged_zips_are_errors_of_every_verb(tmp_path: Path) -> None:
    """zlib has an error of its own."""
    packed = io.BytesIO()
    np.savez_compressed(packed, x=np.random.default_rng(0).normal(size=(50, INPUTS)))
    whole, path = packed.getvalue(), tmp_path / "x.npz"
    for at in range(40, len(whole) - 40, 61):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        with contextlib.suppress(DataError):  # where it is read all the same it was not in what counts
            arrays.read_data(path)
