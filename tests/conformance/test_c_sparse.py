"""The sparse form of a linear: equal to the other forms, its layouts, and work that follows what is not zero."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from c_nets import banded_weights, block_weights, elm, lowered, sparse_weights
from c_runs import Emulated, Native, compiled

from edgekit.ir import SPIKE, Graph, GraphBuilder
from edgekit.reference import Interpreter

INPUTS, OUTPUTS = 333, 45
ELM_BUDGET = 50_000  # instructions of a step on a Cortex-A72
EVENT_SHARE = 0.6  # of the step over inputs that are all there, for a step with 2 % of them


def layers(form: str) -> Graph:
    """Scattered and banded weights over the same spikes; with dyadic biases of either sign and zeros of either sign."""
    rng, b = np.random.default_rng(0), GraphBuilder("layers")
    s = b.input("s", (INPUTS,), SPIKE)
    bias = b.const("c", np.where(np.arange(OUTPUTS) % 3, rng.standard_normal(OUTPUTS), -0.0))
    for name, weights in (
        ("scattered", sparse_weights(rng, OUTPUTS, INPUTS)),
        ("banded", banded_weights(rng, OUTPUTS, INPUTS, overlap=4)),
    ):
        b.output(b.op("linear", s, b.const(name, weights), bias, form=form))
    return lowered(b.build())


@pytest.mark.parametrize("flags", [(), ("-DEK_FORCE_PORTABLE",)], ids=["native", "portable"])
def test_over_spikes_sparse_and_event_are_bit_equal(flags: tuple[str, ...]) -> None:
    programs = [Native(layers(form), "gcc", flags) for form in ("sparse", "event")]
    rng = np.random.default_rng(1)
    for activity in (0.0, 0.02, 0.5, 1.0):
        s = rng.random(INPUTS) < activity
        results = [program.entry("step", s) for program in programs]
        assert [code for code, _ in results] == [0, 0]
        for one, other in zip(results[0][1], results[1][1], strict=True):
            assert one.tobytes() == other.tobytes()


def test_the_layout_follows_the_weights() -> None:
    program = compiled(layers("sparse"))
    assert [k.kernel for k in program.kernels] == ["linear_sparse_f32", "linear_sparse_f32"]
    text = program.files["ek_layers.c"]
    assert text.count("0u, 1u, 0);") == 1, "scattered weights are added one by one"
    assert text.count("0u, 4u, 0);") == 1, "banded ones four at a time"


def test_many_entries() -> None:
    """More entries than 16 bits number."""
    rng, b = np.random.default_rng(2), GraphBuilder("many")
    x, weights = b.input("x", (260,)), sparse_weights(rng, 300, 260, density=0.9)
    b.output(b.op("linear", x, b.const("w", weights), form="sparse"))
    program = Native(lowered(b.build()), "gcc", ("-O0",))
    x_now = np.where(rng.random(260) < 0.5, rng.standard_normal(260), 0).astype(np.float32)
    _, (y,) = program.entry("step", x_now)
    np.testing.assert_allclose(y, weights @ x_now, rtol=1e-5, atol=1e-5)


def neuronio_like(rng: np.random.Generator) -> np.ndarray:
    """Branches that each read 50 neighbouring excitatory and 50 inhibitory inputs, as the released ELM do."""
    weights = np.zeros((45, 1278), np.float32)
    for branch in range(45):
        at = (branch * 29 + np.arange(100))[: 1278 - branch * 29]
        weights[branch, at % 2 * 639 + at // 2] = rng.random(at.size)
    return weights


@pytest.fixture(scope="module")
def released_like() -> Iterator[Emulated]:
    program = Emulated(lowered(elm(neuronio_like(np.random.default_rng(3)), memory=100)))
    yield program
    program.close()


def test_the_step_follows_the_inputs_that_are_not_zero(released_like: Emulated) -> None:
    rng = np.random.default_rng(4)
    full = rng.choice([-1.0, 1.0], 1278)
    few = full * (rng.random(1278) < 0.02)
    graph, cost = released_like.graph, []
    reference = Interpreter(graph)
    state = reference.initial_state()
    for x in (full, few):
        code, (y,) = released_like.entry("step", x)
        outputs, state = reference.execute({"x": x[None].astype(np.float32)}, state)
        assert code == 0
        np.testing.assert_allclose(y, next(iter(outputs.values()))[0], rtol=2e-5, atol=2e-5)
        cost.append(released_like.instructions)
    assert "linear_sparse_f32" in {k.kernel for k in released_like.program.kernels}
    assert cost[1] <= EVENT_SHARE * cost[0]


def test_an_elm_over_real_inputs_keeps_its_budget() -> None:
    """The Branch-ELM of NUMBERS.md: 1260 inputs, 45 branches of 28, 145-200-100."""
    rng = np.random.default_rng(5)
    program = Emulated(lowered(elm(block_weights(rng, 45, 1260), memory=100)))
    try:
        program.entry("step", rng.standard_normal(1260))
        assert "linear_runs_f32" in {k.kernel for k in program.program.kernels}
        assert program.instructions <= ELM_BUDGET
    finally:
        program.close()
