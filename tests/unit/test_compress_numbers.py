"""Numbers of the quantiser: multipliers, rounding half up, weights with error feedback, function tables."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.compress.feedback import DAMPING, Correlation
from edgekit.compress.functions import FUNCTIONS, domain_of, make_table
from edgekit.compress.stored import Spec, Stored, one_axis, tidy
from edgekit.compress.writer import MOST_DECAY_Q15, Writer, multiplier
from edgekit.ir import INT8, INT16, INT32, DType, Graph, GraphBuilder
from edgekit.reference import Interpreter

EVERY16 = np.arange(-(2**15), 2**15)


def writer() -> Writer:
    named = GraphBuilder("numbers", dt=None)
    named.output(named.input("x", (1,)))
    return Writer(named.build())


def run(made: Writer, name: str, x: np.ndarray) -> np.ndarray:
    """What the step gives for stored inputs."""
    made.builder.output(name)
    graph: Graph = made.builder.build()
    return Interpreter(graph).run({"x": x[None, None]})[0][name][0, 0]


def rescaled(x: np.ndarray, dtype: DType, ratio: float, to: DType, *, decay: bool = False) -> np.ndarray:
    made = writer()
    made.builder.input("x", x.shape, dtype)
    return run(made, made.rescale("x", np.asarray(ratio), to, "y", decay=decay), x)


@given(st.floats(2.0**-40, 2.0**12))
def test_a_multiplier_is_its_ratio_to_31_bits(ratio: float) -> None:
    times, shift = multiplier(np.asarray(ratio))
    assert 0 <= shift <= 31
    assert abs(Fraction(int(times), 2**shift) - Fraction(ratio)) <= Fraction(1, 2 ** (shift + 1))
    assert shift == 31 or times >= 2**30


@pytest.mark.parametrize("ratio", [2.0**31, 1e12, 1e30])
def test_a_ratio_beyond_int32_stays_at_its_end(ratio: float) -> None:
    assert multiplier(np.array([ratio, -ratio]))[0].tolist() == [2**31 - 1, -(2**31)]


@given(st.lists(st.floats(-0.999, 0.999), min_size=1, max_size=9))
def test_ratios_below_one_share_the_shift_that_is_one_rounding_instruction(ratios: list[float]) -> None:
    times, shift = multiplier(np.array(ratios))
    assert shift == 31
    assert np.array_equal(times, [floor(Fraction(r) * 2**31 + Fraction(1, 2)) for r in ratios])


@settings(max_examples=60)
@given(st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=20), st.floats(1e-4, 0.98))
def test_a_decay_rounds_half_up_once(values: list[int], ratio: float) -> None:
    got = rescaled(np.array(values, np.int16), INT16, ratio, INT16, decay=True)
    factor = floor(Fraction(ratio) * 2**15 + Fraction(1, 2))  # Q15, whose one instruction it is
    assert ratio < MOST_DECAY_Q15
    assert got.tolist() == [floor(Fraction(v * factor, 2**15) + Fraction(1, 2)) for v in values]


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.9, 0.9999, 1.7])
def test_nothing_is_ever_truncated(ratio: float) -> None:
    """Truncation would be off by half a unit on average; ties go up."""
    x = EVERY16[(np.abs(EVERY16) * ratio < 2**15 - 1)].astype(np.int16)
    got = rescaled(x, INT16, ratio, INT16).astype(np.float64)
    assert abs(np.mean(got - x * ratio)) < 0.02 + 0.5 * (ratio == 0.5) * 0.5
    assert np.max(np.abs(got - x * ratio)) <= 0.5 + 1e-4
    if ratio == 0.5:
        assert np.array_equal(got, np.floor(x / 2 + 0.5))


@pytest.mark.parametrize("ratio", [1.0, 2.0, 16.0, 2.0**14, 2.0**20])
def test_a_power_of_two_is_exact(ratio: float) -> None:
    x = np.array([-3, -1, 0, 1, 5], np.int16)
    assert np.array_equal(rescaled(x, INT16, ratio, INT32), x.astype(np.int64) * int(ratio))


def test_ratios_of_nothing_are_nothing() -> None:
    times, shift = multiplier(np.zeros(3))
    assert (times.tolist(), shift) == ([0, 0, 0], 31)


@settings(max_examples=60)
@given(st.integers(-128, 127), st.integers(-128, 127), st.floats(1e-3, 10), st.floats(1e-3, 10), st.sampled_from("bw"))
def test_zero_points_and_scales_convert_to_the_nearest(zero: int, other: int, a: float, b: float, width: str) -> None:
    made = writer()
    x = np.arange(-128, 128, dtype=np.int8)
    made.builder.input("x", x.shape, INT8)
    to = Spec(INT8 if width == "b" else INT16, np.asarray(b), other if width == "b" else 0)
    stored = made.convert(Stored("x", INT8, np.asarray(a), zero), to, "y")
    got = run(made, stored.name, x).astype(np.float64)
    wanted = np.clip((x.astype(np.float64) - zero) * a / b + to.zero, *to.dtype.limits)
    assert np.max(np.abs(got - wanted)) <= 0.5 + 1e-5 * np.abs(wanted).max()


def test_the_same_way_of_holding_takes_no_op() -> None:
    made = writer()
    made.builder.input("x", (3,), INT16)
    x = Stored("x", INT16, np.full(3, 0.5))
    assert made.convert(x, Spec(INT16, np.asarray(0.5)), "y") is x


def test_a_scale_varies_along_one_axis_at_most() -> None:
    rows = np.array([1.0, 2.0, 3.0])
    assert tidy(np.full((2, 3), 0.5)).ndim == 0
    values, axis = one_axis(np.broadcast_to(rows, (2, 3)), (2, 3)) or (None, None)
    assert (axis, values.tolist()) == (1, [1, 2, 3])
    assert one_axis(np.arange(6).reshape(2, 3) + 1.0, (2, 3)) is None


# --- weights with error feedback ---


def moments(features: int, seed: int = 0, samples: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Inputs that go together, and their second moments."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, max(2, features // 3))) @ rng.normal(size=(max(2, features // 3), features))
    x += 0.3 * rng.normal(size=x.shape) + 0.5
    return x, x.T @ x / len(x)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 150), st.integers(1, 9), st.sampled_from([7, 127]))
def test_feedback_stays_within_the_bits_and_keeps_zeros(seed: int, features: int, rows: int, largest: int) -> None:
    rng = np.random.default_rng(seed)
    _, h = moments(features, seed, 50)
    weights = np.where(rng.random((rows, features)) < 0.3, 0, rng.uniform(-largest, largest, (rows, features)))
    got = Correlation(h).rounded(weights, np.ones(features), largest)
    assert np.abs(got).max(initial=0) <= largest
    assert not got[weights == 0].any()
    assert np.array_equal(got, Correlation(h).rounded(weights, np.ones(features), largest))


@pytest.mark.parametrize("largest", [7, 127])
@pytest.mark.parametrize("features", [5, 64, 130])
def test_feedback_makes_sums_nearer(features: int, largest: int) -> None:
    x, h = moments(features)
    weights = np.random.default_rng(1).uniform(-largest, largest, (16, features))
    plain = np.floor(weights + 0.5)
    fed = Correlation(h).rounded(weights, np.ones(features), largest)
    errors = [np.mean((x @ (q - weights).T) ** 2) for q in (np.clip(plain, -largest, largest), fed)]
    assert errors[1] < 0.5 * errors[0]


def test_independent_inputs_round_each_weight_by_itself() -> None:
    weights = np.random.default_rng(2).uniform(-127, 127, (4, 20))
    got = Correlation(np.diag(np.arange(20.0))).rounded(weights, np.ones(20), 127)  # one of them is never anything
    assert np.array_equal(got, np.floor(weights + 0.5))


def test_feedback_knows_the_scale_of_each_input() -> None:
    """The same inputs in other units, weights in theirs: the same integers."""
    _, h = moments(12)
    units = 2.0 ** np.arange(-6, 6)
    weights = np.random.default_rng(3).uniform(-100, 100, (4, 12))
    there = Correlation(h).rounded(weights, np.ones(12), 127)
    ordered = Correlation(h * np.outer(units, units))
    ordered.order = Correlation(h).order  # the order goes by power, which has units
    close = (h / np.outer(*2 * [np.sqrt(np.diag(h))]))[np.ix_(ordered.order, ordered.order)]
    ordered.factor = np.linalg.cholesky(np.linalg.inv(close + DAMPING * np.eye(12))).T
    assert np.array_equal(ordered.rounded(weights, units, 127), there)


# --- functions by table ---


def looked_up(table: np.ndarray) -> np.ndarray:
    """What the op `lookup` gives for all arguments."""
    made = writer()
    made.builder.input("x", EVERY16.shape, INT16)
    name = made.op("lookup", "x", made.const("table", table, INT16), out="y")
    return run(made, name, EVERY16.astype(np.int16)).astype(np.float64)


@pytest.mark.parametrize("kind", ["tanh", "sigmoid"])
def test_the_stated_error_of_a_bounded_table_is_the_largest_of_all(kind: str) -> None:
    domain = domain_of(kind) or 0.0
    scale, result = domain / 32767, 1 / 32767
    table = make_table(kind, scale, result)
    off = np.abs(looked_up(table.entries) * result - FUNCTIONS[kind](EVERY16 * scale))
    beyond = np.abs(looked_up(table.entries)[[0, -1]] * result - FUNCTIONS[kind](np.array([-np.inf, np.inf])))
    assert table.error == max(off.max(), *beyond)
    assert table.error < 1e-4
    assert beyond.max() < 2.0**-15


@pytest.mark.parametrize(
    ("kind", "low", "high", "most"),
    [
        ("silu", -8, 8, 3e-4),
        ("self-tanh", -4, 4, 3e-4),
        ("exp", -4, 2, 1e-3),
        ("sqrt", 0.5, 4, 2e-3),
        ("log", 0.1, 4, 6e-3),
        ("reciprocal", 0.25, 4, 2e-2),
    ],
)
def test_the_stated_error_of_another_table_holds_where_it_was_calibrated(
    kind: str, low: float, high: float, most: float
) -> None:
    scale = max(abs(low), abs(high)) / 32767
    x = EVERY16 * scale
    inside = (x >= low) & (x <= high)
    wanted = FUNCTIONS[kind](x[inside])
    result = 2 * np.abs(wanted).max() / 32767  # the quantiser leaves as much room
    table = make_table(kind, scale, result, low, high)
    off = np.abs(looked_up(table.entries)[inside] * result - wanted)
    assert table.error == off.max()
    assert table.error <= most * np.abs(wanted).max()
