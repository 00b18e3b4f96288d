"""The released ELM neuron with fewer levels: coded smaller than the goal, and the soma where it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.compress.integer import quantise_program
from edgekit.compress.recipes import recipe
from tools.elm_released import GOAL_MV, NEURON, STRETCH_BYTES, TEST, Neuron, coded_bytes, swings, trains

LEVELS = {
    "step.mul5.reshape.sum.weights": 78,
    "mlp.network.0.weight.from0": 63,
    "mlp.network.0.weight.from45": 25,
    "mlp.network.2.weight.folded": 90,
}


@pytest.mark.drawn(2)
def test_forty_kilobytes_of_coded_weights_keep_the_soma(shared: Path) -> None:
    assert (shared / "golden" / NEURON).is_file()
    neuron = Neuron.read()
    program = quantise_program(neuron.optimised, neuron.seen, recipe("int8").widened(levels=LEVELS))
    assert coded_bytes(program.graph) <= STRETCH_BYTES
    for name, n in LEVELS.items():
        assert program.rounded[name].largest == n
    given = {"golden": neuron.golden, "1 %": trains(0.01, TEST + 50), "5 %": trains(0.05, TEST + 51)}
    wanted = {name: neuron.soma(neuron.exact, x) for name, x in given.items()}
    assert max(neuron.errors(program.graph, given, wanted).values()) <= GOAL_MV


def test_spike_trains_are_of_both_kinds_and_as_often_as_asked() -> None:
    for x in (trains(0.03, 1, 2), swings(1, 2)):
        assert x.shape == (2, 300, 1278)
        assert set(map(float, (x[..., :639].min(), x[..., :639].max()))) == {0.0, 1.0}
        assert set(map(float, (x[..., 639:].min(), x[..., 639:].max()))) == {-1.0, 0.0}
    assert trains(0.03, 1, 2).astype(bool).mean() == pytest.approx(0.03, rel=0.02)
