"""Sessions: the same program on its engines, over steps, runs, resets, saved states and learning."""

from __future__ import annotations

import time

import numpy as np
import pytest
from converted import CLASSES, INPUTS, artifact, module, stream

import edgekit
from edgekit.errors import DataError, StateError, UsageError
from edgekit.ir import SPIKE
from edgekit.reference import unpack_states

CASES = [(f, p) for f in ("mlp", "l2mu") for p in ("fp32", "w8")]
ENGINES = {
    "native": ("host", "native"),
    "reference": ("host", "reference"),
    "emulator": ("raspberrypi4", "emulator"),
}


def open_session(family="l2mu", precision="fp32", engine="native", learn=None):
    target, name = ENGINES[engine]
    return edgekit.load(artifact(family, precision, target, learn), engine=name)


def states_of(session):
    return unpack_states(session.artifact.graph, session.save_state())


@pytest.fixture(params=CASES, ids="-".join)
def case(request):
    return request.param


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


def test_every_engine_gives_what_the_original_gives(engine):
    """The float32 programs; spikes exactly, floats within 1e-5."""
    torch = pytest.importorskip("torch")
    x = stream(40)
    with torch.no_grad():
        dense = module("mlp")(torch.from_numpy(x)).numpy()
        spikes = module("l2mu")(torch.from_numpy(x)[None]).numpy()[0]
    np.testing.assert_allclose(open_session("mlp", engine=engine).run(x), dense, rtol=1e-5, atol=1e-5)
    got = open_session("l2mu", engine=engine).run(x)
    np.testing.assert_array_equal(got, spikes)
    assert 0.05 < got.mean() < 0.95, "a network that is silent, or never is, tests nothing"


@pytest.mark.drawn(2)
def test_engines_agree(case):
    x = stream(60, 1)
    expected = open_session(*case, "reference").run(x)
    for engine in ("native", "emulator"):
        got = open_session(*case, engine).run(x)
        if case[0] == "l2mu":
            np.testing.assert_array_equal(got, expected)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_one_run_is_that_many_steps_bit_for_bit(case, engine):
    x = stream(20, 2)
    one, many = open_session(*case, engine), open_session(*case, engine)
    np.testing.assert_array_equal(one.run(x), np.stack([many.step(row) for row in x]))
    assert one.save_state() == many.save_state()
    np.testing.assert_array_equal(one.run(x), np.concatenate([many.run(x[:7]), many.run(x[7:])]))


def test_a_reset_session_is_a_fresh_one(case, engine):
    x = stream(20, 3)
    session = open_session(*case, engine)
    fresh, first = session.save_state(), session.run(x)
    session.reset()
    assert session.save_state() == fresh
    np.testing.assert_array_equal(session.run(x), first)


@pytest.mark.drawn(2)
def test_a_saved_state_continues_the_same_on_every_engine(case):
    x = stream(40, 4)
    blobs, rest = {}, {}
    for engine in ENGINES:
        session = open_session(*case, engine)
        session.run(x[:17])
        blobs[engine] = session.save_state()
        rest[engine] = session.run(x[17:])
        session.restore_state(blobs[engine])
        assert session.save_state() == blobs[engine]
        np.testing.assert_array_equal(session.run(x[17:]), rest[engine])
    graph = artifact(*case).graph
    expected = unpack_states(graph, blobs["reference"])
    for engine, blob in blobs.items():
        assert len(blob) == len(blobs["reference"])
        assert blob[:40] == blobs["reference"][:40]
        for name, value in unpack_states(graph, blob).items():
            if graph.tensors[name].dtype is SPIKE:
                np.testing.assert_array_equal(value, expected[name])
            np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-5)
        for other in ENGINES:  # and a state moves from any engine to any other
            session = open_session(*case, other)
            session.restore_state(blob)
            np.testing.assert_allclose(session.run(x[17:]), rest[engine], rtol=1e-5, atol=1e-5)


def test_streams_are_independent(engine):
    xs = [stream(12, seed) for seed in range(3)]
    alone = [open_session(engine=engine).run(x) for x in xs]
    first = open_session(engine=engine)
    sessions = [first, first.stream(), first.stream()]
    together = [[] for _ in xs]
    for t in range(12):
        for n, session in enumerate(sessions):
            together[n].append(session.step(xs[n][t]))
    np.testing.assert_array_equal(np.array(together), np.array(alone))


def test_samples_start_from_a_reset_and_leave_the_session_alone(engine):
    x = stream(15, 5, 4)
    session = open_session(engine=engine)
    session.run(x[0, :9])
    before = session.save_state()
    got = session.run(x)
    assert session.save_state() == before
    for n in range(4):
        np.testing.assert_array_equal(got[n], open_session(engine=engine).run(x[n]))


def test_decisions():
    session = open_session()
    y = np.zeros((2, 5, CLASSES), np.float32)
    y[0, :3, 1] = y[0, :3, 3] = 1  # a tie: the lowest index
    y[1, :, 2] = 1
    assert session.artifact.manifest["io"]["decision"] == "sum"
    np.testing.assert_array_equal(session.decide(y), [1, 2])
    assert session.decide(y[1]) == 2
    np.testing.assert_array_equal(open_session("mlp").decide(np.eye(CLASSES)), range(CLASSES))


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_are_refused_with_the_state_untouched(engine, bad):
    session, x = open_session(engine=engine), stream(10, 6)
    session.run(x)
    before = session.save_state()
    wrong = x.copy()
    wrong[4, 1] = bad
    for refuse in (lambda: session.step(wrong[4]), lambda: session.run(wrong), lambda: session.run(wrong[None])):
        with pytest.raises(DataError, match="holds NaN or Inf"):
            refuse()
        assert session.save_state() == before


@pytest.mark.drawn(2)
@pytest.mark.parametrize(
    "x",
    [
        np.zeros(INPUTS + 1), np.zeros((1, INPUTS)), np.zeros(()), np.zeros(0),
        "three", None, [[1.0], [2.0, 3.0]], {"x": 1},
    ],
    ids=repr,
)  # fmt: skip
def test_a_step_of_another_shape_is_refused(engine, x):
    session = open_session(engine=engine)
    before = session.save_state()
    with pytest.raises(DataError, match=r"input 'x'|step"):
        session.step(x)
    assert session.save_state() == before


@pytest.mark.drawn(2)
@pytest.mark.parametrize(
    "shape", [(INPUTS,), (5, INPUTS + 1), (0, INPUTS), (2, 0, INPUTS), (0, 3, INPUTS), (2, 2, 5, INPUTS), ()]
)
def test_a_run_of_another_shape_is_refused(engine, shape):
    with pytest.raises(DataError, match="run"):
        open_session(engine=engine).run(np.zeros(shape, np.float32))


def test_a_run_of_what_is_no_array_is_refused():
    for x in ("three", [[1.0], [2.0, 3.0]], {"x": 1}):
        with pytest.raises(DataError):
            open_session().run(x)


def test_the_number_of_inputs_is_checked():
    session = open_session()
    x = stream(3)
    for call in (session.step, session.run):
        with pytest.raises(DataError, match="takes 1 inputs, got 2"):
            call(x, x)
        with pytest.raises(DataError, match="takes 1 inputs, got 0"):
            call()


def test_lists_and_other_dtypes_are_taken(engine):
    session, x = open_session("mlp", engine=engine), stream(1)[0]
    expected = session.step(x)
    for same in (x.tolist(), x.astype(np.float64), np.asfortranarray(x), np.repeat(x, 2)[::2]):
        np.testing.assert_array_equal(session.step(same), expected)
    assert session.step(np.zeros(INPUTS, np.int64)).dtype == np.float32


def test_an_output_is_the_callers_to_keep(engine):
    session, x = open_session("mlp", engine=engine), stream(2)
    first = session.step(x[0])
    kept = first.copy()
    session.step(x[1])
    np.testing.assert_array_equal(first, kept)
    first[...] = -1
    np.testing.assert_array_equal(session.step(x[0]), kept)


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b"",
        lambda b: b[:-1],
        lambda b: b + b"\0",
        lambda b: b"XXXX" + b[4:],
        lambda b: b[:4] + b"\2" + b[5:],
        lambda b: b[:8] + bytes(32) + b[40:],
    ],
    ids=["empty", "short", "long", "magic", "version", "hash"],
)
def test_a_damaged_state_is_refused_and_nothing_changes(engine, damage):
    session = open_session(engine=engine)
    session.run(stream(9, 7))
    before = session.save_state()
    with pytest.raises(StateError, match="state blob"):
        session.restore_state(damage(before))
    assert session.save_state() == before


def test_values_no_state_can_have_are_refused(engine):
    session = open_session(engine=engine)
    session.run(stream(9, 7))
    before, graph = session.save_state(), session.artifact.graph
    at = 40
    for state in graph.states:
        tensor = graph.tensors[state.tensor]
        spike = tensor.dtype is SPIKE
        wrong = b"\x02" if spike else b"\x00\x00\xc0\x7f"
        with pytest.raises(StateError):
            session.restore_state(before[:at] + wrong + before[at + len(wrong) :])
        assert session.save_state() == before
        at += tensor.size * (1 if spike else 4)
    assert at == len(before)


def test_the_state_of_another_program_is_refused(engine):
    for other in (open_session("l2mu", "w8", engine), open_session("mlp", engine=engine)):
        with pytest.raises(StateError):
            open_session(engine=engine).restore_state(other.save_state())


def test_engines_are_named_or_refused():
    for name in ENGINES:
        assert name.rstrip("or") in open_session(engine=name).engine
    rebuilt = edgekit.load(artifact("mlp"), engine="rebuilt")
    assert rebuilt.engine.startswith("rebuilt from the graph")
    np.testing.assert_array_equal(rebuilt.run(stream(5)), open_session("mlp").run(stream(5)))
    with pytest.raises(UsageError, match="engine 'fast': is not known; known are auto, native"):
        edgekit.load(artifact("mlp"), engine="fast")
    with pytest.raises(UsageError, match="its library is for aarch64"):
        edgekit.load(artifact("mlp", target="raspberrypi4"), engine="native")


# --- learning --------------------------------------------------------------------------------------------------------


def toy(seed, steps=200):
    """Inputs and labels: which of the inputs (or their negative sum) is the largest."""
    x = np.random.default_rng(seed).normal(size=(steps, INPUTS)).astype(np.float32)
    return x, np.argmax(np.concatenate([x, -x.sum(axis=1, keepdims=True)], axis=1), axis=1)


def accuracy(session, x, labels):
    return float(np.mean(np.argmax(np.stack([session.step(row) for row in x]), axis=1) == labels))


@pytest.mark.parametrize("precision", ["fp32", "w8"])
@pytest.mark.parametrize("engine", ["native", "reference"])
def test_learning_improves_a_toy_problem_and_survives(engine, precision):
    session = open_session("mlp", precision, engine, learn="delta")
    (x, labels), (test_x, test_labels) = toy(0, 600), toy(1)
    before = accuracy(session, test_x, test_labels)
    for row, label in zip(x, labels, strict=True):
        session.learn(row, int(label))
    learned = accuracy(session, test_x, test_labels)
    assert learned > max(before + 0.2, 0.6)
    expected = session.run(test_x)
    session.reset()
    np.testing.assert_array_equal(session.run(test_x), expected)
    other = open_session("mlp", precision, engine, learn="delta")
    assert accuracy(other, test_x, test_labels) == before
    other.restore_state(session.save_state())
    np.testing.assert_array_equal(other.run(test_x), expected)


@pytest.mark.parametrize("family", ["mlp", "l2mu"])
def test_learning_is_the_delta_rule_on_every_engine(family):
    x, labels = toy(2, 12)
    blobs = {}
    for engine in ENGINES:
        session = open_session(family, "fp32", engine, learn="delta")
        graph = session.artifact.graph
        before = unpack_states(graph, session.save_state())
        y = session.learn(x[0], int(labels[0]))
        after = unpack_states(graph, session.save_state())
        error = np.eye(CLASSES, dtype=np.float32)[labels[0]] - y
        (bias,) = (s.tensor for s in graph.states if s.reset == "keep" and s.tensor.endswith(".bias"))
        np.testing.assert_allclose(after[bias] - before[bias], 0.05 * error, atol=1e-6)
        for row, label in zip(x[1:], labels[1:], strict=True):
            session.learn(row, int(label))
        blobs[engine] = states_of(session)
    for states in blobs.values():
        for name, value in states.items():
            np.testing.assert_allclose(value, blobs["reference"][name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_learn_returns_what_step_would_have_and_advances_the_state(engine):
    x, labels = toy(3, 6)
    a, b = (open_session("l2mu", "fp32", engine, learn="delta") for _ in range(2))
    a.run(x[:5])
    b.run(x[:5])
    np.testing.assert_array_equal(a.learn(x[5], int(labels[5])), b.step(x[5]))
    graph = a.artifact.graph
    keep = {s.tensor for s in graph.states if s.reset == "keep"}
    assert len(keep) == 2
    own = {s.tensor for s in graph.states if s.reset == "reset"}
    for name, left in states_of(a).items():
        assert np.array_equal(left, states_of(b)[name]) or name not in own
        assert not np.array_equal(left, states_of(b)[name]) or name not in keep


def test_a_reset_keeps_what_was_learned_and_nothing_else(engine):
    x, labels = toy(4, 8)
    session = open_session("l2mu", "fp32", engine, learn="delta")
    fresh = states_of(session)
    for row, label in zip(x, labels, strict=True):
        session.learn(row, int(label))
    learned = states_of(session)
    session.reset()
    for name, value in states_of(session).items():
        np.testing.assert_array_equal(value, learned[name] if ".plastic" in name else fresh[name])
    samples = session.run(x[None])
    np.testing.assert_array_equal(samples[0], session.run(x))


def test_targets_may_be_arrays():
    one, other = (open_session("mlp", learn="delta") for _ in range(2))
    x = stream(1)[0]
    one.learn(x, 2)
    other.learn(x, np.eye(CLASSES)[2])
    assert one.save_state() == other.save_state()
    other.learn(x, np.int64(1))


@pytest.mark.parametrize(
    "target",
    [-1, CLASSES, 10**9, 1.5, "two", None, np.zeros(CLASSES + 1), np.full(CLASSES, np.nan), True],
    ids=repr,
)
def test_labels_that_are_none_are_refused_and_nothing_changes(engine, target):
    session = open_session("mlp", engine=engine, learn="delta")
    before = session.save_state()
    with pytest.raises(DataError):
        session.learn(stream(1)[0], target)
    assert session.save_state() == before


def test_learning_needs_a_rule_and_both_arguments():
    with pytest.raises(UsageError, match="has no learning rule; convert it with --learn delta"):
        open_session("mlp").learn(stream(1)[0], 1)
    with pytest.raises(DataError, match="takes 2 arguments"):
        open_session("mlp", learn="delta").learn(stream(1)[0])


def test_a_layer_called_as_the_rule_calls_its_states():
    """`readout.weight` may already be the name of a weight, and `target` that of an input."""
    torch = pytest.importorskip("torch")

    class Named(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.readout, self.last = torch.nn.Linear(INPUTS, INPUTS), torch.nn.Linear(INPUTS, INPUTS)

        def forward(self, target):
            return self.last(torch.tanh(self.readout(target)))

    torch.manual_seed(1)
    named, x = Named().eval(), stream(5)
    session = edgekit.load(
        edgekit.convert(named, torch.zeros(1, INPUTS), name="named", learn="delta", learning_rate=0.05)
    )
    with torch.no_grad():
        np.testing.assert_allclose(session.run(x), named(torch.from_numpy(x)).numpy(), rtol=1e-5, atol=1e-5)
    before = session.step(x[0])
    error = np.eye(INPUTS, dtype=np.float32)[1] - before
    for _ in range(50):
        session.learn(x[0], 1)
    assert np.abs(np.eye(INPUTS)[1] - session.step(x[0])).max() < 0.2 * np.abs(error).max()


# --- silence ---------------------------------------------------------------------------------------------------------


@pytest.mark.drawn(2)
def test_after_the_input_goes_silent_every_membrane_becomes_exactly_zero(engine):
    session = open_session("quiet", engine=engine)
    session.run(stream(50, 8))
    assert all(np.any(v) for n, v in states_of(session).items() if n.endswith("membrane"))
    session.run(np.zeros((1500, INPUTS), np.float32))
    for name, value in states_of(session).items():
        assert not np.any(value), name


def seconds(session, x):
    started = time.perf_counter()
    session.run(x)
    return time.perf_counter() - started


@pytest.mark.parametrize("family", ["quiet", "decay"])
def test_silence_is_not_slower_than_activity(family):
    """Best of a few tries, for other processes disturb the clock."""
    session = open_session("quiet") if family == "quiet" else decaying()
    steps = 250_000 if family == "quiet" else 50_000
    active, silent = stream(steps, 9), np.zeros((steps, INPUTS), np.float32)
    ratios = []
    for _ in range(5):
        session.reset()
        busy = seconds(session, active)
        seconds(session, silent)  # the membranes fall through the denormals in here
        ratios.append(min(seconds(session, silent) for _ in range(3)) / busy)
        if ratios[-1] <= 1.2:
            return
    pytest.fail(f"silence takes {min(ratios):.2f} times as long")


def decaying():
    """Leaky integrators without any spike; rounding would keep them denormal for ever if nothing flushed them."""
    torch = pytest.importorskip("torch")

    class Decay(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("u", torch.zeros(1, 256))

        def forward(self, x):
            self.u = 0.995 * self.u + x.sum(dim=-1, keepdim=True)
            return self.u

    return edgekit.load(edgekit.convert(Decay(), torch.zeros(1, INPUTS), name="decay"))


def test_a_finite_number_beyond_float32_is_not_called_infinite():
    session = edgekit.load(artifact("mlp"))
    x = np.zeros((4, INPUTS))
    x[2, 1] = -1e300
    for call in (lambda: session.run(x), lambda: session.step(x[2])):
        with pytest.raises(DataError, match=r"holds -1e\+300 at \[(2, )?1\], more than float32 can \(3.4e\+38\)"):
            call()
    x[2, 1] = -np.inf
    with pytest.raises(DataError, match="holds NaN or Inf"):
        session.run(x)


def test_raw_inputs_of_stored_ones_become_the_same_integers():
    converted = edgekit.convert(module("l2mu"), precision="int8", calib="synthetic", name="border")
    session = edgekit.load(converted)
    stored = [converted.selftest.inputs[name] for name in converted.graph.entries["step"].inputs]
    for again, wanted in zip(session.codec.quantize(session.codec.raw_of(stored)), stored, strict=True):
        np.testing.assert_array_equal(again, wanted)
