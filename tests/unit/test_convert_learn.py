"""Converting models that learn: options, budgets, costs that are printed, and what was learned built in."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from converted import INPUTS, Answer, edgekit_main, module, stream
from learners import RULES, WINDOW, examples, learner

import edgekit
from edgekit.convert.learned import export_learned
from edgekit.errors import CapacityError, UsageError
from edgekit.learn import Learning
from edgekit.profile.counts import count_steps
from edgekit.reference import unpack_states
from edgekit.runtime.examples import Examples, plan_course
from edgekit.runtime.learned import learn_course
from edgekit.runtime.trial import learning_entries, learning_inputs

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    edgekit.save(module("mlp"), folder / "net.pt")
    edgekit.save(module("quiet"), folder / "quiet.pt")
    np.save(folder / "calib.npy", np.random.default_rng(0).normal(size=(20, INPUTS)).astype(np.float32))
    return folder


def convert(folder: Path, words: str, file: str = "net.pt") -> Answer:
    return edgekit_main("convert", folder / file, *words.format(f=folder).split(), "-o", folder / "out.edge")


HLOP = "--learn hlop --subspace 2,2"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--learn magic", "learning rule 'magic': is not known; known are delta, hlop"),
        ("--subspace 4", "--subspace: is not used without a learning rule"),
        ("--learn-window 4 --trace 0.5", "--learn-window, --trace: is not used without a learning rule"),
        ("--learn hlop", "needs rows for its subspaces"),
        ("--learn delta --subspace 4", "--subspace: is not used with learning rule 'delta'"),
        ("--learn delta --iterations 3", "--iterations: is not used with learning rule 'delta'"),
        ("--learn delta --momentum 0.5", "--momentum: is not used with learning rule 'delta'"),
        ("--learn hlop --subspace 0", "are no row counts from 1 to 4096"),
        ("--learn hlop --subspace 4,", "--subspace 4,: is not a number of rows"),
        ("--learn hlop --subspace four", "--subspace four: is not a number of rows"),
        ("--learn hlop --subspace " + "9" * 5000, "--subspace 9999999999999999999999999999999999999999…: is not"),
        ("--learn hlop --subspace 2000 --tasks 3", "are no row counts from 1 to 4096 together"),
        (HLOP + " --tasks 2", "--tasks: is not used with rows for 2 tasks"),
        ("--learn hlop --subspace 2 --tasks 0", "--tasks 0: is not from 1 to 1000"),
        (HLOP + " --iterations 0", "--iterations: 0 is not from 1 to 100"),
        (HLOP + " --iterations 100000", "--iterations: 100000 is not from 1 to 100"),
        (HLOP + " --learning-rate nan", "learning rate: nan is not a number above 0, up to 1000"),
        (HLOP + " --learning-rate 1e30", "learning rate: 1e+30 is not a number above 0"),
        (HLOP + " --subspace-rate inf", "subspace rate: inf is not a number above 0"),
        (HLOP + " --trace 1", "--trace: 1.0 is not from 0 up to"),
        (HLOP + " --trace 0.5", "--trace 0.5: is of no use to a model without states"),
        (HLOP + " --learn-window 5", "--learn-window 5: is of no use to a model without states"),
        (HLOP + " --learn-window 0", "--learn-window 0: is not 1 or more"),
        (HLOP + " --momentum 1", "--momentum: 1.0 is not from 0 up to"),
        (HLOP + " --plastic nothing", "no layer is called 'nothing'; there are readout, "),
        (HLOP + " --plastic ,", "no layer is named"),
        (HLOP + " --learn-budget-ram 8kb", "--learn-budget-ram 8kb: is not a number of bytes"),
        (HLOP + " --learn-budget-ram -3", "--learn-budget-ram -3: is not a number of bytes"),
        (HLOP + " --learn-budget-ram " + "9" * 400, "…: is not a number of bytes"),
        (HLOP + " --learn-budget-ram 100", "learning, RAM: required "),
        (HLOP + " --format edge,onnx", "onnx files hold a step alone"),
        (HLOP + " --precision int8 --calib {f}/calib.npy --momentum 0.5", "are for float programs"),
        (HLOP + " --precision int8 --calib {f}/calib.npy --widen readout.plastic=32", "names nothing that has bits"),
    ],
)
def test_options_that_make_no_sense(words: str, said: str, model: Path) -> None:
    answer = convert(model, words)
    assert answer.returncode == 2, answer
    assert said in answer.stderr, answer.stderr
    assert not (model / "out.edge").exists()


@pytest.mark.drawn(2)
@pytest.mark.parametrize(
    "words",
    [
        HLOP,
        "--learn hlop --subspace 2 --tasks 3 --iterations 2 --momentum 0.5 --subspace-rate 0.1 --learning-rate 1000",
        HLOP + " --precision int8 --calib {f}/calib.npy --learning-rate 1000",
        HLOP + " --precision auto --calib {f}/calib.npy --min-agreement 1",
        HLOP + " --precision auto --calib {f}/calib.npy --min-agreement 99.9",
        HLOP + " --precision w8 --learn-budget-ram 1MB",
    ],
)
def test_what_is_asked_for_is_what_learns(words: str, model: Path) -> None:
    answer = convert(model, words)
    if "99.9" in words and answer.returncode:  # an agreement that integers may miss, but never a traceback
        assert "even the widest integer program misses" in answer.stderr
        return
    assert answer.returncode == 0, answer
    assert "learning: hlop, plastic readout, from a step at once" in answer.stdout
    session = edgekit.load(model / "out.edge")
    first, (x, y) = session.learned(), examples(6)
    learn_course(session, Examples((x,), y), plan_course(Examples((x,), y)))
    assert session.learned() != first
    (model / "out.edge").unlink()


@pytest.mark.parametrize("units", ["6400", "6.4kB", "6.4 kB", "6.25KiB", "0.0064MB"])
def test_budgets_have_units(units: str) -> None:
    from edgekit.cli.learning import learning_of

    asked = learning_of("delta", ram=units)
    assert asked is not None
    assert asked.ram == 6400


def test_rows_are_for_every_task_of_the_rule() -> None:
    from edgekit.cli.learning import learning_of

    for rule, tasks, rows in (
        ("hlop", None, (8,) * 4),
        ("hlop", 2, (8, 8)),
        ("oja", None, (8,)),
        ("sanger", None, (8,)),
    ):
        asked = learning_of(rule, subspace="8", tasks=tasks)
        assert asked is not None
        assert asked.subspace == rows
    asked = learning_of("hlop", subspace="24,8")
    assert asked is not None
    assert asked.subspace == (24, 8)


def test_subjects_of_calibration_windows_are_one_for_each(model: Path) -> None:
    x, y = examples(40)
    np.savez(model / "wearers.npz", x=x, y=y, subject=np.arange(40) // 20)
    np.savez(model / "few.npz", x=x, y=y, subject=np.arange(9))
    answer = convert(model, "--learn prototypes --calib {f}/few.npz")
    assert answer.returncode == 2
    assert "few.npz: has subject int64[9] for 40 windows; one for each" in answer.stderr
    asked = "--learn prototypes --classes 6 --calib {f}/wearers.npz"
    for words in (asked, asked + " --precision int8"):  # no class has no window: CLASSES of them are known
        answer = convert(model, words)
        assert answer.returncode in (0, 2), answer
        assert "Traceback" not in answer.stderr
    (model / "out.edge").unlink(missing_ok=True)


def test_a_layer_that_is_named_twice_learns_once() -> None:
    from edgekit.cli.learning import learning_of

    asked = learning_of("delta", plastic="readout, readout")
    assert asked is not None
    assert asked.plastic == ("readout",)


def test_the_budget_is_held_to_what_the_section_says() -> None:
    needed = learner().manifest["learning"]["ram_bytes"]

    def made(ram: int) -> Any:
        return edgekit.convert(module("mlp"), learn=dataclasses.replace(RULES["hlop"], ram=ram))

    made(needed)
    with pytest.raises(CapacityError, match=f"required {needed:,} bytes, available {needed - 1:,} bytes, excess 1 "):
        made(needed - 1)


def test_steps_of_a_model_without_states_are_windows_by_themselves() -> None:
    for asked in (Learning(window=4), Learning(trace=0.5), Learning(window=0)):
        with pytest.raises(UsageError):
            edgekit.convert(module("mlp"), learn=asked)


# --- what it costs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["mlp", "quiet"])
def test_costs_are_counted_and_printed(family: str, tmp_path: Path) -> None:
    made = learner(family, "hlop", "int8", "smartwatch")
    path, counts = made.save(tmp_path / "m.edge"), made.manifest["learning"]["instructions"]
    entries = {"step", "learn", "merge"} | ({"gather"} if family == "quiet" else set())
    assert set(counts) == entries
    window = 1 if family == "mlp" else WINDOW
    update = counts["learn"] + window * counts.get("gather", 0)
    shown = edgekit_main("inspect", path).stdout
    ratio = f"{update / (window * counts['step']):.2f} times the {window * counts['step']:,} of inference"
    assert f"an update: {update:,} instructions (emulated), {ratio}" in shown
    assert "time of an update: " in shown
    assert re.search(r"energy of an update: [\d.]+ µJ \(estimated, [\d.]+ .J to [\d.]+ .J\), .* instructions", shown)
    answer = edgekit_main("profile", path, "--on", "emulator")
    for entry in entries - {"step"}:
        assert f"{entry}, one call" in answer.stdout
    assert ("learning from 5 steps" in answer.stdout) == (family == "quiet")
    found = json.loads(edgekit_main("profile", path, "--on", "emulator", "--json").stdout)["counts"]
    assert found["update"] == found["border"]["learn"] + window * found["border"].get("gather", 0)


def test_profiling_counts_the_same_every_time_and_leaves_the_program_as_it_was() -> None:
    made = learner("quiet", "hlop", "int8", "smartwatch")
    stream = edgekit.load(made, engine="emulator").engine_stream
    one, two = (count_steps(made, stream=stream) for _ in range(2))
    assert one == two
    assert one.update == one.border["learn"] + WINDOW * one.border["gather"]
    fresh = edgekit.load(made, engine="reference")
    assert fresh.facts.layout.learned(stream.save()) == fresh.learned()


def test_a_program_that_does_not_learn_has_no_update() -> None:
    from converted import artifact

    found = count_steps(artifact("mlp", target="smartwatch"))
    assert (found.update, found.border) == (None, {})


def test_where_nothing_is_emulated_costs_are_said_to_be_unavailable(tmp_path: Path) -> None:
    path = learner("quiet", "delta").save(tmp_path / "m.edge")
    shown = edgekit_main("inspect", path).stdout
    assert f"learning: delta, plastic readout, from {WINDOW} steps at once" in shown
    assert "an update: instructions, time and energy unavailable, the target is not emulated" in shown


def test_entries_get_what_they_take() -> None:
    graph = learner("quiet", "hlop", "int8", "smartwatch").graph
    assert learning_entries(graph) == ["gather", "learn", "merge"]
    for entry in learning_entries(graph):
        shapes = [array.shape for array in learning_inputs(graph, entry)]
        assert shapes == [graph.tensors[name].shape for name in graph.entries[entry].inputs]
    assert learning_inputs(graph, "learn")[0].tolist() == [1, 0, 0, 0]


# --- what was learned, built in --------------------------------------------------------------------------------------


@pytest.mark.drawn(4)
@pytest.mark.parametrize(
    ("family", "precision", "target"),
    [
        ("mlp", "fp32", "host"),
        ("quiet", "int8", "smartwatch"),
        ("quiet", "fp32", "raspberrypi4"),
        ("mlp", "int8", "wear-os"),
    ],
)
def test_an_exported_artifact_goes_on_where_the_session_was(
    family: str, precision: str, target: str, tmp_path: Path
) -> None:
    session = edgekit.load(learner(family, "hlop", precision, target), engine="reference")
    x, y = examples(10, family=family)
    learn_course(session, Examples((x,), y), plan_course(Examples((x,), y), end_task=True))
    made = export_learned(session)
    manifest = made.manifest
    assert manifest["provenance"]["learned_from"] == session.artifact.sha256
    path = made.save(tmp_path / "m.edge")
    opened = edgekit.Artifact.open(path)  # which holds it to every rule of the format
    assert set(opened.file.members) == set(session.artifact.file.members)
    other = edgekit.load(opened, engine="reference")
    assert other.learned() == session.learned()
    np.testing.assert_array_equal(other.run(x), session.run(x))
    session.restore_learned(session.learned())
    for one in (session, other):
        learn_course(one, Examples((x,), y), plan_course(Examples((x,), y)))
    assert one.learned() == session.learned()
    answer = edgekit_main("inspect", path, "--selftest", *(["--ranges"] if precision == "int8" else []))
    assert answer.returncode == 0, answer
    again = export_learned(edgekit.load(made, engine="reference"))
    notes = [n for n in again.manifest["notes"] if "learned on a device" in n]
    assert len(notes) == 1


@pytest.mark.parametrize(("decision", "gain"), [("sum", 20.0), ("mean", 1.0), ("last", 1.0)])
def test_softmax_sees_what_the_program_decides_by(decision: str, gain: float) -> None:
    """Spikes are counted over the window: a network that was trained on counts must not learn from rates."""
    asked = Learning("hlop", subspace=(4,), iterations=1, window=20)
    made = edgekit.convert(module("l2mu"), name="counts", io={"decision": decision}, learn=asked)
    assert made.manifest["learning"]["gain"] == gain
    session = edgekit.load(made)
    before = unpack_states(made.graph, session.save_state())
    x = stream(20)
    y = session.learn(x, 1)
    after = unpack_states(made.graph, session.save_state())
    (name,) = (s.tensor for s in made.graph.states if s.tensor.endswith(".plastic"))
    logits = gain * np.asarray(y, np.float64).mean(axis=0)
    error = np.eye(len(logits))[1] - np.exp(logits) / np.exp(logits).sum()
    moved = after[name].astype(np.float64) - before[name]
    scale = moved[1].sum() / error[1]  # the rate times the sum of what the read-out was given: one for all rows
    assert abs(scale) > 1e-5
    np.testing.assert_allclose(moved.sum(axis=1), scale * error, atol=1e-6)
