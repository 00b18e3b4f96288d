"""Accuracy of integer programs: a part of the real windows for each family here, all of them in the sweeps."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgekit.convert.agreement import decisions
from edgekit.convert.inputs import Inputs

pytest.importorskip("torch")
from tools import integer_accuracy as tool

FAMILIES = ("mlp", "l2mu", "lmu", "elm")
FEW = 500  # windows of either side
MOST_LOST = 0.5  # points of accuracy
sweeps = pytest.mark.skipif("EDGEKIT_SWEEPS" not in os.environ, reason="make test-all takes every window")


def thinned(given: Inputs, most: int) -> Inputs:
    return {n: a[:: max(1, len(a) // most)] for n, a in given.items()}


def part(family: str) -> tool.Model:
    """A HAR model with some of its windows, of all subjects."""
    whole = tool.har(family)
    assert whole.labels is not None
    every = max(1, len(whole.labels) // FEW)
    return tool.Model(
        family,
        whole.graph,
        whole.meta,
        thinned(whole.calibration, FEW),
        {n: a[::every] for n, a in whole.test.items()},
        whole.labels[::every],
    )


def accuracies(model: tool.Model, precision: str) -> tuple[float, float, float]:
    """Per cent right before and after, and per cent decided alike, on the test windows."""
    rule = model.rule
    assert rule is not None
    program = model.integer(precision, "min-max").graph
    before, after = (decisions(graph, model.test, rule) for graph in (model.exact, program))
    return tuple(
        100 * float(np.mean(a == b)) for a, b in ((before, model.labels), (after, model.labels), (before, after))
    )


@pytest.mark.drawn(2)
@pytest.mark.parametrize("family", FAMILIES)
def test_int8_keeps_the_accuracy_of_some_windows(family: str, shared: Path) -> None:
    before, after, alike = accuracies(part(family), "int8")
    print(f"{family}: {before:.2f} % before, {after:.2f} % after, {alike:.2f} % alike")
    few = 100 / FEW
    assert before - after <= MOST_LOST + 5 * few  # of so few windows five more may go either way
    assert alike >= (92.0 if family == "l2mu" else 97.5)


@pytest.mark.drawn(2)
@pytest.mark.parametrize("name", tool.RELEASED)
def test_released_neurons_keep_their_soma(name: str, shared: Path) -> None:
    model = tool.neuron(name)
    error = tool.soma_error(model, model.integer("int8", "min-max").graph)
    print(f"{name}: {error:.4f} mV")
    assert error <= 0.15  # the goal is 0.20 by default, and 0.15 with auto, which starts from this


@sweeps
@pytest.mark.parametrize("precision", ["int8", "auto"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_window_of_split_b(family: str, precision: str, shared: Path) -> None:
    before, after, alike = accuracies(tool.har(family), precision)
    print(f"{family} {precision}: {before:.2f} % before, {after:.2f} % after, {alike:.2f} % alike")
    assert before - after <= MOST_LOST
    assert precision == "int8" or alike >= 98.5


@sweeps
@pytest.mark.parametrize("name", tool.RELEASED)
def test_auto_keeps_the_soma_of_released_neurons(name: str, shared: Path) -> None:
    model = tool.neuron(name)
    assert tool.soma_error(model, model.integer("auto", "min-max").graph) <= 0.15


@sweeps
def test_auto_decides_the_golden_braille_samples_as_the_original(shared: Path) -> None:
    _, _, alike = accuracies(tool.braille(), "auto")
    assert alike >= 97.5  # 39 of 40


def test_the_tool_prints_a_row_and_the_agreement(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["--model", "mlp", "--recipe", "int8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["model", "recipe", "bytes", "float", "integer", "agree"]
    assert lines[1].startswith("mlp ")
    assert "windows decided as by the original" in lines[2]
