"""Rules beside delta and HLOP: subspaces and components, rewards and errors with traces, and drift."""

from __future__ import annotations

import functools
import os

import numpy as np
import pytest

import edgekit
from edgekit.errors import DataError, UsageError
from edgekit.learn import Learning, check_learning
from edgekit.learn.drift import DriftDetector
from edgekit.reference import unpack_states

SIZE, CLASSES, WINDOW = 8, 4, 5
DIRECTIONS = np.linalg.qr(np.random.default_rng(7).normal(size=(SIZE, SIZE)))[0]
SPREAD = np.array([1.0, 0.7, 0.5, *[0.1] * (SIZE - 3)])
M33 = "smartwatch-m33"


def signal(count, seed=0, order=slice(None)):
    """Points that spread in three directions more than in all others."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, SIZE)) * SPREAD @ DIRECTIONS.T[order]).astype(np.float32)


SWEEPS = "EDGEKIT_SWEEPS" in os.environ  # make test-all takes every rule of both families
RULES_ON_MACHINES = [("oja", "lmu"), ("sanger", "mlp"), *([("oja", "mlp"), ("sanger", "lmu")] if SWEEPS else [])]
BY_ERROR = {"modulation": "error"}
THREE_FACTORS_ON_MACHINES = [({}, "mlp"), ({"eligibility": 0.5}, "lmu"), (BY_ERROR | {"eligibility": 0.5}, "lmu")] + (
    [
        ({}, "lmu"),
        ({"eligibility": 0.5}, "mlp"),
        (BY_ERROR, "mlp"),
        (BY_ERROR, "lmu"),
        (BY_ERROR | {"eligibility": 0.5}, "mlp"),
    ]
    if SWEEPS
    else []
)


@functools.cache
def network():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    net = torch.nn.Sequential(torch.nn.Linear(SIZE, 24), torch.nn.Tanh(), torch.nn.Linear(24, CLASSES))
    with torch.no_grad():
        net[0].weight *= 2
    return net


@functools.cache
def recurrent():
    torch = pytest.importorskip("torch")
    from edgekit.models import LMU

    torch.manual_seed(1)
    return LMU(inputs=SIZE, hidden=12, memory=2, order=3, theta=float(WINDOW), outputs=CLASSES)


@functools.cache
def artifact(rule, precision="fp32", target="host", family="mlp", **numbers):
    torch = pytest.importorskip("torch")
    calib = signal(200, 1) if family == "mlp" else signal(200 * WINDOW, 1).reshape(200, WINDOW, SIZE)
    model = network() if family == "mlp" else recurrent()
    asked = Learning(rule, window=1 if family == "mlp" else WINDOW, **numbers)
    example = torch.zeros(1, SIZE) if family == "mlp" else None
    return edgekit.convert(model, example, name="m", target=target, precision=precision, calib=calib, learn=asked)


def engines(rule, **numbers):
    """The same integer program in C here, in numpy, and on an emulated Cortex-M33."""
    here, there = artifact(rule, "int8", **numbers), artifact(rule, "int8", M33, **numbers)
    return [edgekit.load(here), edgekit.load(here, engine="reference"), edgekit.load(there, engine="emulator")]


def learned(session):
    """What was learned, in reals."""
    graph = session.artifact.graph
    found = unpack_states(graph, session.save_state())
    quants = {name: graph.tensors[name].quant for name in found}
    return {n: a if quants[n] is None else quants[n].dequantize(a) for n, a in found.items()}


def bank(session):
    return next(a for name, a in learned(session).items() if "lateral" in name).astype(np.float64)


# --- Oja and Sanger ---


@pytest.mark.parametrize("rule", ["oja", "sanger"])
def test_floats_do_what_the_equations_say(rule):
    """H and novelty over 200 signals, two iterations each, against the equations in float64."""
    session = edgekit.load(artifact(rule, plastic=("0",), subspace=(3,), subspace_rate=0.05, iterations=2))
    h = bank(session)
    for x in signal(200).astype(np.float64):
        y = h @ x
        novelty = np.sum((x - h.T @ y) ** 2) / np.sum(x**2)
        for _ in range(2):
            y = h @ x
            explained = np.outer(y, y) if rule == "oja" else np.tril(np.outer(y, y))
            h = h + 0.05 * (np.outer(y, x) - explained @ h)
        session.learn(x.astype(np.float32))
        assert session.told[0].item() == pytest.approx(novelty, rel=1e-4)
    np.testing.assert_allclose(bank(session), h, atol=1e-5)


@pytest.mark.drawn(2)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("rule", ["oja", "sanger"])
def test_the_principal_subspace_is_found_and_sanger_finds_its_components(rule, precision):
    session = edgekit.load(artifact(rule, precision, plastic=("0",), subspace=(3,), subspace_rate=0.05, iterations=1))
    told = []
    for x in signal(3000):
        session.learn(x)
        told.append(session.told[0].item())
    h = bank(session)
    inside = np.linalg.norm(h @ DIRECTIONS[:, :3], axis=1) / np.linalg.norm(h, axis=1)
    assert inside.min() > 0.99
    np.testing.assert_allclose(h @ h.T, np.eye(3), atol=0.2)
    along = np.abs(h @ DIRECTIONS[:, :3]) / np.linalg.norm(h, axis=1)[:, None]
    if rule == "sanger":
        assert np.diagonal(along).min() > 0.95
    else:
        assert np.diagonal(along).min() < 0.9, "a case in which subspaces have to be told from components"
    assert np.mean(told[-300:]) < 0.4 * np.mean(told[:30])


@pytest.mark.parametrize(("rule", "family"), RULES_ON_MACHINES)
def test_subspaces_in_integers_are_the_same_bytes_on_every_machine(rule, family):
    numbers = {"plastic": ("readout",), "subspace": (4,), "subspace_rate": 0.02, "iterations": 2, "family": family}
    found = []
    x = signal(300, 3) * 1.5 if family == "mlp" else signal(60 * WINDOW, 3).reshape(60, WINDOW, SIZE)
    for session in engines(rule, **numbers):
        told = []
        for part in x:
            session.learn(part)
            told.append(session.told[0].item())
        found.append((session.learned(), told))
    assert found[0] == found[1] == found[2]
    exact = edgekit.load(artifact(rule, **numbers))
    reals = []
    for part in x:
        exact.learn(part)
        reals.append(exact.told[0].item())
    assert np.abs(np.subtract(found[0][1], reals)).mean() < 0.01


def test_novelty_of_integers_is_that_of_reals_while_a_signal_has_units():
    """|rest|² / |x|² from an integer program's own x, over two decades of |x|² and for silence."""
    session = edgekit.load(artifact("oja", "int8", plastic=("0",), subspace=(3,), subspace_rate=1e-6, iterations=1))
    h = bank(session)
    for size, near in ((1.0, 0.002), (0.1, 0.02)):
        for x in signal(20, 5) * size:
            session.learn(x.astype(np.float32))
            held = learned(session)["given.x"].astype(np.float64)
            rest = held - h.T @ (h @ held)
            assert session.told[0].item() == pytest.approx(np.sum(rest**2) / np.sum(held**2), abs=near)
    session.learn(np.zeros(SIZE, np.float32))
    assert session.told[0].item() == 0


# --- three factors ---


def bandit(session, *, seed=0, steps=2500, delay=0, explore=True):
    """Rewards for choices of a context's best arm; returns the share of right choices over the last 400 of them."""
    rng = np.random.default_rng(seed)
    arms = np.random.default_rng(99).normal(size=(CLASSES, SIZE))
    x = rng.normal(size=(steps, SIZE)).astype(np.float32)
    best, right, late = (x @ arms.T).argmax(1), [], [0.0] * delay
    for at in range(steps):

        def reward(y, at=at):
            p = np.exp(2 * (y - y.max()))
            choice = int(rng.choice(CLASSES, p=p / p.sum())) if explore else int(y.argmax())
            right.append(choice == best[at])
            late.append(1.0 if right[-1] else -1.0)
            return (late.pop(0), choice) if explore else late.pop(0)

        session.learn(x[at], reward)
    return np.mean(right[-400:])


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("explore", [True, False])
def test_a_contextual_bandit_is_learned_from_rewards_alone(precision, explore):
    session = edgekit.load(artifact("three-factor", precision, rate=0.1, gain=2.0))
    assert bandit(session, explore=explore) > 0.6  # 0.25 by chance


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_rewards_that_come_late_need_eligibility(precision):
    traced = edgekit.load(artifact("three-factor", precision, rate=0.1, gain=2.0, eligibility=0.6))
    plain = edgekit.load(artifact("three-factor", precision, rate=0.1, gain=2.0))
    assert bandit(traced, delay=1) > 0.5
    assert bandit(plain, delay=1) < 0.35


@pytest.mark.parametrize("eligibility", [0.0, 0.5])
def test_floats_learn_from_rewards_as_the_equations_say(eligibility):
    numbers = {"rate": 0.1, "gain": 2.0, "eligibility": eligibility, "baseline": 0.2}
    session = edgekit.load(artifact("three-factor", **numbers))
    first, second = network()[0], network()[2]
    w, b = second.weight.detach().numpy().astype(np.float64), second.bias.detach().numpy().astype(np.float64)
    v, c = first.weight.detach().numpy().astype(np.float64), first.bias.detach().numpy().astype(np.float64)
    expected, trace, recent = 0.0, np.zeros_like(w), np.zeros_like(b)
    rng = np.random.default_rng(0)
    for at, x in enumerate(signal(100)):
        hidden = np.tanh(v @ x + c)
        y = w @ hidden + b
        r, choice = rng.uniform(-1, 1), rng.integers(CLASSES) if at % 2 else int(y.argmax())
        got = session.learn(x, lambda _, r=r, c=int(choice), at=at: (r, c) if at % 2 else r)
        np.testing.assert_allclose(got, y, atol=1e-4)
        p = np.exp(2 * (y - y.max()))
        post = np.eye(CLASSES)[choice] - p / p.sum()
        trace = eligibility * trace + np.outer(post, hidden)
        recent = eligibility * recent + post
        w, b = w + 0.1 * (r - expected) * trace, b + 0.1 * (r - expected) * recent
        expected += 0.2 * (r - expected)
    held = learned(session)
    np.testing.assert_allclose(held["reward.mean"], expected, atol=1e-5)
    np.testing.assert_allclose(next(a for a in held.values() if a.shape == w.shape), w, atol=1e-4)


@pytest.mark.parametrize("eligibility", [0.0, 0.5])
def test_floats_learn_from_errors_as_the_equations_say(eligibility):
    session = edgekit.load(artifact("three-factor", rate=0.1, modulation="error", eligibility=eligibility))
    first, second = network()[0], network()[2]
    w, b = second.weight.detach().numpy().astype(np.float64), second.bias.detach().numpy().astype(np.float64)
    v, c = first.weight.detach().numpy().astype(np.float64), first.bias.detach().numpy().astype(np.float64)
    trace = np.zeros(w.shape[1])
    for at, x in enumerate(signal(100)):
        hidden = np.tanh(v @ x + c)
        y = w @ hidden + b
        session.learn(x, at % CLASSES)
        p = np.exp(y - y.max())
        error = np.eye(CLASSES)[at % CLASSES] - p / p.sum()
        trace = eligibility * trace + hidden
        w, b = w + 0.1 * np.outer(error, trace), b + 0.1 * error
    np.testing.assert_allclose(next(a for a in learned(session).values() if a.shape == w.shape), w, atol=1e-4)


@pytest.mark.drawn(2)
@pytest.mark.parametrize(("numbers", "family"), THREE_FACTORS_ON_MACHINES, ids=str)
def test_three_factors_in_integers_are_the_same_bytes_on_every_machine(numbers, family):
    numbers = {"rate": 0.1, "gain": 2.0, **numbers, "family": family}
    x = signal(300, 3) * 1.5 if family == "mlp" else signal(60 * WINDOW, 3).reshape(60, WINDOW, SIZE)
    found = []
    for session in engines("three-factor", **numbers):
        rng, outputs = np.random.default_rng(0), []
        for at, part in enumerate(x):
            if numbers.get("modulation") == "error":
                outputs.append(session.learn(part, at % CLASSES))
                continue
            r, choice = float(rng.uniform(-1, 1)), int(rng.integers(CLASSES))
            outputs.append(session.learn(part, lambda _, r=r, c=choice, at=at: (r, c) if at % 3 else r))
        found.append((session.learned(), np.concatenate(outputs).tobytes()))
    assert found[0] == found[1] == found[2]
    assert found[0][0] != edgekit.load(artifact("three-factor", "int8", **numbers)).learned()


def test_a_reward_without_a_choice_is_for_the_largest_output():
    first, second = (edgekit.load(artifact("three-factor", rate=0.1)) for _ in range(2))
    for x in signal(20):
        first.learn(x, 0.5)
        second.learn(x, lambda y: (0.5, int(y.argmax())))
    assert first.learned() == second.learned()


# --- drift ---


def test_a_drift_is_found_when_the_signal_moves_to_other_directions_and_not_before():
    session = edgekit.load(artifact("oja", plastic=("0",), subspace=(3,), subspace_rate=0.05, iterations=1))
    other = np.roll(np.arange(SIZE), 3)
    detector, found = DriftDetector(), []
    for x in np.concatenate([signal(600), signal(300, 9, other)]):
        session.learn(x)
        found.append(detector.see(session.told[0].item()))
    hits = np.flatnonzero(found)
    assert len(hits), "nothing was found"
    assert 600 <= hits[0] < 640


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_hlop_tells_the_novelty_of_a_window_if_asked(precision):
    numbers = {"plastic": ("0", "readout"), "subspace": (3, 3), "subspace_rate": 0.05, "rate": 0.01}
    quiet, telling = (edgekit.load(artifact("hlop", precision, **numbers, **d)) for d in ({}, {"detect": True}))
    before = []
    for at, x in enumerate(signal(400)):
        quiet.learn(x, at % CLASSES)
        telling.learn(x, at % CLASSES)
        before.append(telling.told[1].item())
    assert len(quiet.told) == 1
    assert quiet.learned() == telling.learned()
    assert 0 < np.mean(before[-50:]) < 0.8 * np.mean(before[:20])


def test_noise_is_no_drift_and_one_burst_is_none():
    rng, detector = np.random.default_rng(0), DriftDetector(threshold=5.0)
    assert not any(detector.see(v) for v in rng.uniform(0.1, 0.3, 2000))
    assert not any(detector.see(v) for v in (5.0, 5.0, 0.2, 5.0, 5.0, 0.2))
    assert [detector.see(v) for v in (5.0, 5.0, 5.0, 5.0)] == [False, False, True, False]


def test_a_drift_detector_takes_numbers_that_make_sense():
    for numbers in ({"threshold": 0}, {"patience": 0}, {"memory": 1.0}, {"settle": 0}, {"least": 0.0}):
        with pytest.raises(UsageError, match="drift detector"):
            DriftDetector(**numbers)
    for value in (np.nan, -1.0, np.inf):
        with pytest.raises(DataError, match="novelty"):
            DriftDetector().see(value)


# --- refusals ---


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (Learning("oja"), "needs rows"),
        (Learning("sanger", subspace=(4, 4)), "is for 2 tasks"),
        (Learning("oja", subspace=(4,), rate=0.5), "--learning-rate: is not used"),
        (Learning("three-factor", plastic=("0", "readout")), "--plastic"),
        (Learning("three-factor", modulation="praise"), "--modulation"),
        (Learning("three-factor", eligibility=1.0), "--eligibility"),
        (Learning("three-factor", baseline=-0.1), "--baseline"),
        (Learning("delta", detect=True), "--detect: is not used"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(asked, says):
    with pytest.raises(UsageError, match=says):
        check_learning(asked)


def test_what_a_rule_does_not_take_or_give_is_refused():
    session = edgekit.load(artifact("oja", plastic=("0",), subspace=(3,), subspace_rate=0.05, iterations=1))
    with pytest.raises(UsageError, match="nothing was learned yet"):
        session.told  # noqa: B018
    with pytest.raises(DataError, match="takes 1 arguments"):
        session.learn(signal(1)[0], 2)
    session = edgekit.load(artifact("three-factor", rate=0.1))
    with pytest.raises(DataError, match="NaN"):
        session.learn(signal(1)[0], float("nan"))
    with pytest.raises(DataError, match="outside -1 to 1"):
        session.learn(signal(1)[0], lambda _: 1.5)
    session.learn(signal(1)[0], -1)
