"""Units taken out whole: what stays computes as the original whose units nobody listens to."""

from __future__ import annotations

import numpy as np
import pytest
from float_steps import SNN, STEPS, constant, float_step, noise, outputs, with_constants

from edgekit.compress.apply import compressed
from edgekit.compress.calibrate import Calibration, calibrate
from edgekit.compress.rules import Compression, UnitRule
from edgekit.compress.shrink import units
from edgekit.errors import UsageError
from edgekit.ir import Graph

CHANNELS, ORDERS = 3, 4  # of the tiny LMU
OF_H = ("W_h.weight", "e_h.weight", "output_transformation.weight")  # matrices that take h


def deaf(graph: Graph, columns: dict[str, list[int]]) -> Graph:
    """The graph with zeros in columns of matrices."""
    data = {name: constant(graph, name) for name in columns}
    for name, which in columns.items():
        data[name][:, which] = 0
    return with_constants(graph, data)


def orders(channels: int, order: int, of: int) -> list[int]:
    """The columns that one order of every channel has in what a flattened memory goes through."""
    return [c * of + order for c in range(channels)]


# family, group, units that go, and the columns of matrices by which the others hear of them
CASES = [
    ("mlp", "network.0", [0, 5, 23], {"network.2.weight": [0, 5, 23]}),
    ("lmu", "h", [1, 2, 11], {n: [1, 2, 11] for n in OF_H}),
    ("lmu", "m[1]", [3], {"A.weight": [3], "W_m.weight": orders(CHANNELS, 3, ORDERS)}),
    ("lmu", "m[0]", [1], {"W_m.weight": [4, 5, 6, 7]}),
    ("l2mu", "h.membrane", [0, 9], {n: [0, 9] for n in OF_H}),
    ("l2mu", "m.membrane[1]", [0, 2], {"A.weight": [0, 2], "W_m.weight": orders(8, 0, 3) + orders(8, 2, 3)}),
    ("l2mu", "u.membrane", [5], {"W_m.weight": [15, 16, 17]}),
    ("elm", "m", [2, 7], {"mlp.network.0.weight.from6": [2, 7], "w_y.weight": [2, 7]}),
    ("elm", "b", [0], {"mlp.network.0.weight.from0": [0]}),
    ("elm", "mlp.network.0", [3, 4, 15], {"mlp.network.2.weight.folded": [3, 4, 15]}),
    (SNN, "_1.mem", [1, 8], {"_2.weight": [1, 8]}),
]


@pytest.mark.parametrize(("family", "group", "gone", "columns"), CASES)
def test_what_stays_computes_as_if_nobody_listened_to_what_went(
    family: str, group: str, gone: list[int], columns: dict[str, list[int]]
) -> None:
    graph = float_step(family)
    made = compressed(graph, Compression(units=(UnitRule(group, drop=tuple(gone)),)))
    assert made.dropped == {group: tuple(gone)}
    assert sum(t.size for t in made.graph.consts.values()) < sum(t.size for t in graph.consts.values())
    x = noise(graph)
    expected = outputs(deaf(graph, columns), x)
    assert expected.std() > 0
    np.testing.assert_allclose(outputs(made.graph, x), expected, rtol=1e-5, atol=1e-5)


def seen_of(graph: Graph) -> Calibration:
    return calibrate(graph, noise(graph))


def silenced(graph: Graph, weights: str, bias: str, values: dict[int, float]) -> Graph:
    """The graph in which rows of weights are zero, so that these units always are what their bias is."""
    w, b = constant(graph, weights), constant(graph, bias)
    for at, value in values.items():
        w[at], b[at] = 0, value
    return with_constants(graph, {weights: w, bias: b})


def test_units_that_never_change_go_for_nothing_and_their_constants_stay() -> None:
    """A relu that is always 0, and two that are always the same: their products join the bias."""
    graph = silenced(float_step("mlp"), "network.0.weight", "network.0.bias", {2: -1.0, 7: 0.5, 11: 3.0})
    rule = UnitRule("network.0", keep=1.0, by="activity")
    made = compressed(graph, Compression(units=(rule,)), seen_of(graph))
    assert made.dropped == {"network.0": (2, 7, 11)}
    assert "3 of which never change" in made.notes[0]
    x = noise(graph)
    np.testing.assert_allclose(outputs(made.graph, x), outputs(graph, x), rtol=1e-5, atol=1e-5)


def test_what_stays_makes_good_what_went() -> None:
    """One of two hidden units that are the same goes at hardly any cost: the other one takes its weights over."""
    graph = float_step("mlp")
    w, b = constant(graph, "network.0.weight"), constant(graph, "network.0.bias")
    w[20], b[20] = w[3], b[3]
    graph = with_constants(graph, {"network.0.weight": w, "network.0.bias": b})
    x, recipe = noise(graph), Compression(units=(UnitRule("network.0", keep=23 / 24, by="activity"),))
    made = compressed(graph, recipe, seen_of(graph))
    (gone,) = made.dropped["network.0"]
    assert gone in (3, 20)
    alone = compressed(graph, Compression(units=(UnitRule("network.0", drop=(gone,)),)))
    errors = [np.abs(outputs(m.graph, x) - outputs(graph, x)).max() for m in (made, alone)]
    assert errors[0] < 0.1 * errors[1]


def test_a_constant_that_stays_takes_over_what_went_on_average() -> None:
    """A fit beside a unit that is always the same finds an intercept; it becomes a bias, and rounds no weight."""
    graph = silenced(float_step("mlp"), "network.0.weight", "network.0.bias", {2: 1.0})
    x, gone = noise(graph), (5, 6, 7, 8)
    made = compressed(graph, Compression(units=(UnitRule("network.0", drop=gone),)), seen_of(graph))
    alone = compressed(graph, Compression(units=(UnitRule("network.0", drop=gone),)))
    off, cut = (np.abs((outputs(m.graph, x) - outputs(graph, x)).mean(axis=(0, 1))) for m in (made, alone))
    assert off.max() < 0.1 * cut.max()
    column = constant(graph, "network.2.weight")[:, 2]
    assert np.array_equal(constant(made.graph, "network.2.weight")[:, 2], column)


def test_a_dead_order_of_a_spiking_memory_leaves() -> None:
    """What never reaches its threshold leaves with rows and columns of all that listened."""
    graph = float_step("l2mu")
    a, b = constant(graph, "A.weight"), constant(graph, "B.weight")
    a[1], b[1] = 0, 0
    graph = with_constants(graph, {"A.weight": a, "B.weight": b})
    rule = UnitRule("m.membrane[1]", keep=1.0, by="activity")
    made = compressed(graph, Compression(units=(rule,)), seen_of(graph))
    gone = made.dropped["m.membrane[1]"]
    assert 1 in gone
    assert made.graph.tensors["W_m.weight"].shape == (16, 8 * (3 - len(gone)))
    x = noise(graph)
    np.testing.assert_array_equal(outputs(made.graph, x), outputs(graph, x))


@pytest.mark.parametrize("family", STEPS)
def test_activity_keeps_what_the_outputs_hear_most_of(family: str) -> None:
    """Every group can be ranked, states too, and a unit whose columns are made tiny is the first to go."""
    graph = float_step(family)
    seen = seen_of(graph)
    for group in units(graph):
        share = (group.size - 1) / group.size
        made = compressed(graph, Compression(units=(UnitRule(group.name, keep=share, by="activity"),)), seen)
        assert len(made.dropped[group.name]) >= 1, group.name
    if family == "lmu":  # h is a state, which matrices take as it is
        quiet = deaf(graph, {n: [6] for n in OF_H})
        made = compressed(quiet, Compression(units=(UnitRule("h", keep=11 / 12, by="activity"),)), seen_of(quiet))
        assert made.dropped == {"h": (6,)}


def test_magnitude_counts_all_weights_that_go_with_a_unit() -> None:
    graph = float_step("mlp")
    w, out = constant(graph, "network.0.weight"), constant(graph, "network.2.weight")
    w[13] *= 1e-3
    out[:, 13] *= 1e-3
    graph = with_constants(graph, {"network.0.weight": w, "network.2.weight": out})
    made = compressed(graph, Compression(units=(UnitRule("*", keep=23 / 24),)))
    assert made.dropped == {"network.0": (13,)}


def test_scores_that_are_given_decide() -> None:
    scores = {"network.0": np.arange(24.0)[::-1]}
    rule = UnitRule("network.0", keep=0.5, by="taylor")
    made = compressed(float_step("mlp"), Compression(units=(rule,)), scores=scores)
    assert made.dropped == {"network.0": tuple(range(12, 24))}
    with pytest.raises(UsageError, match="needs gradients"):
        compressed(float_step("mlp"), Compression(units=(rule,)))


def test_what_cannot_be_done_is_refused() -> None:
    graph = float_step("lmu")
    with pytest.raises(UsageError, match="fits none of the groups of units") as error:
        compressed(graph, Compression(units=(UnitRule("nothing*", keep=0.5),)))
    assert error.value.items == ("m[0]", "m[1]", "h")
    with pytest.raises(UsageError, match="has units 0 to 3"):
        compressed(graph, Compression(units=(UnitRule("m[1]", drop=(4,)),)))
    with pytest.raises(UsageError, match="needs calibration windows"):
        compressed(graph, Compression(units=(UnitRule("h", keep=0.5, by="activity"),)))
    with pytest.raises(UsageError, match="nothing left"):
        compressed(graph, Compression(units=(UnitRule("m[1]", drop=(0, 1, 2, 3)),)))
