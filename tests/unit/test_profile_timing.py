"""Spreads, histograms and windows: what they say of readings, and a session timed in this process."""

from __future__ import annotations

import json

import numpy as np
import pytest
from converted import artifact

from edgekit.profile.grades import MEASURED
from edgekit.profile.spread import BINS, Histogram, Spread
from edgekit.profile.stimulus import selftest_stimulus
from edgekit.profile.timing import MeasurePlan, Window, time_steps, timing_of
from edgekit.runtime import load

QUICK = MeasurePlan(windows=3, seconds=0.02, warm_seconds=0.01)


def test_a_spread_is_that_of_its_readings():
    readings = np.random.default_rng(0).gamma(2.0, size=1001)
    spread = Spread.of(readings)
    assert spread.n == 1001
    assert (spread.min, spread.max) == (readings.min(), readings.max())
    assert spread.mean == pytest.approx(readings.mean())
    assert spread.std == pytest.approx(readings.std(ddof=1))
    for percent in (50, 90, 95, 99):
        found = getattr(spread, f"p{percent}")
        assert found == np.percentile(readings, percent, method="inverted_cdf")
        assert found in readings
    assert json.loads(json.dumps(spread.to_dict()))["p95"] == spread.p95


def test_readings_that_were_counted_spread_like_the_readings_themselves():
    values, counts = np.array([5.0, 1.0, 3.0, 9.0]), np.array([7, 2, 0, 1])
    assert Spread.counted(values, counts) == Spread.of(np.repeat(values, counts))


def test_one_reading_has_a_spread_without_width():
    assert Spread.of([4.0]) == Spread(1, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 0.0)


def test_a_histogram_has_every_reading_in_bins_of_equal_ratios():
    values = np.geomspace(0.5, 200.0, 500)
    found = Histogram.counted(values, np.full(500, 3))
    assert sum(found.counts) == 1500
    assert len(found.edges_us) == len(found.counts) + 1 == BINS + 1
    ratios = np.diff(np.log(found.edges_us))
    assert np.allclose(ratios, ratios[0])
    assert (found.edges_us[0], found.edges_us[-1]) == (0.5, 200.0)
    assert Histogram.counted(np.array([2.0, 7.0]), np.array([5, 0])).counts == (5,), "all alike: one bin"


def test_the_figure_to_quote_is_the_median_of_the_windows_medians():
    def window(nanoseconds: float, preempted: int | None = 1) -> Window:
        values = np.array([nanoseconds, 10 * nanoseconds])
        return Window(0, 1, values, np.array([9, 1]), int(19 * nanoseconds), preempted)

    timing = timing_of("step", "how", 2, [window(1000.0), window(9000.0), window(2000.0)])
    assert timing.windows == (0.5, 4.5, 1.0)
    assert timing.median_us == 1.0
    assert timing.spread.n == 30
    assert timing.spread.max == 45.0
    assert timing.spread.mean == pytest.approx(19 * 12000 / 1e3 / 2 / 30)
    assert timing.preempted == 3
    assert sum(timing.histogram.counts) == 30
    assert timing_of("step", "how", 1, [window(1.0), window(1.0, None)]).preempted is None
    assert json.loads(json.dumps(timing.to_dict()))["median_us"] == 1.0


def test_a_strict_plan_takes_five_windows_of_ten_seconds():
    plan = MeasurePlan.strict(rate_hz=20.0)
    assert plan.windows >= 5
    assert plan.seconds >= 10
    assert plan.rate_hz == 20.0
    assert MeasurePlan().windows * MeasurePlan().seconds < 3


def test_a_session_is_timed_step_by_step_and_in_streams():
    converted = artifact("l2mu")
    single, many = time_steps(load(converted), selftest_stimulus(converted), QUICK)
    assert (single.steps_each, many.steps_each) == (1, 32)
    for timing in (single, many):
        assert timing.grade == MEASURED
        assert len(timing.windows) == 3
        assert 0 < timing.spread.min <= timing.median_us <= timing.spread.max
        assert timing.preempted is None


def test_readings_of_a_clock_too_coarse_to_see_them_have_a_histogram():
    found = Histogram.counted(np.array([0.0, 1.0, 1000.0]), np.array([5, 3, 1]))
    assert sum(found.counts) == 9
    assert 0 < found.edges_us[0] < 1
    assert Histogram.counted(np.array([0.0]), np.array([4])).counts == (4,)
