"""Associative memories: equations, capacity, files, programs in floats and integers, and storage on the device."""

from __future__ import annotations

import functools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import edgekit  # noqa: E402
from edgekit import models  # noqa: E402
from edgekit.errors import ModelError, UnsupportedError  # noqa: E402
from edgekit.models import Memory  # noqa: E402
from edgekit.reference import unpack_states  # noqa: E402

BITS, FLIPPED, STEPS, M33 = 64, 8, 4, "smartwatch-m33"
POWERS = [2, 3, 5, None]


def patterns(count, seed=0, bits=BITS):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.where(rng.random((count, bits)) < 0.5, -1.0, 1.0).astype(np.float32))


def damaged(rows, flipped=FLIPPED, seed=1):
    where = np.random.default_rng(seed).random(rows.shape).argsort(axis=1) < flipped
    return torch.where(torch.from_numpy(where), -rows, rows)


def memory(rows, power=None, capacity=None, **config):
    made = Memory(inputs=rows.shape[1], capacity=capacity or len(rows), power=power, **config)
    if len(rows):
        made.store(rows)
    return made.eval()


def completed(got, rows):
    """The share of patterns that came back whole."""
    return float(np.mean((np.asarray(got) == rows.numpy()).all(axis=1)))


def cues_of(rows):
    return damaged(rows)[:, None].expand(-1, STEPS, -1).numpy()


# --- the family ---


@pytest.mark.parametrize("power", POWERS)
def test_a_step_is_what_the_equations_say(power):
    rows = patterns(7)
    model = memory(rows, power, capacity=9)
    xi, s = model.patterns.double().numpy(), None
    cue = damaged(rows).double().numpy()
    values = model.trace(torch.from_numpy(cue).float()[:, None].expand(-1, 3, -1))
    for t in range(3):
        u = cue if s is None else s
        d = u @ xi.T
        if power is None:
            f = np.exp(d - d.max(axis=1, keepdims=True))
        else:
            f = (np.maximum(d, 0) if power > 2 else d) ** (power - 1) / BITS ** (power - 1)
        v = f @ xi
        s = np.where(np.abs(v) < 1e-9, 1.0, np.sign(v))
        np.testing.assert_allclose(values["f"][:, t].numpy(), f, rtol=1e-5, atol=1e-9)
        np.testing.assert_array_equal(values["y"][:, t].numpy(), s)


@pytest.mark.parametrize("power", [3, 4, None])
def test_the_energy_never_rises(power):
    model = memory(patterns(40), power)
    d = model.trace(torch.from_numpy(cues_of(patterns(30, 5))))["d"].double()
    positive = torch.relu(d / BITS)
    energy = -(torch.logsumexp(d, dim=-1) if power is None else (positive**power).sum(dim=-1))
    assert bool((energy.diff(dim=1) <= 1e-9).all())


def test_more_separation_holds_more_patterns():
    """Of 64 bits, 8 of them turned: what comes back whole in four steps; the mean of three draws."""
    shares = {}
    for count in (4, 40, 160, 1000):
        for power in (2, 3, None):
            found = []
            for seed in range(3):
                rows = patterns(count, seed)
                found.append(completed(memory(rows, power).recall(damaged(rows), STEPS), rows))
            shares[power, count] = np.mean(found)
    least = {(2, 4): 0.9, (3, 40): 0.95, (3, 160): 0.9, (None, 1000): 0.999}
    assert {key: bool(shares[key] >= share) for key, share in least.items()} == dict.fromkeys(least, True), shares
    assert max(shares[2, 40], shares[3, 1000]) <= 0.1, "more than these hold"


def test_a_cue_counts_in_the_first_step_alone():
    rows = patterns(5)
    model, noise = memory(rows), patterns(4, 9)
    x = torch.cat([damaged(rows[:1]), noise])[None]
    assert torch.equal(model(x)[0, -1], rows[0])


def test_unknown_bits_of_a_cue_are_zero_and_are_filled_in():
    rows = patterns(10)
    cue = rows.clone()
    cue[:, ::2] = 0
    assert completed(memory(rows).recall(cue), rows) == 1


def test_patterns_go_into_free_rows_until_there_are_none():
    model = Memory(inputs=BITS, capacity=3)
    rows = patterns(3)
    model.store(rows[0])
    model.store(rows[1:])
    assert torch.equal(model.patterns, rows)
    assert model.stored == 3
    with pytest.raises(ModelError, match="room for 0"):
        model.store(rows[:1])
    assert int(model.decide(rows[1][None, None])) == 1


@pytest.mark.parametrize("wrong", [torch.zeros(BITS), torch.ones(BITS - 1), torch.full((2, BITS), 0.5)])
def test_what_is_no_pattern_is_refused(wrong):
    with pytest.raises(ModelError, match="pattern"):
        Memory(inputs=BITS, capacity=3).store(wrong)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"inputs": 8}, "capacity"),
        ({"inputs": 8, "capacity": 0}, "capacity"),
        ({"inputs": 8, "capacity": 2, "power": 1}, "power"),
        ({"inputs": 8, "capacity": 2, "power": 3, "sharpness": 2.0}, "sharpness"),
        ({"inputs": 8, "capacity": 2, "sharpness": 0.0}, "sharpness"),
        ({"inputs": 8, "capacity": 2, "beta": 1.0}, "beta"),
    ],
)
def test_wrong_configurations_are_refused(config, says):
    with pytest.raises(ModelError, match=says):
        models.build("memory", config)


def test_a_memory_is_saved_and_loaded(tmp_path):
    model = memory(patterns(4), 3, capacity=6)
    models.save(model, tmp_path / "m.pt")
    again = models.load(tmp_path / "m.pt")
    assert again.config == model.config
    assert torch.equal(again.patterns, model.patterns)


def test_a_bare_matrix_of_patterns_is_a_memory():
    rows = patterns(4)
    made, assumed = models.from_checkpoint({"net.patterns": rows})
    assert made.config == {"inputs": BITS, "capacity": 4, "power": None, "sharpness": 1.0}
    assert assumed["power"] is None
    made, assumed = models.from_checkpoint({"patterns": rows}, {"power": 3})
    assert made.config["power"] == 3
    assert assumed == {}
    with pytest.raises(ModelError, match="not of -1 and 1"):
        models.from_checkpoint({"patterns": rows * 0.5})
    with pytest.raises(ModelError, match=r"not \[capacity, inputs\]"):
        models.from_checkpoint({"patterns": rows[0]})


# --- programs ---


@pytest.mark.drawn(2)
@pytest.mark.parametrize("power", POWERS)
def test_a_program_completes_what_the_module_completes(power):
    """Floats alike to the bit of every pattern; int8 completes as many patterns."""
    rows = patterns({2: 4, 3: 20, 5: 60, None: 60}[power])
    model, given = memory(rows, power), cues_of(rows)
    wanted = model(torch.from_numpy(given)).numpy()[:, -1]
    exact = edgekit.load(edgekit.convert(model, name="m")).run(given)[:, -1]
    np.testing.assert_array_equal(exact, wanted)
    rounded = edgekit.load(edgekit.convert(model, name="m", precision="int8", calib=given)).run(given)[:, -1]
    assert completed(np.sign(rounded), rows) >= completed(wanted, rows) - 0.02


@functools.cache
def learner(power, precision="fp32", target="host", known=3, capacity=12):
    rows = patterns(known)
    calib = cues_of(patterns(40, 7)) if precision != "fp32" else None
    return edgekit.convert(
        memory(rows, power, capacity=capacity), name="m", precision=precision, target=target, calib=calib, learn="store"
    )


def recalled(session, rows):
    return session.run(cues_of(rows))[:, -1]


@pytest.mark.drawn(2)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("power", [3, 5, None])
def test_patterns_are_stored_on_the_device_and_the_oldest_go_first(power, precision):
    session = edgekit.load(learner(power, precision))
    known, new = patterns(3), patterns(20, 3)
    assert completed(recalled(session, known), known) == 1
    for at, row in enumerate(new[:9].numpy()):
        session.learn(row)
        assert session.told[0].item() == 3 + at
    both = torch.cat([known, new[:9]])
    assert completed(recalled(session, both), both) == 1
    for at, row in enumerate(new[9:12].numpy()):
        session.learn(row)
        assert session.told[0].item() == at
    assert completed(recalled(session, new[:12]), new[:12]) == 1
    assert completed(recalled(session, known), known) == 0
    held = unpack_states(session.artifact.graph, session.save_state())["stored"]
    unit = 1 if precision == "fp32" else 2**13
    np.testing.assert_array_equal(held, torch.cat([new[9:12], new[:9]]).numpy() * unit)


@pytest.mark.drawn(2)
@pytest.mark.parametrize("power", POWERS)
def test_integers_are_the_same_bytes_on_every_machine(power):
    """200 patterns through 12 rows, and what is recalled of the last ones."""
    here, there = learner(power, "int8"), learner(power, "int8", M33)
    sessions = [edgekit.load(here), edgekit.load(here, engine="reference"), edgekit.load(there, engine="emulator")]
    rows, found = patterns(200, 4), []
    for session in sessions:
        outputs = [session.learn(row) for row in rows.numpy()]
        session.reset()
        last = [session.step(damaged(rows[-1:])[0].numpy()) for _ in range(STEPS)]
        found.append((session.learned(), np.stack(outputs + last).tobytes()))
    assert found[0] == found[1] == found[2]
    if power != 2:
        np.testing.assert_array_equal(last[-1], rows[-1].numpy())


def test_a_memory_that_is_empty_learns_from_its_first_pattern_on():
    session = edgekit.load(learner(None, known=0))
    row = patterns(1, 8)
    session.learn(row[0].numpy())
    assert completed(recalled(session, row), row) == 1


def test_sharpness_stays_what_it_was():
    rows = patterns(20)
    model = memory(rows, sharpness=0.02)
    exact = model(torch.from_numpy(cues_of(rows)))[:, -1].numpy()
    session = edgekit.load(edgekit.convert(model, name="m", learn="store"))
    np.testing.assert_array_equal(recalled(session, rows), exact)
    assert completed(exact, rows) < 1, "a sharpness that makes no difference tests nothing"


def test_the_rule_is_for_memories():
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 4))
    with pytest.raises(UnsupportedError, match="is for associative memories"):
        edgekit.convert(net, torch.zeros(1, 4), learn="store")
    with pytest.raises(UnsupportedError, match="has to hold a pattern"):
        edgekit.convert(Memory(inputs=BITS, capacity=4, power=3).eval(), learn="store")
