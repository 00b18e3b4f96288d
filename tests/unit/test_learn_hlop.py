"""HLOP on a network of two plastic layers: what its entries do in floats and in integers; programs by themselves."""

from __future__ import annotations

import functools
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import edgekit
from edgekit.convert.options import Options
from edgekit.convert.programs import convert_graph
from edgekit.errors import DataError, UsageError
from edgekit.ir import INT16, GraphBuilder
from edgekit.learn import Learning, check_learning
from edgekit.learn.lateral import LateralSettings, orthogonal_rows
from edgekit.learn.ottt import TracedLif
from edgekit.learn.subspace import SubspaceLayer
from edgekit.reference import Interpreter, unpack_states
from edgekit.runtime import Session

SIZE, HIDDEN, CLASSES = 30, 16, 4
RULE: dict[str, Any] = {"rate": 0.05, "subspace": (6, 5), "subspace_rate": 0.005, "iterations": 2}


def samples(count: int, task: int) -> tuple[np.ndarray, np.ndarray]:
    """Points around a centre for each class, whose coordinates a task mixes in its own way."""
    rng = np.random.default_rng(0)
    centres, mixed = rng.normal(size=(CLASSES, SIZE)), [rng.permutation(SIZE) for _ in range(2)]
    rng = np.random.default_rng(100 + task)
    labels = rng.integers(0, CLASSES, count)
    x = centres[labels] + rng.normal(scale=0.5, size=(count, SIZE))
    return x[:, mixed[task]].astype(np.float32), labels


@functools.cache
def artifact(precision: str = "fp32") -> edgekit.Artifact:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    net = torch.nn.Sequential(torch.nn.Linear(SIZE, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, CLASSES))
    calib = np.concatenate([samples(100, task)[0] for task in range(2)])
    asked = Learning("hlop", ("0", "readout"), **RULE)
    example = torch.zeros(1, SIZE)
    return edgekit.convert(net, example, name="m", precision=precision, calib=calib, learn=asked)


def reals(session: Session) -> dict[str, np.ndarray]:
    """All states, in float64."""
    graph = session.artifact.graph
    found = unpack_states(graph, session.save_state())
    quants = {name: graph.tensors[name].quant for name in found}
    return {n: np.asarray(a if (q := quants[n]) is None else q.dequantize(a), np.float64) for n, a in found.items()}


class Equations:
    """The rule as MODELS.md states it, without its momentum, in float64."""

    def __init__(self, states: dict[str, np.ndarray], biases: list[np.ndarray]) -> None:
        self.w = [states["_0.plastic"], states["_2.plastic"]]
        self.h = [states["_0.lateral"], states["_2.lateral"]]
        self.biases, self.task = biases, 0

    def learn(self, x: np.ndarray, label: int) -> np.ndarray:
        blocks = np.repeat([0, 1], RULE["subspace"])
        hidden = np.maximum(self.w[0] @ x + self.biases[0], 0)
        y = self.w[1] @ hidden + self.biases[1]
        error = np.eye(CLASSES)[label] - np.exp(y) / np.exp(y).sum()
        deltas = [(hidden > 0) * (self.w[1].T @ error), error]
        for at, signal in enumerate((x, hidden)):
            old = self.h[at][blocks < self.task]
            self.w[at] = self.w[at] + RULE["rate"] * np.outer(deltas[at], signal - old.T @ (old @ signal))
            for _ in range(RULE["iterations"]):
                h, active = self.h[at], self.h[at][blocks <= self.task]
                change = np.outer(h @ signal, signal - active.T @ (active @ signal))
                self.h[at] = h + RULE["subspace_rate"] * change * (blocks == self.task)[:, None]
        return y


def biases(artifact: edgekit.Artifact) -> list[np.ndarray]:
    found = {t.shape: t.data for name, t in artifact.graph.consts.items() if name.endswith("bias")}
    return [np.asarray(found[n,], np.float64) for n in (HIDDEN, CLASSES)]


@pytest.mark.parametrize("engine", ["reference", "auto"])
def test_floats_do_what_the_equations_say(engine: str) -> None:
    session = edgekit.load(artifact(), engine=engine)
    exact = Equations(reals(session), biases(session.artifact))
    for task in range(2):
        for x, label in zip(*samples(150, task), strict=True):
            found = session.learn(x, int(label))
            np.testing.assert_allclose(found, exact.learn(x.astype(np.float64), int(label)), atol=1e-4)
        exact.task = session.merge()
        assert exact.task == task + 1
        states = reals(session)
        for at, layer in enumerate(("_0", "_2")):
            np.testing.assert_allclose(states[f"{layer}.plastic"], exact.w[at], atol=2e-5)
            np.testing.assert_allclose(states[f"{layer}.lateral"], exact.h[at], atol=2e-5)


def test_integers_stay_near_floats() -> None:
    """After 300 updates the weights differ from the floats' by a small part of how far they went."""
    found = []
    for precision in ("fp32", "int8"):
        session = edgekit.load(artifact(precision))
        first = reals(session)
        for task in range(2):
            for x, label in zip(*samples(150, task), strict=True):
                session.learn(x, int(label))
            session.merge()
        found.append((first, reals(session)))
    (first, floats), (_, integers) = found
    for name in ("_0.plastic", "_2.plastic", "_0.lateral", "_2.lateral"):
        went, apart = np.linalg.norm(floats[name] - first[name]), np.linalg.norm(integers[name] - floats[name])
        assert went > 0.1
        assert apart < 0.1 * went, name


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_ended_task_is_protected(precision: str) -> None:
    """A second task costs the first nothing that matters once it was ended, and much if it was not."""
    kept = {}
    for ends in (True, False):
        session = edgekit.load(artifact(precision))
        for task in range(2):
            for _ in range(3):
                for x, label in zip(*samples(300, task), strict=True):
                    session.learn(x, int(label))
            x, labels = samples(300, 0)
            right = float((session.run(x).argmax(axis=1) == labels).mean())
            kept[ends, task] = right
            if ends:
                session.merge()
    assert kept[True, 0] > 0.98
    assert kept[True, 1] > kept[True, 0] - 0.03
    assert kept[False, 1] < kept[False, 0] - 0.05


def test_integers_learn_from_random_weights() -> None:
    """Outputs of a network that starts at random grow: they have room, and none ends at the end of its range."""
    session = edgekit.load(artifact("int8"))
    before = np.abs(session.run(samples(100, 0)[0])).max()
    for _ in range(4):
        for x, label in zip(*samples(300, 0), strict=True):
            session.learn(x, int(label))
    x, labels = samples(300, 0)
    y = session.run(x)
    (name,) = session.artifact.graph.entries["step"].outputs
    quant = session.artifact.graph.tensors[name].quant
    assert quant is not None
    end = float(quant.scale[0]) * (2**15 - 1)
    assert (y.argmax(axis=1) == labels).mean() > 0.98
    assert before < np.abs(y).max() < 0.9 * end


# --- changes that are carried along a row ---


def test_changes_below_half_a_unit_are_not_lost() -> None:
    """A thousand changes, most below half a unit, go where they should; rounded one by one half of them is lost."""
    b = GraphBuilder("small")
    w = b.state("w", np.zeros((1, 40)), INT16, reset="keep")
    change = b.op("outer_add", w, b.input("a", (1,), INT16), b.input("b", (40,), INT16), shift=16)
    b.update(w, change)
    b.output(change)
    run, rng = Interpreter(b.build()), np.random.default_rng(0)
    state, wanted, rounded = run.initial_state(), np.zeros(40), np.zeros(40)
    wide = rng.integers(20, 200, 40).astype(np.int16)
    for _ in range(1000):
        tall = np.asarray([100 * rng.exponential()]).astype(np.int16)
        _, state = run.execute({"a": tall[None], "b": wide[None]}, state)
        exact = tall * wide.astype(float) / 2**16
        wanted, rounded = wanted + exact, rounded + np.floor(exact + 0.5)
    size = np.linalg.norm(wanted)
    assert np.linalg.norm(rounded - wanted) > 0.45 * size
    assert np.linalg.norm(state["w"][0, 0] - wanted) < 0.15 * size


def test_a_row_moves_by_what_it_should_to_half_a_unit() -> None:
    b = GraphBuilder("row")
    w, a, x = b.input("w", (3, 17), INT16), b.input("a", (2, 3), INT16), b.input("x", (2, 17), INT16)
    b.output(b.op("outer_add", w, a, x, shift=9))
    rng = np.random.default_rng(1)
    given = {
        n: rng.integers(-300, 300, (1, *s)).astype(np.int16) for n, s in (("w", (3, 17)), ("a", (2, 3)), ("x", (2, 17)))
    }
    outputs, _ = Interpreter(b.build()).execute(given, {})
    (got,) = outputs.values()
    exact = np.einsum("ra,rx->ax", given["a"][0].astype(float), given["x"][0].astype(float)) / 2**9
    moved = (got[0].astype(int) - given["w"][0]).cumsum(axis=1)
    assert np.abs(moved - exact.cumsum(axis=1)).max() <= 0.5


# --- programs by themselves ---


def lateral_program(rows: tuple[int, ...] = (2, 2)) -> SubspaceLayer:
    return SubspaceLayer(orthogonal_rows(rows, 6), np.ones((3, 6)), 4, LateralSettings(rows, clip=10.0))


def test_entries_are_called_by_name() -> None:
    done = convert_graph(lateral_program().graph(), Options())
    for engine in ("reference", "native"):
        session = edgekit.load(done.artifact, engine=engine)
        x = np.ones((4, 6), np.float32)
        y, explained = session.call("step", x)
        assert y.shape == (4, 4)
        assert explained.shape == (4, 6)
        assert session.call("merge").item() == 1.0
        state = session.save_state()
        with pytest.raises(UsageError, match=r"entry 'lern'.*it has step, learn, project, gradient, merge"):
            session.call("lern", x)
        with pytest.raises(DataError, match=r"takes 2 inputs \(gradient.x, gradient.delta\), got 1"):
            session.call("gradient", x)
        with pytest.raises(DataError, match=r"has shape \(4, 5\)"):
            session.call("learn", x[:, :5])
        with pytest.raises(DataError, match="not numbers"):
            session.call("learn", np.full((4, 6), "a"))
        with pytest.raises(DataError, match="NaN or Inf"):
            session.call("learn", np.where(x == 1, np.nan, x))
        assert session.save_state() == state


def test_entries_of_integers_take_what_they_store() -> None:
    session = edgekit.load(artifact("int8"))
    session.step(samples(1, 0)[0][0])
    with pytest.raises(DataError):
        session.call("step", np.full(SIZE, 40000))
    assert session.call("merge").dtype == np.int16


def test_a_program_by_itself_is_in_floats_and_learns_by_its_own_entries() -> None:
    graph = lateral_program().graph()
    with pytest.raises(UsageError, match="is a float program"):
        convert_graph(graph, Options(precision="int8", calib="synthetic"))
    with pytest.raises(UsageError, match="learns by its own entries"):
        convert_graph(graph, Options(learn=Learning()))
    with pytest.raises(UsageError, match="precision"):
        convert_graph(graph, Options(precision="none"))
    done = convert_graph(TracedLif(2, 3).graph("linear"), Options())
    assert done.artifact.graph.name == "linear_model"  # a kernel has the other name
    assert done.artifact.manifest["verification"]["replay_steps"] > 0


@pytest.mark.parametrize("numbers", [{"batch": 0}, {"size": -1}, {"tau": 0.5}, {"tau": np.inf}, {"threshold": 0.0}])
def test_neurons_that_cannot_be_are_refused(numbers: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"cannot have {next(iter(numbers))}"):
        TracedLif(**{"batch": 2, "size": 3, **numbers}).graph()


def test_rows_of_a_task_are_orthonormal_among_themselves() -> None:
    found = orthogonal_rows((3, 5), 8, seed=1)
    for first, last in pairwise((0, 3, 8)):
        np.testing.assert_allclose(found[first:last] @ found[first:last].T, np.eye(last - first), atol=1e-6)


@pytest.mark.drawn(2)
@pytest.mark.parametrize("rule", ["delta", "hlop"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_no_weight_moves_further_than_its_budget(rule, precision):
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)
    network = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    rng = np.random.default_rng(3)
    x = rng.normal(size=(80, 6)).astype(np.float32)
    blobs = {}
    for budget in (None, 0.02):
        more = {"subspace": (3,), "iterations": 1} if rule == "hlop" else {}
        asked = Learning(rule, rate=0.2, budget=budget, **more)
        calib = None if precision == "fp32" else x[:, None]
        made = edgekit.convert(network, x[:1], name="near", precision=precision, calib=calib, learn=asked)
        moved = {}
        for engine in ("native", "reference"):
            session = edgekit.load(made, engine=engine)
            for at in range(80):
                session.learn(x[at], at % 3)
            moved[engine] = session.learned()
            states = unpack_states(made.graph, session.save_state())
        assert precision == "fp32" or moved["native"] == moved["reference"]
        (weights,) = (s for s in made.graph.states if s.reset == "keep" and s.tensor.endswith(".plastic"))
        quant = made.graph.tensors[weights.tensor].quant
        unit = 1.0 if quant is None else float(quant.scale[0])
        blobs[budget] = np.abs(states[weights.tensor].astype(np.float64) - weights.init).max() * unit
    assert blobs[None] > 0.1
    slack = 1e-6 if precision == "fp32" else unit  # integers move by whole units
    assert 0.02 - slack < blobs[0.02] < 0.02 + 1e-6


def test_a_budget_must_be_positive():
    with pytest.raises(UsageError, match="--synapse-budget"):
        check_learning(Learning("delta", budget=0.0))
