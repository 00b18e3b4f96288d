"""Cost against size: what is counted as touched, and which steps in cost are called cliffs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from rich.console import Console

pytest.importorskip("torch")

from edgekit.bench.scaling import ScalingReport, ScalingRow, cliffs, host_caches, run_scaling, sized_case
from edgekit.bench.timing import Schedule, Spread
from edgekit.errors import UsageError
from edgekit.profile.host import describe_host

CACHES = {"L1": 32_768, "L2": 1_048_576}


def row(hidden: int, touched: float, constants: int, us: float, family: str = "mlp") -> ScalingRow:
    return ScalingRow(family, hidden, int(touched), touched, constants, Spread(us, us, us), 0.5 * touched)


@pytest.mark.drawn(4)
@pytest.mark.slow
def test_two_sizes_are_measured_and_counted():
    pytest.importorskip("unicorn")
    report = run_scaling(["mlp", "l2mu"], [16, 32], Schedule(rounds=3, turn_s=0.001))
    assert report.complete
    small, large = report.rows[:2]
    assert small.touched <= small.weights
    assert large.touched > small.touched
    assert large.instructions > small.instructions > 0
    spiking = report.rows[3]
    assert spiking.touched < spiking.weights / 2, "columns of silent neurons are not read"
    json.dumps(report.to_dict())
    console = Console(width=140, record=True)
    report.print(console)
    assert "instr. raspberrypi4" in console.export_text()


def test_a_cliff_is_explained_by_the_cache_that_was_left_or_is_called_unexplained():
    gentle = [row(16, 1000, 4000, 0.1), row(32, 4000, 16_000, 0.4), row(64, 16_000, 64_000, 2.4)]
    assert cliffs(gentle, CACHES) == []
    steep = replace(gentle[2], step_us=Spread(4.0, 4.0, 4.0))
    assert cliffs([*gentle[:2], steep], CACHES) == ["cliff: mlp 32 → 64, 2.5 times a weight: the weights leave L1"]
    inside = [row(16, 1000, 4000, 0.1), row(32, 4000, 16_000, 1.0)]
    assert cliffs(inside, CACHES)[0].endswith("UNEXPLAINED by a cache size")
    assert cliffs([gentle[0], replace(steep, family="elm")], CACHES) == [], "families are not put side by side"


def test_a_size_that_cannot_be_built_is_a_row_that_says_why():
    fault = ScalingRow("elm", 2, fault="too small")
    report = ScalingReport(describe_host(), CACHES, (fault,))
    assert not report.complete
    console = Console(width=140, record=True)
    report.print(console)
    assert "FAILED elm 2: too small" in console.export_text()
    with pytest.raises(UsageError, match="is not known"):
        run_scaling(["gru"], [16], Schedule(1, 0.001))


def test_models_of_a_size_are_the_same_at_every_call():
    first, again = (sized_case("lmu", 16) for _ in range(2))
    assert (first.expected == again.expected).all()
    assert set(host_caches()) <= {"L1", "L2", "L3"}
