"""Intervals of single ops, and bounds of small recurrences against the formulas that they have."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from range_samples import bounded, impulse_gain, leaky, legendre, lif, memory

from edgekit.errors import UsageError
from edgekit.ir import INT8, INT16, INT32, OPS, SPIKE, Graph, GraphBuilder, Tensor
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.passes.ranges import Interval, analyse, gain
from edgekit.passes.ranges.linear import System
from edgekit.passes.ranges.nodes import Node
from edgekit.passes.ranges.transfer import bounds_of
from edgekit.reference import Interpreter

SEEDS = st.integers(0, 2**32)

# --- one op: its interval is that of all results, neither more nor less -----------------------------------------------

SMALL = st.tuples(st.integers(-128, 127), st.integers(0, 12)).map(lambda t: (t[0], min(t[0] + t[1], 127)))
BINARY = [
    *(("add", {"saturate": s}) for s in (False, True)),
    *(("sub", {"saturate": s}) for s in (False, True)),
    *((kind, {}) for kind in ("minimum", "maximum", "gt", "ge", "lt", "le", "eq", "ne")),
    *(("rescale", {"shift": shift, "to": to}) for shift in (0, 1, 3, 7) for to in ("int8", "int16")),
]
UNARY = [
    *((kind, {}) for kind in ("neg", "abs", "relu")),
    *(("cast", {"to": to}) for to in ("int8", "int16", "int32")),
]


def results(kind: str, attrs: dict, ends: Sequence[tuple[int, int]]) -> tuple[Interval, Interval, np.ndarray]:
    """The interval of an op on two or one int8, that of its exact result, and what it is for all of them."""
    combinations = np.array(list(product(*(range(lo, hi + 1) for lo, hi in ends))), np.int8)
    tensors = [Tensor(f"x{i}", (1,), INT8) for i in range(len(ends))]
    shape, dtype = OPS[kind].check(tensors, attrs)[0]
    every = OPS[kind].evaluate([c[:, None] for c in combinations.T], attrs, tensors)[0]
    node = Node(0, kind, tuple(t.name for t in tensors), "y", attrs)
    found = bounds_of(node, [Interval.of([lo], [hi]) for lo, hi in ends], tensors, Tensor("y", shape, dtype))
    return found.value, found.exact or found.value, every.astype(np.int64)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(BINARY), SMALL, SMALL)
def test_the_interval_of_two_operands_is_what_they_can_give(op, x, y):
    value, exact, every = results(*op, (x, y))
    if value is exact or op[1].get("saturate") or op[0] == "rescale":
        assert (value.lo[0], value.hi[0]) == (every.min(), every.max())
    else:  # wraps: all that the dtype holds
        assert (value.lo[0], value.hi[0]) == INT8.limits
        assert exact.lo[0] < -128 or exact.hi[0] > 127


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(UNARY), SMALL)
def test_the_interval_of_one_operand_is_what_it_can_give(op, x):
    value, exact, every = results(*op, (x,))
    if op[0] in ("neg", "abs") and x[0] == -128:  # -(-128) wraps
        assert exact.hi[0] == 128
        assert (value.lo[0], value.hi[0]) == INT8.limits
    else:
        assert (value.lo[0], value.hi[0]) == (every.min(), every.max())


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(2, 12), st.integers(-(2**15), 2**15 - 1), st.integers(0, 6000))
def test_a_table_is_bounded_by_its_entries_and_the_ends_of_the_interval(seed, bits, low, width):
    rng = np.random.default_rng(seed)
    for dtype, entries in ((INT8, 256), (INT16, 2**bits + 1)):
        lo, hi = np.clip([low, low + width], *dtype.limits).tolist()
        table = rng.integers(-(2**15), 2**15, entries).astype(np.int16)
        tensors = [Tensor("x", (1,), dtype), Tensor("t", table.shape, INT16, data=table)]
        xs = np.arange(lo, hi + 1).astype(dtype.numpy)[:, None]
        every = OPS["lookup"].evaluate([xs, table[None]], {}, tensors)[0]
        node = Node(0, "lookup", ("x", "t"), "y", {})
        found = bounds_of(node, [Interval.of([lo], [hi]), Interval.of(table)], tensors, Tensor("y", (1,), INT16)).value
        assert (found.lo[0], found.hi[0]) == (every.min(), every.max())


def test_sums_are_bounded_by_the_signs_of_their_weights():
    b, rng = GraphBuilder("g"), np.random.default_rng(0)
    x, s = b.input("x", (3, 9), INT8), b.input("s", (7,), SPIKE)
    w, event = rng.integers(-50, 50, (4, 9)), rng.integers(-50, 50, (4, 7))
    dense = b.op("linear", x, b.const("w", w, INT8), accumulate="int32", out="dense")
    added = b.op(
        "linear", s, b.const("e", event, INT8), b.const("c", [1, 2, 3, 4], INT16), accumulate="int16", out="e1"
    )
    rows = b.op("sum", dense, axis=0, out="rows")
    running = b.op("cumsum", dense, axis=1, reverse=True, exclusive=True, out="running")
    b.output(added, rows, running)
    found = analyse(b.build()).values
    plus, minus = np.maximum(w, 0).sum(1), np.minimum(w, 0).sum(1)
    high, low = 127 * plus - 128 * minus, -128 * plus + 127 * minus
    assert np.array_equal(found["dense"].hi, np.tile(high, (3, 1)))
    assert np.array_equal(found["rows"].lo, 3 * low)
    assert np.array_equal(found["running"].hi[0], [high[1:].sum(), high[2:].sum(), high[3], 0])
    assert np.array_equal(found["e1"].hi, np.maximum(event, 0).sum(1) + np.arange(1, 5))


def test_inputs_may_be_narrower_than_their_dtype():
    b = GraphBuilder("g")
    b.output(b.op("add", b.input("x", (2,), INT8), b.input("y", (2,), INT8), out="z"))
    graph = b.build()
    assert [f.tensor for f in analyse(graph).overflows] == ["z"]
    given = {"x": Interval.of([-60, 3], [60, 3]), "y": Interval.of(-60, 60)}
    ranges = analyse(graph, given)
    assert not ranges.overflows
    assert ranges.values["z"].lo.tolist() == [-120, -57]


def test_only_integer_steps_have_proven_ranges():
    b = GraphBuilder("g")
    b.output(b.op("neg", b.input("x", (2,))))
    with pytest.raises(UsageError, match="computes with reals"):
        analyse(b.build())


# --- leaks ------------------------------------------------------------------------------------------------------------

FACTORS = (0, 1, 16384, 29491, 32440, 32700, 32735)


def driven(graph: Graph, inputs: np.ndarray) -> np.ndarray:
    """The state after every step of streams [N, T, n]."""
    (state,) = (s.tensor for s in graph.states)
    interpreter, states = Interpreter(graph), []
    at = interpreter.initial_state(len(inputs))
    for t in range(inputs.shape[1]):
        _, at = interpreter.execute({graph.entries["step"].inputs[0]: inputs[:, t]}, at)
        states.append(at[state].astype(np.int64))
    return np.stack(states, axis=1)


def test_a_leak_is_bounded_by_its_l1_gain_and_reaches_it():
    graph = leaky(FACTORS, most=20)
    proof = analyse(graph).states["s"]
    assert proof.method == "l1 gain"
    exact = np.array([20 / (1 - k / 2**15) for k in FACTORS])
    states = driven(graph, np.stack([np.full((4000, len(FACTORS)), v, np.int8) for v in (-128, 127)]))
    assert np.array_equal(states[1].max(axis=0), proof.hi)
    assert np.array_equal(states[0].min(axis=0), proof.lo)
    assert (proof.hi <= exact + proof.rounding + 1).all()


def test_the_residue_of_silence_is_what_the_certificate_says():
    """The largest state that silence leaves is the whole number below half an LSB / (1 - decay), to the last bit."""
    graph = leaky(FACTORS)
    proof = analyse(graph).states["s"]
    inputs = np.zeros((2, 9000, len(FACTORS)), np.int8)
    inputs[0, :2000], inputs[1, :2000] = 127, -128
    rest = driven(graph, inputs)[:, -1]
    bound = np.array([Fraction(1, 2) / (1 - Fraction(k, 2**15)) for k in FACTORS])
    assert np.allclose(proof.residue, bound.astype(float), rtol=1e-12)
    assert rest[0].tolist() == [floor(f) if k else 0 for f, k in zip(bound, FACTORS, strict=True)]
    assert (np.abs(rest) <= proof.residue).all()


@settings(max_examples=12, deadline=None)
@given(SEEDS)
def test_a_leak_stays_within_its_rounding_bound_of_exact_arithmetic(seed):
    """Also where it saturates: both are clipped at the same ends."""
    rng, graph = np.random.default_rng(seed), leaky(FACTORS)
    ranges = analyse(graph)
    proof = ranges.states["s"]
    assert proof.method == "saturates"
    assert "L1 gain 3.86 x the range: " in proof.note, "what a proof would take"
    held = rng.integers(-128, 128, (1, 30, len(FACTORS)))
    inputs = np.repeat(held, 20, axis=1).astype(np.int8)
    inputs[rng.random(inputs.shape) < 0.2] = 127
    states, exact = driven(graph, inputs)[0], np.zeros(len(FACTORS))
    kappa, most = np.array(FACTORS) / 2**15, INT16.limits
    for x, s in zip(inputs[0], states, strict=True):
        exact = np.clip(kappa * exact + np.clip(x.astype(np.int64), -127, 127), *most)
        assert (np.abs(s - exact) <= proof.rounding * (1 + 1e-9)).all()


def test_an_integrator_saturates_and_says_so():
    b = GraphBuilder("g")
    s = b.state("s", np.zeros(2), INT16)
    x = b.op("cast", b.input("x", (2,), INT8), to="int16")
    b.update(s, b.op("add", s, x, saturate=True, out="total"))
    b.output(x)
    ranges = analyse(b.build())
    proof = ranges.states["s"]
    assert proof.method == "saturates"
    assert "2 of 2 elements keep all they get" in proof.note
    assert proof.residue.tolist() == [0, 0], "what is added is kept, but silence adds nothing"
    assert [f.tensor for f in ranges.saturations] == ["total"]
    assert (proof.lo.min(), proof.hi.max()) == INT16.limits


def test_an_integrator_that_wraps_is_no_proof():
    b = GraphBuilder("g")
    s = b.state("s", np.zeros(2), INT16)
    b.update(s, b.op("add", s, b.op("cast", b.input("x", (2,), INT8), to="int16"), out="total"))
    b.output(s)
    ranges = analyse(b.build())
    assert ranges.states["s"].method == "interval"
    assert "total may wrap" in ranges.states["s"].note
    assert [(f.kind, f.tensor, f.lo, f.hi) for f in ranges.overflows] == [("add", "total", -32896.0, 32894.0)]


def test_an_int32_leak_is_proven_as_well():
    factors = [2**31 - 2**k for k in (30, 24, 20)]
    proof = analyse(leaky(factors, INT32)).states["s"]
    assert proof.method == "l1 gain"
    assert np.allclose(proof.hi, [127 / (1 - k / 2**31) for k in factors], rtol=5e-3)


# --- spiking membranes ------------------------------------------------------------------------------------------------

NEURONS = [(29491, 4000, (1500, 1500, -2000, -500)), (32440, 900, (700, 40, -3)), (3277, 12000, (9000, -8000))]


def extremes(graph: Graph, weights: Sequence[int], threshold: int, steps: int = 3000) -> tuple[int, int]:
    """The highest and lowest membrane that greedy inputs reach: all excitation, all inhibition, and one then the other
    at every level of the membrane."""
    up, down = np.array(weights) > 0, np.array(weights) < 0
    interpreter, best = Interpreter(graph), [0, 0]
    wanted = np.linspace(-abs(min(weights)), threshold * 1.2, 60)  # excite below it, and once above
    at = interpreter.initial_state(len(wanted) + 2)
    for _ in range(steps):
        v = at["v"][:, 0].astype(np.int64)
        excite = np.concatenate([v[:-2] <= wanted, [True, False]])
        x = np.where(excite[:, None], up, down)
        _, at = interpreter.execute({"x": x}, at)
        best = [max(best[0], int(at["v"].max())), min(best[1], int(at["v"].min()))]
    return best[0], best[1]


@pytest.mark.parametrize("reset", ["delayed", "in_place", "zero"])
@pytest.mark.parametrize("neuron", NEURONS)
def test_a_membrane_keeps_within_the_formula_and_comes_near_the_bound(neuron, reset):
    beta, threshold, weights = neuron
    graph = lif(*neuron, reset=reset)
    proof = analyse(graph).states["v"]
    kappa, up, down = beta / 2**15, sum(w for w in weights if w > 0), -sum(w for w in weights if w < 0)
    rounding = 0.5 / (1 - kappa) + 1
    upper = max(kappa * threshold + up, (up - threshold) / (1 - kappa))
    lower = (down + threshold) / (1 - kappa)
    assert proof.method == "invariant"
    assert "reset where it fires" in proof.note
    assert proof.hi[0] <= upper + rounding
    assert proof.lo[0] >= -lower - rounding
    highest, lowest = extremes(graph, weights, threshold)
    assert proof.lo[0] <= lowest <= 0.99 * proof.lo[0]
    assert 0.95 * proof.hi[0] <= highest <= proof.hi[0]


def test_a_membrane_without_leak_saturates_and_says_so():
    b = GraphBuilder("g")
    x, v = b.input("x", (2,), SPIKE), b.state("v", np.zeros(1), INT16)
    current = b.op("linear", x, b.const("w", [[500, -700]], INT16), accumulate="int16")
    level = b.const("thr", 4000, INT16)
    back = b.op("where", b.op("gt", v, level), b.const("on", -4000, INT16), b.const("off", 0, INT16))
    new = b.op("add", b.op("add", v, back), current, saturate=True, out="new")
    b.update(v, new)
    b.output(new)
    ranges = analyse(run_passes(b.build(), LOWER))
    proof = ranges.states["v"]
    assert proof.method == "saturates"
    assert "1 of 1 elements keep all they get" in proof.note
    assert (proof.lo[0], proof.hi[0]) == (-32768, 4500)
    assert not ranges.overflows


# --- memories ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("order", "theta"), [(4, 10), (6, 40), (12, 90)])
def test_a_memory_has_the_l1_gain_of_its_matrices(order, theta):
    proof = analyse(memory(order, theta)).states["m"]
    assert proof.method == "l1 gain"
    assert f"spectral radius {np.abs(np.linalg.eigvals(legendre(order, theta)[0])).max():.3f}"[:20] in proof.note
    shape = impulse_gain(*legendre(order, theta), 8000)
    expected = shape / shape.max() * 0.9 * 2**15
    found = np.maximum(-proof.lo, proof.hi)[0]
    # the weights are rounded to 15 bits, and each step of the memory to an LSB
    assert (np.abs(found - expected) <= 0.01 * expected + proof.rounding[0] + 2).all()


def test_a_memory_that_feeds_itself_has_the_gain_of_the_closed_loop():
    order, theta, feedback = 6, 40, np.array([0.5, 0.2, 0.01, 0, 0, 0])
    a, drive = legendre(order, theta)
    loop = a + np.outer(drive, feedback)
    proof = analyse(memory(order, theta, 0.9, feedback)).states["m"]
    assert proof.method == "l1 gain"
    found, shape = np.maximum(-proof.lo, proof.hi)[0], impulse_gain(loop, drive, 8000)
    assert (np.abs(found / found.max() - shape / shape.max()) <= 0.03).all()
    alone = impulse_gain(a, drive, 8000)
    assert (np.abs(found / found.max() - alone / alone.max()) > 0.1).any(), "another loop than that without feedback"


def test_an_unstable_loop_is_never_proven():
    order, theta, feedback = 6, 40, np.array([3.0, 0, 0, 0, 0, 0])
    a, drive = legendre(order, theta)
    assert np.abs(np.linalg.eigvals(a + np.outer(drive, feedback))).max() > 1
    ranges = analyse(memory(order, theta, 0.05, feedback))
    proof = ranges.states["m"]
    assert proof.method == "saturates"
    assert "closed loop with no contraction found (spectral radius 1." in proof.note
    assert not ranges.overflows


def test_a_memory_that_does_not_fit_saturates_and_says_by_how_much():
    proof = analyse(memory(6, 40, 2.5)).states["m"]
    assert proof.method == "saturates"
    assert "L1 gain 2.5 x the range" in proof.note
    assert (proof.lo.min(), proof.hi.max()) == INT16.limits
    assert (proof.residue < 100).all(), "what silence leaves holds as soon as nothing saturates"


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.sampled_from([None, (0.5, 0.2, 0.01, 0, 0, 0)]))
def test_a_memory_stays_within_its_rounding_bound_of_exact_arithmetic(seed, feedback):
    graph, rng = memory(6, 40, 0.9, feedback), np.random.default_rng(seed)
    proof = analyse(graph).states["m"]
    consts = {n: t.data.astype(np.float64) for n, t in graph.consts.items()}
    a, b, times = consts["A"], consts["B"][:, 0], float(consts["times"]) / 2**31
    inputs = np.repeat(rng.integers(-128, 128, (1, 60, 1)), 5, axis=1).astype(np.int8)
    states, exact = driven(graph, inputs)[0][:, 0], np.zeros(6)
    for x, m in zip(inputs[0, :, 0], states, strict=True):
        u = 16.0 * x if feedback is None else 16.0 * x + consts["e_m"][0] @ exact / 2**10
        exact = (a @ exact + b * u) * times
        assert (np.abs(m - exact) <= proof.rounding[0] * (1 + 1e-9)).all()


@pytest.mark.parametrize("feedback", [None, (0.5, 0.2, 0.01, 0, 0, 0)])
def test_what_silence_leaves_of_a_memory_is_within_the_residue(feedback):
    graph, rng = memory(6, 40, 0.9, feedback), np.random.default_rng(0)
    proof = analyse(graph).states["m"]
    inputs = np.zeros((40, 3000, 1), np.int8)
    inputs[:, :200] = np.repeat(rng.integers(-128, 128, (40, 20, 1)), 10, axis=1)
    rest = np.abs(driven(graph, inputs)[:, -1, 0])
    assert (rest <= proof.residue[0]).all()
    assert rest.max() > 0, "a memory of integers does not come to rest at zero"


def test_channels_of_one_memory_are_independent():
    one, three = (analyse(memory(4, 20, channels=n)).states["m"] for n in (1, 3))
    assert np.array_equal(three.hi, np.tile(one.hi, (3, 1)))


def test_a_memory_of_a_bounded_function_is_bounded_by_it():
    ranges = analyse(bounded(0.98))
    proof = ranges.states["m"]
    assert proof.method == "l1 gain"
    assert np.allclose(proof.hi, 32767 * 2**14, rtol=1e-3)
    assert 32700 < ranges.values["step.lookup2"].hi.max() <= 32767


def test_a_state_that_holds_a_function_is_bounded_by_it():
    b, rng = GraphBuilder("g"), np.random.default_rng(0)
    x, h = b.input("x", (4,), INT8), b.state("h", np.zeros(5), INT16)
    w, r = (b.const(n, rng.integers(-9, 9, shape), INT8) for n, shape in (("w", (5, 4)), ("r", (5, 5))))
    z = b.op("linear", h, r, b.op("linear", x, w, accumulate="int32"), accumulate="int32")
    narrow = b.op("rescale", z, b.const("many", 99, INT8), shift=0, to="int16")
    new = b.op("lookup", narrow, b.const("t", np.linspace(-1000, 2000, 33), INT16))
    b.update(h, new)
    b.output(new)
    proof = analyse(b.build()).states["h"]
    assert (proof.method, proof.lo.min(), proof.hi.max()) == ("bounded function", -1000, 2000)


def test_states_of_any_other_kind_get_an_interval_that_no_step_leaves():
    b = GraphBuilder("g")
    x = b.op("cast", b.input("x", (3,), INT8), to="int16")
    s, t = b.state("s", np.zeros(3), INT16), b.state("t", np.full(3, 7), INT16)
    half = b.const("half", 16384, INT16)
    b.update(s, b.op("add", b.op("relu", b.op("rescale", t, half, shift=15, to="int16")), x, saturate=True))
    b.update(t, b.op("sub", b.op("rescale", s, half, shift=15, to="int16"), x, saturate=True))
    b.output(x)
    ranges = analyse(b.build())
    assert {p.method for p in ranges.states.values()} == {"interval"}
    assert not ranges.saturations
    assert max(p.hi.max() for p in ranges.states.values()) < 400


def test_a_state_without_an_update_is_its_first_value():
    b = GraphBuilder("g")
    b.state("s", [3, -4], INT8)
    b.output(b.op("neg", "s"))
    proof = analyse(b.build()).states["s"]
    assert (proof.lo.tolist(), proof.hi.tolist()) == ([3, -4], [3, -4])


# --- the L1 gain itself -----------------------------------------------------------------------------------------------


def system(seed: int, n: int, radius: float, c: int = 3, noises: int = 2) -> System:
    """A recurrence with random matrices, inputs that need not be centred, and roundings."""
    rng = np.random.default_rng(seed)
    f = rng.normal(size=(n, n))
    f *= radius / np.abs(np.linalg.eigvals(f)).max()
    ends = np.sort(rng.integers(-100, 100, (2, c)), axis=0)
    lo, hi = np.concatenate([ends[0], -np.full(noises, 0.5)]), np.concatenate([ends[1], np.full(noises, 0.5)])
    watch = {"y": (rng.normal(size=(2, n)), rng.normal(size=(2, c + noises)))}
    return System(("s",), f, rng.normal(size=(n, c + noises)), Interval(lo, hi), noises, watch)


def summed(s: System, init: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of states and of the watched value, by adding up step after step."""
    x, free, low, high = s.G, init.astype(float), np.zeros(len(init)), np.zeros(len(init))
    c, d = s.observed["y"]
    seen, ylow, yhigh = [], np.zeros(2), np.zeros(2)

    def ends(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        plus, minus = np.maximum(matrix, 0), np.minimum(matrix, 0)
        return plus @ s.w.lo + minus @ s.w.hi, plus @ s.w.hi + minus @ s.w.lo

    direct = ends(d)
    for _ in range(steps):
        seen.append(
            np.concatenate([free + low, free + high, c @ free + ylow + direct[0], c @ free + yhigh + direct[1]])
        )
        (l1, h1), (l2, h2) = ends(x), ends(c @ x)
        low, high, ylow, yhigh = low + l1, high + h1, ylow + l2, yhigh + h2
        x, free = s.F @ x, s.F @ free
    n = len(init)
    seen = np.array(seen)
    lo, hi = seen[:, :n].min(0), seen[:, n : 2 * n].max(0)
    return np.concatenate([lo, seen[:, 2 * n : 2 * n + 2].min(0)]), np.concatenate([hi, seen[:, 2 * n + 2 :].max(0)])


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 9), st.sampled_from([0.0, 0.3, 0.9, 0.99]), st.booleans())
def test_the_gain_is_the_sum_of_magnitudes_and_hardly_more(seed, n, radius, starts):
    s = system(seed, n, radius)
    init = np.random.default_rng(seed).integers(-50, 50, n) * starts
    found = gain.Gains().reach(s, init)
    lo, hi = summed(s, init, 1500)
    low = np.concatenate([found.states.lo, found.observed["y"].lo])
    high = np.concatenate([found.states.hi, found.observed["y"].hi])
    assert (low <= lo + 1e-9 * np.abs(lo)).all()
    assert (high >= hi - 1e-9 * np.abs(hi)).all()
    if radius and not starts:  # else states are apart, or first values and inputs are bounded apart
        slack = 0.08 * np.maximum(hi, -lo).max()
        assert (low >= lo - slack).all()
        assert (high <= hi + slack).all()


def test_a_sum_that_costs_too_much_is_bounded_by_its_energy(monkeypatch):
    s, init = system(5, 12, 0.97), np.zeros(12)
    exact = gain.Gains().reach(s, init)
    monkeypatch.setattr(gain, "WORK", 1.0)
    rough = gain.Gains().reach(s, init)
    assert (rough.states.hi >= exact.states.hi).all()
    assert (rough.states.hi <= 12 * exact.states.hi + 100).all()
    assert (rough.rounding >= exact.rounding).all()


def test_inputs_that_act_alike_are_one_input():
    s = system(3, 6, 0.9, c=4)
    doubled = System(
        s.states,
        s.F,
        np.concatenate([s.G[:, :4], -3 * s.G[:, :4], s.G[:, 4:]], axis=1),
        Interval(*(np.concatenate([side[:4], side[:4], side[4:]]) for side in (s.w.lo, s.w.hi))),
        s.noises,
    )
    columns, w, stray = gain._merged(doubled.G[:, :8], Interval(doubled.w.lo[:8], doubled.w.hi[:8]))
    assert columns.shape == (6, 4)
    assert np.allclose(np.sort(w.hi - w.lo), np.sort(4 * (s.w.hi - s.w.lo)[:4] * np.abs(s.G[:, :4]).max(0)))
    assert stray.max() < 1e-10
    one, two = (gain.Gains().reach(x, np.zeros(6)) for x in (s, doubled))
    assert (two.states.hi - two.states.lo > one.states.hi - one.states.lo).all()


@pytest.mark.parametrize("radius", [1.0, 1.0001, 3.0])
def test_what_does_not_contract_has_no_gain(radius):
    assert gain.Gains().reach(system(1, 5, radius), np.zeros(5)) is None


def test_a_recurrence_too_large_for_its_powers_has_no_gain(monkeypatch):
    monkeypatch.setattr(gain, "MOST_STATES", 5)
    proof = analyse(memory(6, 40)).states["m"]
    assert proof.method == "saturates"
    assert "no contraction found (6 states act on each other)" in proof.note
    assert analyse(memory(4, 20, channels=9)).states["m"].method == "l1 gain", "36 states, four at a time"


def test_parts_that_do_not_act_on_each_other_are_apart():
    matrix = np.zeros((5, 5))
    matrix[0, 3] = matrix[1, 1] = matrix[4, 2] = 1
    assert [c.tolist() for c in gain.components(matrix)] == [[0, 3], [1], [2, 4]]


# --- weights that change ---------------------------------------------------------------------------------------------


def test_weights_that_another_entry_changes_may_be_anything():
    """Products of rows with them, either way, before and after the sum is narrowed."""
    b = GraphBuilder("learned")
    x = b.input("x", (2, 3), INT16)
    w = b.state("w", np.ones((4, 3)), INT16, reset="keep")
    c = b.const("c", [0, 5, -(2**20), 2**20], INT32)
    b.output(b.op("matvec", x, w, c, shift=4, to="int32"), b.op("matvec_t", b.input("t", (4,), INT16), w, to="int16"))
    b.entry("learn")
    b.update(w, b.op("outer_add", w, b.input("a", (4,), INT16), b.input("b", (3,), INT16), shift=3))
    b.output(b.op("reshape", w, shape=(12,)))
    graph = b.build()
    given = Interval.of(np.full((2, 3), -7), np.full((2, 3), 5))
    found = analyse(graph, {"x": given, "t": Interval.of(np.zeros(4), [0, 0, 1, 1])})
    up, back = graph.entries["step"].outputs
    assert (found.values["w"].lo == -(2**15)).all()
    assert (found.values["w"].hi == 2**15 - 1).all()
    reach = 3 * 7 * 2**15
    expected = [np.floor((side * reach + np.array([0, 5, -(2**20), 2**20]) + 8) / 16) for side in (-1, 1)]
    np.testing.assert_array_equal(found.values[up].lo, [expected[0]] * 2)
    np.testing.assert_array_equal(found.values[up].hi, [expected[1]] * 2)
    assert (found.values[back].lo == -(2**15)).all()
    assert [f.tensor for f in found.saturations] == [back]
    assert not found.overflows


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 3), st.sampled_from([0, 1, 5, 9]))
def test_an_update_is_within_its_interval(seed, rows, shift):
    rng = np.random.default_rng(seed)
    shapes = [(3, 5), (rows, 3), (rows, 5)]
    ends = [np.sort(rng.integers(-(2**12), 2**12, (2, *shape)), axis=0) for shape in shapes]
    tensors = [Tensor(f"v{i}", shape, INT16) for i, shape in enumerate(shapes)]
    node = Node(0, "outer_add", tuple(t.name for t in tensors), "y", {"shift": shift})
    bounds = bounds_of(node, [Interval.of(*e) for e in ends], tensors, Tensor("y", (3, 5), INT16)).value
    drawn = [rng.integers(lo, hi + 1, (64, *lo.shape)).astype(np.int16) for lo, hi in ends]
    for array, (lo, hi) in zip(drawn, ends, strict=True):
        array[:32] = np.where(rng.random((32, *lo.shape)) < 0.5, lo, hi)
    (y,) = OPS["outer_add"].evaluate(drawn, {"shift": shift}, tensors)
    assert (bounds.lo <= y).all()
    assert (y <= bounds.hi).all()
