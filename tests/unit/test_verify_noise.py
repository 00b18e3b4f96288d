"""What verify says to widen: the layer that was made coarse, by a name that conversion takes."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import pytest
from converted import INPUTS, module

from edgekit.compress.named import with_bits
from edgekit.compress.recipes import RECIPES
from edgekit.convert.integer import IntegerStage
from edgekit.convert.options import Options
from edgekit.convert.progress import silent
from edgekit.frontends import import_module
from edgekit.ir import Graph
from edgekit.passes.pipelines import LOWER, OPTIMISE, run_passes
from edgekit.verify.layers import LayerReport, compare_layers
from edgekit.verify.noise import noisiest


@lru_cache
def imported() -> tuple[Graph, np.ndarray]:
    """A spiking network and windows of it."""
    graph = import_module(module("quiet"), None, name="l2mu").graph
    return graph, np.random.default_rng(0).normal(size=(24, 30, INPUTS)).astype(np.float32) * 3


def layers(precision: str = "int8", **widen: int) -> list[LayerReport]:
    graph, x = imported()
    names = {name.replace("__", "."): bits for name, bits in widen.items()}
    options = Options(precision=precision, calib=x, widen=names)
    (source,) = graph.entries["step"].inputs
    made = IntegerStage.run(graph, {}, options, {source: x}, silent).graph
    return compare_layers(run_passes(graph, OPTIMISE), run_passes(made, LOWER), x)


def by_name(found: list[LayerReport], name: str) -> LayerReport:
    return next(layer for layer in found if layer.name == name)


@pytest.mark.parametrize(("state", "weights"), [("u.membrane", "e_m.weight"), ("h.membrane", "W_m.weight")])
def test_the_layer_that_was_made_coarse_is_told_and_the_noisiest_named_first(state: str, weights: str) -> None:
    fine, coarse = layers(), layers(**{weights.replace(".", "__"): 4})
    noise = [by_name(found, f"state {state}").noise or 0 for found in (fine, coarse)]
    assert noise[1] > 4 * noise[0]
    population = f"state {state[0]}."  # its membrane, and its spikes
    states = [layer.name for layer in fine if layer.name.startswith("state ")]
    for name in (n for n in states if not n.startswith(population)):  # given what is exact of the layers before it
        assert by_name(coarse, name).noise == pytest.approx(by_name(fine, name).noise)
    assert f"{weights}=16" in by_name(coarse, f"state {state}").widen
    worst = max((layer for layer in coarse if layer.widen), key=lambda layer: layer.noise or 0)
    assert all(f"--widen {option}" in noisiest(coarse)[0] for option in worst.widen)


def test_widening_what_was_named_makes_it_less() -> None:
    coarse = layers("int4")
    worst = max((layer for layer in coarse if layer.widen), key=lambda layer: layer.noise or 0)
    named = dict(option.split("=") for option in worst.widen)
    wider = layers("int4", **{name.replace(".", "__"): int(bits) for name, bits in named.items()})
    assert (by_name(wider, worst.name).noise or 0) < 0.5 * (worst.noise or 0)


def test_every_remedy_is_a_name_that_conversion_takes() -> None:
    graph = run_passes(imported()[0], OPTIMISE)
    for precision in RECIPES:
        for layer in layers(precision):
            named = [option.split("=") for option in layer.widen]
            with_bits(RECIPES[precision], graph, {name: int(bits) for name, bits in named})


def noisy(name: str, noise: float | None, *widen: str, kind: str = "int16") -> SimpleNamespace:
    return SimpleNamespace(name=name, kind=kind, noise=noise, widen=widen)


def test_the_worst_come_first_and_each_remedy_once() -> None:
    rows = [
        noisy("a", 0.02, "w=16"),
        noisy("b", 0.1, "v=16", kind="spike"),
        noisy("c", 0.05, "v=16"),
        noisy("d", 0.5),
        noisy("e", None, "u=16"),
        noisy("f", 0.0, "t=16"),
    ]
    assert noisiest(rows) == [
        "b (spike): rounding changes 1.00% of its spikes in each step; --widen v=16",
        "a (int16): rounding of 2.00% of its own size in each step; --widen w=16",
    ]


def test_outputs_come_last() -> None:
    rows = [noisy("y", 0.5, "w=16"), noisy("h", 0.1, "v=16")]
    assert [line.split()[0] for line in noisiest(rows)] == ["y", "h"]
    assert [line.split()[0] for line in noisiest(rows, ["y"])] == ["h", "y"]


def test_at_most_three_and_none_that_hardly_count() -> None:
    rows = [noisy(str(n), 0.1 / (n + 1), f"w{n}=16") for n in range(6)]
    assert [line.split()[0] for line in noisiest(rows)] == ["0", "1", "2"]
    assert len(noisiest([noisy("a", 0.1, "w=16"), noisy("b", 0.0009, "v=16")])) == 1
