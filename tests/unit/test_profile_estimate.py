"""Estimates: ranges of sourced figures, what nobody has sourced said as such, and gaps where a figure is missing."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from edgekit.profile.estimate import Estimate, estimates
from edgekit.profile.grades import ESTIMATED, UNAVAILABLE
from edgekit.target import Power, Range, Target, list_targets, load_target


def by_name(instructions: float, target: Target) -> dict[str, Estimate]:
    return {found.name: found for found in estimates(instructions, target)}


def test_a_microcontroller_takes_energy_by_the_cycle():
    watch = load_target("smartwatch-m33")
    found = by_name(1000.0, watch)
    time, energy = found["time per step"], found["energy per step"]
    cycles, each = watch.power.cycles_per_instruction, watch.power.joules_per_cycle
    assert time.low == pytest.approx(1000 * cycles.low / 128e6)
    assert time.value == pytest.approx(1000 * 1.42 / 128e6)
    assert time.high == pytest.approx(1000 * cycles.high / 128e6)
    assert energy.low == pytest.approx(1000 * cycles.low * each.low)
    assert energy.value == pytest.approx(1000 * 1.42 * 183e-12)
    assert energy.high == pytest.approx(1000 * cycles.high * each.high)
    assert energy.formula == "1,000 instructions · 1 to 1.83 cycles · 155 to 389 pJ"
    assert (time.grade, energy.grade, len(found)) == (ESTIMATED, ESTIMATED, 2)
    assert not time.assumptions, "cycles per instruction are sourced"
    assert any("tiny_results" in source for source in time.sources)
    assert any("nordicsemi" in source for source in energy.sources)
    assert any("float arithmetic takes more" in text for text in energy.assumptions)


def test_an_anchor_that_was_measured_elsewhere_lies_in_the_range():
    """MLPerf Tiny v0.7, anomaly detection on a NUCLEO-U575ZI-Q, a Cortex-M33 too: 152.6 µJ an inference, measured."""
    watch = load_target("smartwatch-m33")
    energy = by_name(264_192 * 2.14, watch)["energy per step"]
    assert energy.low < 152.6e-6 < energy.high


def test_a_board_takes_what_a_busy_core_adds_and_idle_beside_it():
    pi = load_target("raspberrypi4")
    found = by_name(30_000.0, pi)
    time, energy, whole = found.values()
    assert time.value == pytest.approx(30_000 / 1.5e9)
    assert time.low < time.value < time.high
    assert "nobody has sourced" in time.assumptions[0]
    assert energy.low == pytest.approx(time.low * pi.power.core_watts.low)
    assert energy.value == pytest.approx(time.value * 0.925)
    assert energy.high == pytest.approx(time.high * 3.7)
    assert whole.name == "energy per step, with idle"
    assert whole.value == pytest.approx(time.value * (0.925 + 2.7))
    assert time.assumptions[0] in energy.assumptions
    assert any("pidramble" in source for source in energy.sources)


@pytest.mark.parametrize("name", [name for name in list_targets() if name != "host"])
def test_a_gap_stays_a_gap(name):
    target = load_target(name)
    found = by_name(1000.0, target)
    energy = found["energy per step"]
    if target.power == Power():
        assert (energy.value, energy.low, energy.high, energy.grade) == (None, None, None, UNAVAILABLE)
        assert name in energy.formula
    for one in found.values():
        assert (one.value is None) == (one.grade == UNAVAILABLE)
        if one.value is not None:
            assert 0 < one.low <= one.value <= one.high
            assert one.sources
        assert "measured" not in asdict(one).values()


def test_power_without_a_time_is_no_energy():
    blind = replace(load_target("raspberrypi4"), clock_hz=None)
    time, energy = estimates(1000.0, blind)
    assert (time.grade, energy.grade) == (UNAVAILABLE, UNAVAILABLE)
    assert energy.formula == "no sourced time of raspberrypi4"


def test_a_figure_that_is_certain_is_no_range():
    target = replace(
        load_target("raspberrypi4"), power=Power(core_watts=Range(2, 2, 2), sources={"core_watts": "a book"})
    )
    assert by_name(1000.0, target)["energy per step"].formula == "time per step · 2 W"
