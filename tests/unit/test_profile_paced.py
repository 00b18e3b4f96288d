"""Steps at a rate: deadlines, lateness and misses, with real sleeps."""

from __future__ import annotations

import json

import numpy as np
import pytest
from converted import artifact

from edgekit.errors import UsageError
from edgekit.profile import measurer
from edgekit.profile.measurer import Measurer, program_for
from edgekit.profile.paced import Paced, paced_of
from edgekit.profile.places import Here
from edgekit.profile.stimulus import selftest_stimulus
from edgekit.profile.timing import MeasurePlan


def paced(rate_hz: float, seconds: float, precision: str = "fp32") -> tuple[Paced, int]:
    """Steps of a small program at a rate, and how long that took, ns."""
    converted = artifact("mlp", precision)
    with Here() as place:
        plan = MeasurePlan(0, 0.01, 0.0, rate_hz, seconds)
        _, timings, found, marks = Measurer(place).time(
            program_for(place, converted), selftest_stimulus(converted), plan
        )
    assert timings == ()
    assert found is not None
    assert [mark.name for mark in marks] == ["paced"]
    assert marks[0].steps == found.steps
    return found, marks[0].end_ns - marks[0].begin_ns


def test_a_miss_is_a_step_that_ends_after_the_next_deadline_or_never_starts():
    late, step = np.array([0, 400, 600, 10]), np.array([100, 500, 500, 2000])
    found = paced_of(1e6, "how", 6, late, step, preempted=2)
    assert found.misses == 2 + 2
    assert (found.deadlines, found.steps) == (6, 4)
    assert found.late.max == 0.6
    assert found.step.min == 0.1
    assert sum(found.histogram.counts) == 4
    assert json.loads(json.dumps(found.to_dict()))["late"]["n"] == 4


def test_steps_wait_for_their_deadlines():
    found, took_ns = paced(100.0, 0.3)
    assert found.deadlines == 30
    assert 20 < found.steps == found.late.n == found.step.n <= 30, "a busy computer may miss the last"
    assert took_ns >= found.deadlines * 10_000_000, "every step has its period, the last one too"
    assert found.late.min >= 0, "no step starts before its deadline"
    assert found.rate_hz == 100.0


def test_a_step_after_a_sleep_takes_longer_than_one_after_another():
    converted = artifact("mlp")
    with Here() as place:
        plan = MeasurePlan(2, 0.03, 0.01, rate_hz=100.0, paced_seconds=0.2)
        _, (step, _), found, _ = Measurer(place).time(program_for(place, converted), selftest_stimulus(converted), plan)
    assert found is not None
    assert found.step.p50 > step.median_us


def test_a_rate_that_cannot_be_kept_is_said_to_be_missed():
    found, took_ns = paced(1e6, 0.02)
    assert found.deadlines == 20_000
    assert found.misses > 0
    assert found.steps <= found.deadlines
    assert took_ns < 1e9, "what was not started by the end is not made up for"


@pytest.mark.parametrize("rate", [0.0, -1.0, 1e7, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(UsageError, match="cannot be kept"):
        paced(rate, 0.1)


def test_a_measurement_of_too_many_deadlines_is_refused():
    with pytest.raises(UsageError, match=r"36,000,000 deadlines.*at most 4,194,304"):
        paced(10_000.0, 3600.0)


def test_a_slow_rate_is_waited_for(monkeypatch):
    monkeypatch.setattr(measurer, "GRACE_S", 0.5)
    found, _ = paced(1.0, 0.1)
    assert (found.deadlines, found.steps, found.misses) == (1, 1, 0)
