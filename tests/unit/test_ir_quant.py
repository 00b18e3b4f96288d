"""Quantisation parameters: rounding is half up, and the integer multiplier is the scale."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgekit.errors import GraphError
from edgekit.ir import QuantParams
from edgekit.ir.quant import integer_multiplier


def params(scale=1.0, zero=0, qmin=-127, qmax=127):
    return QuantParams(np.array([scale], np.float32), np.array([zero], np.int32), None, qmin, qmax)


@pytest.mark.parametrize(
    ("real", "stored"),
    [(0.5, 1), (-0.5, 0), (1.5, 2), (-1.5, -1), (2.5, 3), (-2.5, -2), (0.49999997, 0), (126.5, 127), (-127.5, -127)],
)
def test_rounding_is_half_up(real, stored):
    assert params().quantize(np.array([real], np.float32)) == stored


def test_values_outside_the_range_saturate():
    stored = params(scale=0.5).quantize(np.array([1e30, -1e30, 63.6, -63.6], np.float32))
    np.testing.assert_array_equal(stored, [127, -127, 127, -127])


@given(st.integers(-127, 127), st.floats(2**-20, 2**20, width=32), st.integers(-128, 127))
def test_a_stored_integer_survives_the_way_through_its_real_value(stored, scale, zero):
    quant = params(scale, zero, qmin=-128)
    real = quant.dequantize(np.array([stored], np.int8))
    assert quant.quantize(real) == stored


@given(st.floats(-100, 100, width=32), st.floats(2**-6, 16, width=32))
def test_the_error_is_at_most_half_a_step(real, scale):
    quant = params(scale)
    x = np.clip(np.array([real], np.float32), np.float32(-127 * scale), np.float32(127 * scale))
    error = abs(float(quant.dequantize(quant.quantize(x).astype(np.int8))[0]) - float(x[0]))
    assert error <= scale * (0.5 + 1e-4)


def test_scales_run_along_their_axis():
    quant = QuantParams(np.array([1, 10], np.float32), np.array([0, 5], np.int32), 1, -127, 127)
    np.testing.assert_array_equal(quant.quantize(np.array([[20.0, 20.0]], np.float32)), [[20, 7]])
    np.testing.assert_array_equal(quant.dequantize(np.array([[20, 7]], np.int8)), [[20, 20]])
    assert len(quant.multiplier) == len(quant.shift) == 2


@given(st.floats(2.0**-126, 2.0**127, width=32, exclude_min=False))
@example(1.0)
@example(0.5)
@example(float(np.nextafter(np.float32(1), np.float32(0))))
def test_integer_multiplier_is_the_scale_to_31_bits(scale):
    multiplier, shift = integer_multiplier(scale)
    assert 2**30 <= multiplier < 2**31
    assert math.ldexp(multiplier, -shift) == pytest.approx(scale, rel=2**-31)


def test_integer_multiplier_rounds_up_into_the_next_power_of_two():
    assert integer_multiplier(1 - 2.0**-40) == (2**30, 30)
    assert integer_multiplier(1.0) == (2**30, 30)
    assert integer_multiplier(1 + 2.0**-30) == (2**30 + 1, 30)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_a_scale_that_is_not_positive_and_finite_is_refused(scale):
    with pytest.raises(GraphError, match="not a positive finite number"):
        integer_multiplier(scale)
    with pytest.raises(GraphError, match="not a positive finite number"):
        params(scale)


@pytest.mark.parametrize(
    ("scales", "axis", "low", "says"),
    [
        (([1, 1], [0]), 0, -1, "2 scales but 1 zero points"),
        (([1, 1], [0, 0]), None, -1, "without an axis"),
        (([1], [0]), None, 1, "qmin 1 is not below qmax 1"),
    ],
)
def test_parameters_that_contradict_one_another(scales, axis, low, says):
    scale, zero_point = np.array(scales[0], np.float32), np.array(scales[1], np.int32)
    with pytest.raises(GraphError, match=says):
        QuantParams(scale, zero_point, axis, low, 1)
