"""Prototypes: the space they lie in, their equations in numpy, integers that are alike everywhere, what they do."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from converted import edgekit_main

import edgekit
from edgekit.errors import DataError, UsageError
from edgekit.learn import Learning, basis_of, check_learning
from edgekit.learn.prototypes import MEMORY
from edgekit.reference import unpack_states

SIZE, KNOWN, CLASSES, WINDOW = 10, 3, 5, 6
M33 = "smartwatch-m33"


@functools.cache
def centers():
    return np.random.default_rng(5).normal(size=(CLASSES, SIZE)) * 1.5


def draw(count, classes, seed, shift=0.0):
    """Points around the centers of classes, and which these are."""
    rng = np.random.default_rng(seed)
    y = rng.choice(classes, count)
    return (centers()[y] + shift + rng.normal(size=(count, SIZE)) * 0.6).astype(np.float32), y


def windows(count, classes, seed, shift=0.0):
    """Windows [N, WINDOW, SIZE] whose steps scatter around one point."""
    x, y = draw(count, classes, seed, shift)
    noise = np.random.default_rng(seed + 1).normal(size=(count, WINDOW, SIZE)) * 0.5
    return (x[:, None] + noise).astype(np.float32), y


@functools.cache
def network():
    """A network that tells the known classes apart."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    net = torch.nn.Sequential(torch.nn.Linear(SIZE, 16), torch.nn.ReLU(), torch.nn.Linear(16, KNOWN))
    x, y = map(torch.from_numpy, draw(1000, range(KNOWN), 0))
    rule = torch.optim.Adam(net.parameters(), 2e-2)
    for _ in range(100):
        rule.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        rule.step()
    return net


@functools.cache
def recurrent():
    """A network with a memory; what it answers does not matter."""
    torch = pytest.importorskip("torch")
    from edgekit.models import LMU

    torch.manual_seed(1)
    return LMU(inputs=SIZE, hidden=12, memory=2, order=3, theta=float(WINDOW), outputs=KNOWN, readout="mean")


@functools.cache
def artifact(family="mlp", precision="fp32", target="host", **numbers):
    stateful = family != "mlp"
    x, y = (windows if stateful else draw)(240, range(KNOWN), 1)
    far = (windows if stateful else draw)(300, range(CLASSES), 2, shift=0.5)[0]  # what integers have to hold
    labels = np.concatenate([y, np.full(300, -1)])
    asked = Learning("prototypes", labels=labels, window=WINDOW if stateful else 1, **numbers)
    model = recurrent() if stateful else network()
    io = {"decision": "mean", "classes": ["a", "b", "c"]} if stateful else {"classes": ["a", "b", "c"]}
    calib = np.concatenate([x, far])
    return edgekit.convert(
        model,
        None if stateful else _example(),
        name="m",
        target=target,
        precision=precision,
        calib=calib,
        learn=asked,
        io=io,
    )


def _example():
    torch = pytest.importorskip("torch")
    return torch.zeros(1, SIZE)


def accuracy(session, x, y):
    return np.mean(np.argmax([session.step(v) for v in x], axis=1) == y)


def learned(session):
    return unpack_states(session.artifact.graph, session.save_state())


class Spec:
    """The rule as its docstring says it, in float64."""

    def __init__(self, known, *, classes, rows, tasks, tau, gate, margin):
        self.known, self.tau, self.gate, self.margin = known, tau, gate, margin
        self.w = {(t, k, c): [] for t in range(tasks) for k in range(rows) for c in range(classes)}
        self.n = dict.fromkeys(self.w, 0)
        self.classes, self.task = classes, 0

    def scores(self, z, y):
        nearest = np.abs(self.known - z).sum(axis=-1).min()
        near = np.full(self.classes, np.inf)
        for (_, _, c), w in self.w.items():
            if len(w):
                near[c] = min(near[c], np.abs(w - z).sum())
        gain = np.maximum(0, nearest - self.gate - near)
        gain[len(y) :] = nearest + self.margin - near[len(y) :]
        own = np.array([*y, *[max(y)] * (self.classes - len(y))])
        return own + self.tau * gain

    def learn(self, z, c):
        mine = [key for key in self.w if key[0] == self.task and key[2] == c]
        if not mine:
            return
        key = min(mine, key=lambda k: (self.n[k], k[1]))
        self.n[key] += 1
        old = self.w[key] if self.n[key] > 1 else np.zeros_like(z)
        self.w[key] = old + (z - old) / min(self.n[key], MEMORY)


# --- the space ---


def test_the_basis_whitens_what_windows_of_one_class_differ_by():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(SIZE, SIZE))
    y, groups = rng.integers(0, 3, 4000), rng.integers(0, 2, 4000)
    means = rng.normal(size=(2, 3, SIZE)) * 5
    x = means[groups, y] + rng.normal(size=(4000, SIZE)) @ mix
    basis = basis_of(x, y, 3, groups, shrink=0.0)
    z = basis.signal(x)
    within = z - np.stack([[z[(y == c) & (groups == g)].mean(0) for c in range(3)] for g in range(2)])[groups, y]
    np.testing.assert_allclose(within.T @ within / len(x), np.eye(SIZE), atol=1e-8)
    np.testing.assert_allclose(basis.rows, basis.signal(basis_means(x, y, groups)).reshape(2, 3, SIZE), atol=1e-9)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-9)
    assert np.abs(z).max() < basis.reach


def basis_means(x, y, groups):
    return np.stack([x[(y == c) & (groups == g)].mean(0) for g in range(2) for c in range(3)])


def test_shrinking_keeps_variances_and_brings_correlations_down():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 2)) @ np.array([[1.0, 0.9], [0, 0.2]])
    y = np.zeros(500, int)
    basis = basis_of(x, y, 1, shrink=1.0)
    np.testing.assert_allclose(basis.whiten, np.eye(2))
    np.testing.assert_allclose(basis.spread, x.std(0))


def test_signals_that_say_nothing_or_are_not_to_count_are_left_out():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 4))
    x[:, 1] = 7.0
    basis = basis_of(x, np.zeros(100, int), 1, used=[True, True, True, False])
    assert basis.whiten.shape == (2, 4)
    assert not basis.whiten[:, [1, 3]].any()
    moved = x.copy()
    moved[:, [1, 3]] += 100
    np.testing.assert_array_equal(basis.signal(moved), basis.signal(x))


def test_a_group_without_a_class_has_the_mean_of_that_class():
    x = np.random.default_rng(0).normal(size=(60, 3))
    y, groups = np.repeat([0, 1, 0], 20), np.repeat([0, 0, 1], 20)
    basis = basis_of(x, y, 2, groups)
    np.testing.assert_allclose(basis.rows[1, 1], basis.rows[0, 1])


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (np.zeros((4, 2)), [0, 0, 2, 2], "no window is of class 1"),
        (np.zeros((4, 2)), [0, 1, 2, 2], "never differs"),
        (np.full((4, 2), np.nan), [0, 1, 2, 2], "wants x"),
        (np.zeros((4, 2)), [0, 1, 2], "wants x"),
    ],
)
def test_windows_from_which_there_is_no_basis_are_refused(x, y, says):
    with pytest.raises(DataError, match=says):
        basis_of(x, y, 3)


# --- the rule ---


@pytest.mark.parametrize(("rows", "tasks"), [(1, 1), (3, 1), (2, 3)])
def test_floats_do_what_the_equations_say(rows, tasks):
    """Scores, rows and counts over three tasks, against the docstring in numpy."""
    made = artifact(rows=rows, tasks=tasks, classes=CLASSES, tau=0.7, gate=0.8, margin=3.0)
    session = edgekit.load(made, engine="reference")
    net = network()
    basis = _basis_of_artifact()
    spec = Spec(basis.rows, classes=CLASSES, rows=rows, tasks=tasks, tau=0.7, gate=0.8, margin=3.0)
    for task in range(tasks):
        for x, c in zip(*draw(25, range(CLASSES), 10 + task, shift=0.3 * task), strict=True):
            hidden, y = _signal(net, x)
            z = basis.signal(hidden[None])[0]
            got = session.learn(x, int(c))
            wanted = spec.scores(z, y)
            used = np.isfinite(wanted)
            np.testing.assert_allclose(got[used], wanted[used], rtol=2e-4, atol=2e-3)
            assert (got[~used] < -1e29).all()
            spec.learn(z, c)
        if task < tasks - 1:
            assert session.merge() == task + 1
            spec.task += 1
    counts = learned(session)["prototypes.windows"].reshape(tasks, rows, CLASSES)
    np.testing.assert_array_equal(counts, np.reshape(list(spec.n.values()), counts.shape))
    held = learned(session)["prototypes"].reshape(tasks, rows, CLASSES, -1)
    for key, w in spec.w.items():
        np.testing.assert_allclose(held[key], w if len(w) else 0, rtol=1e-4, atol=1e-4)


def _signal(net, x):
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        hidden = net[1](net[0](torch.from_numpy(x)))
        return hidden.numpy().astype(np.float64), net[2](hidden).numpy().astype(np.float64)


def _basis_of_artifact():
    """The basis that conversion made, from the same windows; those without a class tell it nothing but bounds."""
    x, y = draw(240, range(KNOWN), 1)
    return basis_of(np.stack([_signal(network(), v)[0] for v in x]), y, KNOWN)


@pytest.mark.parametrize("family", ["mlp", "lmu"])
def test_integers_are_the_same_bytes_on_every_machine(family):
    """300 windows, three tasks; here in C, in numpy, and on an emulated Cortex-M33."""
    numbers = {"precision": "int8", "rows": 2, "tasks": 3, "classes": CLASSES}
    here, there = artifact(family, **numbers), artifact(family, target=M33, **numbers)
    sessions = [
        edgekit.load(here),
        edgekit.load(here, engine="reference"),
        edgekit.load(there, engine="emulator"),
    ]
    count = 300 if family == "mlp" else 60
    x, y = (draw if family == "mlp" else windows)(count, range(CLASSES), 20, shift=0.5)
    blobs = []
    for session in sessions:
        outputs = []
        for at in range(count):
            outputs.append(session.learn(x[at], int(y[at])))
            if at % (count // 3) == count // 3 - 1 and at < count - 1:
                session.merge()
        outputs.append(session.step(x[0].reshape(-1, SIZE)[0]))
        blobs.append((session.learned(), np.concatenate([np.ravel(o) for o in outputs]).tobytes()))
    assert blobs[0] == blobs[1] == blobs[2]
    counts = learned(sessions[1])["prototypes.windows"] / 64
    assert counts.sum() == count


def test_integers_lie_as_near_as_floats():
    """Scores within 2 % of their spread, but for windows further out than calibration saw; decisions within 1 %."""
    exact, rounded = (edgekit.load(artifact(precision=p, classes=CLASSES, margin=2.0)) for p in ("fp32", "int8"))
    for x, c in zip(*draw(40, range(CLASSES), 30, shift=0.3), strict=True):
        exact.learn(x, int(c))
        rounded.learn(x, int(c))
    x, _ = draw(300, range(CLASSES), 31, shift=0.3)
    a, b = exact.run(x), rounded.run(x)
    assert np.quantile(np.abs(a - b).max(axis=1), 0.75) < 0.02 * a.std()
    assert np.mean(exact.decide(a) == rounded.decide(b)) >= 0.99


def test_a_new_class_and_a_new_wearer_are_learned_from_five_windows_and_nothing_is_forgotten():
    shift = np.random.default_rng(5).normal(size=SIZE) * 1.2
    session = edgekit.load(artifact(classes=CLASSES, tasks=2, margin=2.0))
    old, new, moved = (
        draw(400, range(KNOWN), 40),
        draw(400, range(KNOWN, CLASSES), 41),
        draw(400, range(KNOWN), 42, shift),
    )
    first, wearer = accuracy(session, *old), accuracy(session, *moved)
    assert accuracy(session, *new) == 0, "a class without rows won"
    for c in range(KNOWN, CLASSES):
        for x in draw(5, [c], 50 + c)[0]:
            session.learn(x, c)
    session.merge()
    for c in range(KNOWN):
        for x in draw(5, [c], 60 + c, shift)[0]:
            session.learn(x, c)
    assert accuracy(session, *new) > 0.95
    assert accuracy(session, *moved) > max(0.99, wearer + 0.05)
    assert accuracy(session, *old) > first - 0.005


def test_classes_in_reserve_never_win_until_they_are_learned():
    for precision in ("fp32", "int8"):
        session = edgekit.load(artifact(precision=precision, classes=CLASSES, margin=50.0))
        x = np.random.default_rng(0).normal(size=(200, SIZE)).astype(np.float32) * 20
        assert (session.decide(session.run(x)) < KNOWN).all()


def test_the_mean_of_a_window_decides_at_its_last_step():
    made = artifact("lmu", classes=CLASSES)
    assert made.manifest["io"]["decision"] == "last"
    assert made.manifest["io"]["classes"] == ["a", "b", "c", "new 1", "new 2"]
    session = edgekit.load(made)
    for c in range(CLASSES):
        for x in windows(5, [c], 70 + c, shift=1.0)[0]:
            session.learn(x, c)
    x, y = windows(300, range(CLASSES), 80, shift=1.0)
    assert np.mean(session.decide(session.run(x)) == y) > 0.9


def test_what_all_tasks_have_learned_stays_when_they_are_done():
    session = edgekit.load(artifact(classes=CLASSES, tasks=2), engine="reference")
    session.learn(draw(1, [0], 0)[0][0], 0)
    for _ in range(2):
        session.merge()
    before = session.learned()
    session.learn(draw(1, [0], 1)[0][0], 0)
    assert session.learned() == before


def test_a_row_that_has_seen_many_windows_still_follows_its_class():
    session = edgekit.load(artifact(precision="int8"))
    low, high = draw(1, [0], 0)[0][0], draw(1, [1], 0)[0][0]
    for _ in range(600):
        session.learn(low, 0)
    assert learned(session)["prototypes.windows"].max() / 64 == 510, "the count ends where it is held exactly"
    rows = learned(session)["prototypes"][0].astype(int)
    for _ in range(400):
        session.learn(high, 0)
    moved = learned(session)["prototypes"][0].astype(int)
    aim = learned(session)["signal"].astype(int)
    assert np.abs(aim - rows).max() > 500
    assert np.abs(aim - moved).max() <= MEMORY // 2, "further than a change of half a unit explains"


# --- refusals ---


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ({"rows": 0}, "--rows"),
        ({"tasks": 5000}, "--rows"),
        ({"tau": 0.0}, "--tau"),
        ({"gate": -1.0}, "--gate"),
        ({"margin": float("nan")}, "--margin"),
        ({"plastic": ("a", "b")}, "--plastic"),
        ({"subspace": (4,)}, "--subspace"),
        ({"decision": "sum"}, "decision"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(numbers, says):
    with pytest.raises(UsageError, match=says):
        check_learning(Learning("prototypes", **numbers))


def test_numbers_of_prototypes_are_for_prototypes():
    with pytest.raises(UsageError, match="--rows, --tau: is not used"):
        check_learning(Learning("delta", rows=2, tau=2.0))
    with pytest.raises(UsageError, match="--learning-rate, --subspace, --lateral-steps: is not used"):
        check_learning(Learning("prototypes", rate=0.5, subspace=(4,), lateral_steps=40))
    check_learning(Learning("delta", tau=float("1")))


def test_prototypes_without_windows_or_with_fewer_classes_than_the_model_are_refused():
    with pytest.raises(UsageError, match="needs windows"):
        edgekit.convert(network(), _example(), learn="prototypes")
    with pytest.raises(UsageError, match="fewer than the 3"):
        artifact(classes=2)
    x, y = draw(50, range(KNOWN), 0)
    with pytest.raises(UsageError, match="of 10 signals"):
        edgekit.convert(network(), _example(), learn=Learning("prototypes", basis=basis_of(x, y, KNOWN)))


def test_without_labels_the_model_says_what_windows_are():
    x, _ = draw(300, range(KNOWN), 1)
    made = edgekit.convert(network(), _example(), calib=x, learn="prototypes")
    x, y = draw(300, range(KNOWN), 3)
    assert accuracy(edgekit.load(made), x, y) > 0.95


# --- the command line ---


def test_the_command_line_reads_classes_and_wearers_from_the_calibration_file(tmp_path):
    """What `edgekit convert` makes of y and subject is what the options of Python make of them."""
    from edgekit import models

    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    models.save(models.MLP([SIZE, 16, KNOWN]).eval(), tmp_path / "m.pt")
    x, y = draw(120, range(KNOWN), 1)
    subject = np.arange(120) % 3
    np.savez(tmp_path / "c.npz", x=x, y=y, subject=subject)
    words = "--learn prototypes --rows 2 --tasks 3 --classes 5 --tau 0.5 --gate 1 --margin 2 --known 2"
    answer = edgekit_main(
        "convert", tmp_path / "m.pt", *words.split(), "--calib", tmp_path / "c.npz", "-o", tmp_path / "m.edge"
    )
    assert answer.returncode == 0, answer.stderr
    numbers = {"rows": 2, "tasks": 3, "classes": 5, "tau": 0.5, "gate": 1.0, "margin": 2.0, "known": 2}
    asked = Learning("prototypes", **numbers, labels=y, groups=subject)
    same = edgekit.convert(tmp_path / "m.pt", calib=x, learn=asked)
    assert edgekit.load(tmp_path / "m.edge").artifact.graph.hash() == same.graph.hash()
    new = draw(6, [KNOWN], 5)
    np.savez(tmp_path / "l.npz", x=new[0], y=new[1])
    assert edgekit_main("learn", tmp_path / "m.edge", "--input", tmp_path / "l.npz").returncode == 0
    told = draw(20, [KNOWN], 6)
    assert accuracy(edgekit.load(tmp_path / "m.edge"), *told) > 0.8


def test_fewer_known_rows_are_the_centers_of_groups_that_are_alike():
    rng = np.random.default_rng(0)
    groups, y = np.repeat(np.arange(6), 40), np.tile([0, 1], 120)
    places = np.array([[0.0, 0], [0.2, 0], [9, 0], [9.2, 0], [0, 9], [0, 9.2]])
    x = places[groups] + y[:, None] * 30 + rng.normal(size=(240, 2)) * 0.1
    basis = basis_of(x, y, 2, groups, known=3)
    assert basis.rows.shape == (3, 2, 2)
    wanted = basis.signal(np.array([[0.1, 0], [9.1, 0], [0, 9.1]]))
    found = basis.rows[:, 0][np.argsort(basis.rows[:, 0] @ [1.0, 2.0])]
    np.testing.assert_allclose(found, wanted[np.argsort(wanted @ [1.0, 2.0])], atol=0.5)
