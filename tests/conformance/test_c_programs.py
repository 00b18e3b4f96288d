"""Whole programs: an MLP, an L2MU over 100 steps, a plastic read-out; states, blobs, refusals and budgets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from c_nets import dyadic, exact, l2mu, learner, lowered, mlp
from c_runs import Emulated, Native

from edgekit.compress.quantize import quantize_weights_int8
from edgekit.ir import Graph, GraphBuilder
from edgekit.passes.pipelines import LOWER, OPTIMISE, run_passes
from edgekit.reference import Interpreter, pack_states

STEPS = 120
MLP_BUDGET, L2MU_BUDGET = 26_000, 12_000  # instructions of a step on a Cortex-A72
SMALL = {"n": 5, "hidden": 45, "channels": 21, "order": 3, "classes": 5}


def exact_l2mu(**sizes: int) -> Graph:
    return lowered(exact(l2mu(**sizes, thr=0.7)))


def int8_l2mu() -> Graph:
    return run_passes(quantize_weights_int8(run_passes(l2mu(thr=0.7), OPTIMISE)), LOWER)


def drive(n: int, steps: int = STEPS, seed: int = 7) -> np.ndarray:
    return dyadic(np.random.default_rng(seed).standard_normal((steps, n)), bits=3)


@pytest.fixture(scope="module")
def emulated_l2mu() -> Iterator[Emulated]:
    program = Emulated(exact_l2mu())
    yield program
    program.close()


def spikes_of(program: Native | Emulated, xs: np.ndarray) -> np.ndarray:
    return np.array([program.entry("step", x)[1][0] for x in xs])


def reference_spikes(graph: Graph, xs: np.ndarray) -> np.ndarray:
    outputs, _ = Interpreter(graph).run({"x": xs[None]})
    return next(iter(outputs.values()))[0]


@pytest.mark.drawn(2)
@pytest.mark.parametrize("flags", [(), ("-DEK_FORCE_PORTABLE",)], ids=["native", "portable"])
@pytest.mark.parametrize("sizes", [{}, SMALL], ids=["anchor", "odd"])
def test_l2mu_spikes_equal_the_reference(sizes: dict[str, int], flags: tuple[str, ...]) -> None:
    """With dyadic weights every sum is exact: outputs and saved states are the same bytes."""
    graph = exact_l2mu(**sizes)
    program, xs = Native(graph, "clang", flags), drive(sizes.get("n", 6))
    wanted, reference = [], Interpreter(graph)
    state = reference.initial_state()
    for x in xs:
        outputs, state = reference.execute({"x": x[None]}, state)
        wanted.append(next(iter(outputs.values()))[0])
    got = spikes_of(program, xs)
    assert got.sum() > 10
    np.testing.assert_array_equal(got, np.array(wanted))
    assert program.save() == pack_states(graph, {n: v[0] for n, v in state.items()})


def test_l2mu_spikes_equal_the_reference_on_the_emulated_core(emulated_l2mu: Emulated) -> None:
    xs = drive(6)
    np.testing.assert_array_equal(spikes_of(emulated_l2mu, xs), reference_spikes(emulated_l2mu.graph, xs))


def test_int8_l2mu_equals_the_reference() -> None:
    graph, xs = int8_l2mu(), drive(6)
    program = Native(graph, "gcc")
    assert {k.kernel for k in program.program.kernels if k.kind == "linear"} == {"linear_dense_i8", "linear_event_i8"}
    np.testing.assert_array_equal(spikes_of(program, xs), reference_spikes(graph, xs))


@pytest.mark.parametrize("pad", [8, 16])
def test_mlp_equals_the_reference(pad: int) -> None:
    graph = lowered(mlp((240, 128, 64, 7)))
    program, xs = Native(graph, "gcc", pad=pad), np.random.default_rng(0).standard_normal((20, 240)).astype(np.float32)
    for x in xs:
        code, (y,) = program.entry("step", x)
        outputs, _ = Interpreter(graph).execute({"x": x[None]}, {})
        assert code == 0
        np.testing.assert_allclose(y, next(iter(outputs.values()))[0], rtol=2e-6, atol=2e-6)


def test_instruction_budgets() -> None:
    """Exact counts on the emulated Cortex-A72; the L2MU is held near 7 % activity by its thresholds."""
    dense, spiking = Emulated(lowered(mlp((240, 128, 64, 7)))), Emulated(lowered(l2mu(thr=1.4)))
    try:
        dense.entry("step", np.ones(240))
        assert dense.instructions <= MLP_BUDGET
        xs, counts = np.random.default_rng(1).standard_normal((40, 6)), []
        reference = Interpreter(spiking.graph)
        state, active = reference.initial_state(), []
        for x in xs.astype(np.float32):
            spiking.entry("step", x)
            counts.append(spiking.instructions)
            _, state = reference.execute({"x": x[None]}, state)
            active.append(np.concatenate([state["h.s"][0], state["m.s"][0]]).mean())
        assert 0.06 <= np.mean(active[10:]) <= 0.08
        assert np.mean(counts[10:]) <= L2MU_BUDGET
    finally:
        dense.close()
        spiking.close()


def test_run_is_the_step_in_a_loop_and_reset_is_fresh() -> None:
    program, xs = Native(exact_l2mu(), "gcc"), drive(6)
    stepped = spikes_of(program, xs)
    program.reset()
    code, (at_once,) = program.entry("step", xs, steps=STEPS)
    assert code == 0
    np.testing.assert_array_equal(stepped, at_once)
    program.reset()
    np.testing.assert_array_equal(spikes_of(program, xs[:10]), stepped[:10])


def test_save_and_restore_in_mid_stream() -> None:
    graph, xs = exact_l2mu(**SMALL), drive(5)
    one, other = Native(graph, "gcc"), Native(graph, "clang", ("-DEK_FORCE_PORTABLE",))
    spikes_of(one, xs[:50])
    assert other.restore(one.save()) == 0, "a blob of one build fits every other build"
    assert other.save() == one.save()
    np.testing.assert_array_equal(spikes_of(one, xs[50:]), spikes_of(other, xs[50:]))


def test_a_damaged_blob_is_refused_and_changes_nothing() -> None:
    program = Native(exact_l2mu(**SMALL), "gcc")
    spikes_of(program, drive(5)[:20])
    good = program.save()
    header, nan = 40, np.float32(np.nan).tobytes()
    damaged = [bytes([b ^ 1 if i == at else b for i, b in enumerate(good)]) for at in range(header)]
    damaged += [good[:-1], good + b"\0", b""]
    damaged += [good[:header] + nan + good[header + 4 :], good[:-1] + b"\2"]
    order = [program.graph.tensors[s.tensor].dtype.name for s in program.graph.states]
    for blob in damaged:
        if blob[-1:] == b"\2" and order[-1] != "spike":
            continue  # the last state is a float here: any byte is a number
        assert program.restore(blob) == 2
        assert program.save() == good


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_input_that_is_not_finite_is_refused_and_changes_nothing(bad: float) -> None:
    program, xs = Native(exact_l2mu(), "gcc"), drive(6)
    spikes_of(program, xs[:20])
    before = program.save()
    for at in range(6):
        x = xs[20].copy()
        x[at] = bad
        assert program.entry("step", x)[0] == 1
        many = xs[20:40].copy()
        many[13, at] = bad
        assert program.entry("step", many, steps=20)[0] == 1
    assert program.save() == before
    np.testing.assert_array_equal(spikes_of(program, xs[20:]), reference_spikes(program.graph, xs)[20:])


def test_silence_leaves_no_denormals() -> None:
    program = Native(lowered(exact(l2mu(thr=50.0))), "gcc")  # nobody fires: membranes only decay
    spikes_of(program, drive(6)[:30])
    assert np.frombuffer(program.save()[40:], np.uint8).any()
    program.entry("step", np.zeros((3000, 6)), steps=3000)
    stored = np.frombuffer(program.save()[40:], np.uint8)
    assert not stored.any(), "every membrane has decayed to exactly zero"


@pytest.mark.parametrize("engine", ["gcc", "clang", "emulator"])
def test_learning_is_an_entry_like_any_other(engine: str) -> None:
    graph = lowered(learner())
    program: Native | Emulated = Emulated(graph) if engine == "emulator" else Native(graph, engine)
    reference, rng = Interpreter(graph), np.random.default_rng(2)
    state = reference.initial_state()
    for _ in range(10):
        sample, target = dyadic(rng.standard_normal(37), 2), dyadic(rng.standard_normal(5), 2)
        outputs, state = reference.execute({"sample": sample[None], "target": target[None]}, state, "learn")
        code, (error,) = program.entry("learn", sample, target)
        assert code == 0
        np.testing.assert_allclose(error, next(iter(outputs.values()))[0], rtol=1e-4, atol=1e-4)
        x = dyadic(rng.standard_normal(37), 2)
        outputs, state = reference.execute({"x": x[None]}, state)
        code, got = program.entry("step", x)
        for y, wanted in zip(got, outputs.values(), strict=True):
            np.testing.assert_allclose(y, wanted[0], rtol=1e-4, atol=1e-4)
    if isinstance(program, Emulated):
        program.close()
        return
    learned = program.save()
    program.reset()
    weights, trace = 40, 40 + 4 * 5 * 37
    assert program.save()[weights:trace] == learned[weights:trace], "a reset keeps what was learned"
    assert program.save()[trace:] == graph.states[1].init.tobytes(), "and gives other states their first value"


def test_states_that_exchange_and_shift_their_values() -> None:
    b = GraphBuilder("moves")
    x = b.input("x", (3,))
    left, right = b.state("left", np.arange(3)), b.state("right", np.ones(3))
    line = [b.state(f"line{i}", np.full(3, i)) for i in range(3)]
    for state, value in ((left, right), (right, left), *zip(line, (x, *line), strict=False)):
        b.update(state, value)
    b.output(left, line[2])
    graph = lowered(b.build())
    program, reference = Native(graph, "gcc"), Interpreter(graph)
    state = reference.initial_state()
    for t in range(5):
        x_now = np.full(3, t + 10, np.float32)
        outputs, state = reference.execute({"x": x_now[None]}, state)
        _, got = program.entry("step", x_now)
        for y, wanted in zip(got, outputs.values(), strict=True):
            np.testing.assert_array_equal(y, wanted[0])
