"""Steps that hang on a rounding: what counts as close, and which outcomes a step may then have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from converted import edgekit_main, module
from graph_samples import UP, neuron

import edgekit
from edgekit.backends import onnx as backend
from edgekit.backends.onnx import check as checks
from edgekit.backends.onnx import check_onnx, export_onnx
from edgekit.errors import ReplayError
from edgekit.ir import Graph, GraphBuilder
from edgekit.reference import Interpreter, near_ties, outcomes


def step(graph: Graph, *x: float) -> tuple[dict, dict]:
    return {"x": np.array([x], np.float32)}, Interpreter(graph).initial_state()


def test_a_step_far_from_any_tie_has_one_outcome():
    graph = neuron()
    assert near_ties(graph, *step(graph, 0.5, 2.0, 0.0)) == []
    assert list(outcomes(graph, *step(graph, 0.5, 2.0, 0.0))) == []


def test_a_membrane_next_to_its_threshold_may_spike_or_not():
    graph = neuron()
    (tie,) = near_ties(graph, *step(graph, 0.5, UP, 0.0))
    assert (tie.op, tie.at, tie.other) == (1, 1, 0.0)
    reference, _ = Interpreter(graph).execute(*step(graph, 0.5, UP, 0.0))
    ((outputs, states),) = outcomes(graph, *step(graph, 0.5, UP, 0.0))
    (name,) = outputs
    assert reference[name].tolist() == [[False, True, False]]
    assert outputs[name].tolist() == [[False, False, False]]
    np.testing.assert_allclose(states["u"], [[0.5, UP, 0.0]], atol=1e-6)
    assert states["n"].tolist() == [[0, 0, 0]]


def spikes_of(graph: Graph, inputs: dict, state: dict) -> list[list[bool]]:
    """The spikes of every other outcome of a step."""
    return [next(iter(outputs.values()))[0].tolist() for outputs, _ in outcomes(graph, inputs, state)]


def test_two_ties_have_three_other_outcomes_and_many_are_tried_one_by_one_and_together():
    graph = neuron(12)
    two = spikes_of(graph, *step(graph, UP, UP, *[0.0] * 10))
    assert [way[:2] for way in two] == [[True, False], [False, True], [False, False]]
    many = spikes_of(graph, *step(graph, *[UP] * 12))
    assert [sum(way) for way in many] == [*[11] * 12, 0]


@pytest.mark.parametrize(("far", "ties"), [(0.9e-5, 1), (1.1e-5, 0)])
def test_the_margin_is_one_in_a_hundred_thousand(far, ties):
    graph = neuron(1)
    assert len(near_ties(graph, *step(graph, 1 - far))) == ties


def test_infinite_and_undefined_values_are_no_ties():
    b = GraphBuilder("special")
    y = b.op("log", b.input("x", (2,)))
    b.output(b.op("gt", y, b.op("mul", y, b.const("two", 2.0))), b.op("floor", y))
    graph = b.build()
    assert near_ties(graph, {"x": np.array([[0.0, -1.0]], np.float32)}, {}) == []


def test_silence_against_a_threshold_of_zero_is_no_tie():
    b = GraphBuilder("zero")
    x = b.input("x", (3,))
    b.output(b.op("gt", x, b.const("c", 0.0)))
    graph = b.build()
    assert len(near_ties(graph, {"x": np.array([[0.0, 1e-7, 1.0]], np.float32)}, {})) == 1


@pytest.mark.parametrize(
    ("kind", "x", "both"),
    [
        ("floor", 2 - 1e-6, {1.0, 2.0}),
        ("floor", 2 + 1e-6, {1.0, 2.0}),
        ("round", 1.5 - 1e-6, {1.0, 2.0}),
        ("round", -0.5 + 1e-6, {0.0, -1.0}),
        ("sign", -1e-7, {-1.0, 1.0}),
    ],
)
def test_jumps_may_fall_either_way(kind, x, both):
    b = GraphBuilder("jump")
    b.output(b.op(kind, b.input("x", (1,))))
    graph = b.build()
    given = {"x": np.array([[x]], np.float32)}
    reference, _ = Interpreter(graph).execute(given, {})
    ((outputs, _),) = outcomes(graph, given, {})
    assert {float(value[0, 0]) for found in (reference, outputs) for value in found.values()} == both
    for far in (0.3, 4.0, 7.25):
        assert near_ties(graph, {"x": np.array([[far]], np.float32)}, {}) == []


def test_a_quotient_is_as_close_as_what_was_divided():
    """x / s next to a half: what counts is how far x is from where it would be rounded otherwise."""
    b = GraphBuilder("grid")
    b.output(b.op("round", b.op("div", b.input("x", (1,)), b.const("s", 0.01))))
    graph = b.build()
    assert len(near_ties(graph, {"x": np.array([[0.015 + 5e-6]], np.float32)}, {})) == 1
    assert near_ties(graph, {"x": np.array([[0.015 + 2e-5]], np.float32)}, {}) == []


# --- how a check uses them ---


class Otherwise:
    """ONNX Runtime whose first stream spikes otherwise at one step."""

    def __init__(self, engine, element: int, at: int) -> None:
        self.engine, self.element, self.at, self.steps = engine, element, at, 0
        self.document, self.form, self.initial_state, self.real = (
            engine.document,
            "step",
            engine.initial_state,
            engine.real,
        )

    def run(self, values):
        got = {name: value.copy() for name, value in self.engine.run(values).items()}
        if self.steps == self.at:
            fired = next(name for name in got if not name.endswith(".next"))
            change = 1 - 2 * got[fired][0, self.element]
            got[fired][0, self.element] += change
            got["u.next"][0, self.element] -= change
            got["n.next"][0, self.element] += change
        self.steps += 1
        return got


def checked(monkeypatch, x: np.ndarray, element: int, at: int, engine: type[Otherwise] = Otherwise):
    graph, original = neuron(), checks.OnnxRuntime
    monkeypatch.setattr(checks, "OnnxRuntime", lambda data: engine(original(data), element, at))
    return check_onnx(export_onnx(graph), graph, inputs={"x": x})


class Drifting(Otherwise):
    """ONNX Runtime whose membranes come out a little too high."""

    def run(self, values):
        got = {name: value.copy() for name, value in self.engine.run(values).items()}
        got["u.next"] += np.float32(2e-5)
        return got


def test_a_state_that_float32_could_hold_better_is_not_excused(monkeypatch):
    with pytest.raises(ReplayError, match=r"'u.next' differs from the reference at step 0"):
        checked(monkeypatch, np.full((2, 6, 3), 0.26, np.float32), 0, 0, Drifting)


@pytest.mark.parametrize(
    ("name", "error", "rounded", "fits"),
    [
        ("u.next", 5e-5, 7e-6, True),
        ("u.next", 5e-5, 6e-6, False),  # more than eight times
        ("u.next", 1.1e-4, 1.0, False),  # too far, whatever float32 does
        ("y", 1.1e-5, 1.0, False),  # an output
        ("y", 1e-5, 0.0, True),
    ],
)
def test_how_far_a_state_may_be_off_that_float32_holds_no_better(name, error, rounded, fits):
    assert checks._fits({name: error}, lambda: {"u.next": rounded}) == fits


def test_a_spike_next_to_its_threshold_is_excused_and_counted_and_what_follows_is_still_compared(monkeypatch):
    x = np.full((2, 6, 3), 0.26, np.float32)
    x[0, 0] = [0.1, UP, 0.1]
    assert checked(monkeypatch, x, element=1, at=0).excused == 1


def test_a_spike_beside_the_one_that_is_close_is_not_excused(monkeypatch):
    x = np.full((2, 6, 3), 0.26, np.float32)
    x[0, 0] = [0.1, UP, 0.1]
    with pytest.raises(ReplayError, match="at step 0"):
        checked(monkeypatch, x, element=2, at=0)


def test_the_same_spike_a_step_later_is_not_excused(monkeypatch):
    x = np.full((2, 6, 3), 0.26, np.float32)
    x[0, 0] = [0.1, UP, 0.1]
    with pytest.raises(ReplayError, match="at step 1"):
        checked(monkeypatch, x, element=1, at=1)


def test_a_sequence_follows_both_ways_of_a_hidden_tie():
    """The membrane is seen at the end alone: outputs that a tie changed later on lead back to it."""
    graph = neuron()
    x = np.zeros((1, 8, 3), np.float32)
    x[0, 0] = [UP, 0.3, 0.2]
    x[0, 4] = [0.6, 0.3, 0.2]
    data = export_onnx(graph, form="sequence")
    assert check_onnx(data, graph, inputs={"x": x}).excused == 0
    seen = checks._observed(checks.OnnxRuntime(data), {"x": x})
    seen = [{name: value[0].copy() for name, value in at.items()} for at in seen]
    (fired,) = (name for name in seen[0])
    seen[0][fired][0], seen[4][fired][0] = 0.0, 1.0  # it did not fire at once but with the next push
    seen[-1]["u.next"][0] = np.float32(0.6) + (UP - 1)
    path = checks._followed(graph, {"x": x}, seen)
    assert path.turns == 4  # it stayed quiet at four steps where the reference does not
    seen[4][fired][0] = 0.0
    with pytest.raises(ReplayError, match="at step 4"):
        checks._followed(graph, {"x": x}, seen)


def test_convert_prints_both_exceptions(tmp_path: Path, monkeypatch):
    pytest.importorskip("torch")
    edgekit.save(module("mlp"), tmp_path / "net.pt")
    check = backend.check_onnx
    monkeypatch.setattr(backend, "check_onnx", lambda *a, **k: replace(check(*a, **k), excused=2, amplified=3))
    monkeypatch.chdir(tmp_path)
    shown = " ".join(edgekit_main("convert", "net.pt", "--format", "onnx").stdout.split())
    assert "steps, 2 near a tie, 3 with a state off by more than 1e-5" in shown
