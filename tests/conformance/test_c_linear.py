"""The forms of a linear over spikes give the same bits, and the kernel that was asked for is the one that runs."""

from __future__ import annotations

import numpy as np
import pytest
from c_nets import int8_weights, lowered, random_weights
from c_runs import Emulated, Native, compiled

from edgekit.ir import SPIKE, Graph, GraphBuilder

ACTIVITIES = (0.0, 0.05, 0.5, 1.0)
NEURONS, OUTPUTS = 333, (7, 64, 130)  # more neurons than an int16 block of 256 rows; odd numbers of outputs


def both_forms(seed: int = 0) -> Graph:
    """Each layer twice, event-driven and dense, float32 and int8; outputs come in pairs that must be equal."""
    rng, b = np.random.default_rng(seed), GraphBuilder("forms")
    s = b.input("s", (NEURONS,), SPIKE)
    for n_out in OUTPUTS:
        weights = random_weights(rng, n_out, NEURONS)
        bias = b.const(f"b{n_out}", np.where(np.arange(n_out) % 3, rng.standard_normal(n_out), -0.0))
        for w in (b.const(f"w{n_out}", weights), int8_weights(b, f"q{n_out}", weights)):
            pair = [b.op("linear", s, w, bias, form=form) for form in ("event", "dense")]
            b.output(b.op("concat", *pair, axis=0))
    return lowered(b.build())


def halves_are_equal(outputs: list[np.ndarray]) -> None:
    for y in outputs:
        half = y.size // 2
        assert y[:half].tobytes() == y[half:].tobytes()
        assert np.isfinite(y).all()


@pytest.mark.parametrize("flags", [(), ("-DEK_FORCE_PORTABLE",)], ids=["native", "portable"])
def test_event_and_dense_are_bit_equal(flags: tuple[str, ...]) -> None:
    program = Native(both_forms(), "gcc", flags)
    rng = np.random.default_rng(3)
    for activity in ACTIVITIES:
        code, outputs = program.entry("step", rng.random(NEURONS) < activity)
        assert code == 0
        halves_are_equal(outputs)


def test_event_and_dense_are_bit_equal_on_the_emulated_core() -> None:
    program = Emulated(both_forms())
    rng, cost = np.random.default_rng(3), {}
    try:
        for activity in ACTIVITIES:
            code, outputs = program.entry("step", rng.random(NEURONS) < activity)
            assert code == 0
            halves_are_equal(outputs)
            ran = {k for k in program.by_symbol if "_op" in k}
            assert ran == {k.symbol for k in program.program.kernels}, "the kernels of the manifest are those that ran"
            cost[activity] = {
                form: sum(n for k, n in program.by_symbol.items() if form in k) for form in ("event", "masked")
            }
    finally:
        program.close()
    assert cost[0.05]["event"] < cost[0.05]["masked"] / 5, "work follows activity"
    assert cost[0.0]["masked"] == cost[1.0]["masked"], "the dense form does not"


def test_the_form_chooses_the_kernel() -> None:
    program = compiled(both_forms())
    linears = [k.kernel for k in program.kernels if k.kind == "linear"]
    assert linears == ["linear_event_f32", "linear_masked_f32", "linear_event_i8", "linear_masked_i8"] * len(OUTPUTS)
    for use in program.kernels:
        assert f"{use.symbol}(m))" in program.files[program.main], (
            "the kernel is called under the symbol it is known by"
        )


def test_linears_over_the_same_spikes_share_one_list() -> None:
    text = compiled(both_forms()).files["ek_forms.c"]
    assert text.count("= ek_events(m->list0") == 1
    assert "list1" not in text


def test_one_list_is_not_taken_for_another() -> None:
    """Two spike values alive at once, and a state whose new value takes the place of the old, keep their own lists."""
    rng, b = np.random.default_rng(5), GraphBuilder("lists")
    x = b.input("x", (40,))
    old = b.state("old", rng.random(40) < 0.5, SPIKE)
    new = b.op("gt", x, b.const("zero", 0.0))
    weights = [b.const(f"w{i}", random_weights(rng, 9, 40)) for i in range(4)]
    first = [b.op("linear", v, w) for v, w in zip((old, new, new, old), weights, strict=True)]
    b.update("old", new)
    b.output(*first)
    graph = lowered(b.build())
    program, data = Native(graph, "gcc"), {k: graph.tensors[k].data for k in weights}
    before = graph.states[0].init
    for _ in range(5):
        x_now = rng.standard_normal(40).astype(np.float32)
        _, got = program.entry("step", x_now)
        for y, w, spikes in zip(got, weights, (before, x_now > 0, x_now > 0, before), strict=True):
            np.testing.assert_allclose(y, data[w] @ spikes, rtol=1e-5, atol=1e-6)
        before = x_now > 0
