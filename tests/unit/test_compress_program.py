"""Whole integer programs of random float graphs: integers alone, one scale a state, near the original, refusals."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_graph, random_inputs

from edgekit.compress.calibrate import Calibration, calibrate
from edgekit.compress.integer import IntegerProgram, quantise_program
from edgekit.compress.named import OPERANDS, STATES, WEIGHTS, with_bits
from edgekit.compress.recipes import RECIPES, Recipe, recipe
from edgekit.errors import UnsupportedError, UsageError
from edgekit.ir import INT8, SPIKE, Graph, GraphBuilder, to_document
from edgekit.passes.pipelines import FOR_INTEGERS, OPTIMISE, run_passes
from edgekit.passes.ranges import analyse, certificate
from edgekit.runtime.codec import real_outputs
from edgekit.verify import output_error

SEEDS = range(24)
DECIDES = ("gt", "ge", "lt", "le", "floor", "round")  # what a threshold does to rounding is no matter of the quantiser
NEAR = {"int8": 0.04, "int4": 0.5, "int8s8": 0.5}


@lru_cache
def original(seed: int) -> tuple[Graph, dict[str, np.ndarray], Calibration]:
    """A random float graph with states, inputs and what was seen of it."""
    graph = run_passes(random_graph(seed, 12, quantised=False), (*OPTIMISE, *FOR_INTEGERS))
    x = random_inputs(graph, seed, 16, 20)
    return graph, x, calibrate(graph, x)


def program(seed: int, precision: str = "int8") -> IntegerProgram:
    graph, _, seen = original(seed)
    return quantise_program(graph, seen, RECIPES[precision])


@pytest.mark.parametrize("precision", RECIPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_step_touches_no_float(seed: int, precision: str) -> None:
    made = program(seed, precision).graph
    step = made.entries["step"]
    touched = {n for op in step.ops for n in (*op.inputs, *op.outputs)} | {*step.inputs, *step.outputs}
    assert not [n for n in touched | made.state_names if made.tensors[n].dtype.is_float]


@pytest.mark.parametrize("precision", RECIPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_state_has_one_scale_for_reading_and_writing(seed: int, precision: str) -> None:
    made = program(seed, precision).graph
    for state, value in made.entries["step"].updates.items():
        read, written = made.tensors[state], made.tensors[value]
        assert read.dtype is written.dtype
        if read.dtype is not SPIKE:
            assert read.quant is not None
            assert read.quant == written.quant


@pytest.mark.parametrize("precision", RECIPES)
def test_programs_without_thresholds_stay_near_the_original(precision: str) -> None:
    smooth = [n for n in SEEDS if not any(op.kind in DECIDES for op in original(n)[0].entries["step"].ops)]
    assert len(smooth) >= 4
    for seed in smooth:
        graph, x, _ = original(seed)
        for exact, got in zip(real_outputs(graph, x), real_outputs(program(seed, precision).graph, x), strict=True):
            wide = np.asarray(exact, np.float64).reshape(-1)
            off = np.sqrt(np.mean((wide - got.reshape(-1)) ** 2))
            assert off <= NEAR[precision] * max(np.std(wide), np.abs(wide).max() / 4, 1e-6), seed


@pytest.mark.parametrize("seed", SEEDS[:4])
def test_the_same_input_gives_the_same_program(seed: int) -> None:
    graph, x, _ = original(seed)
    one, two = (to_document(quantise_program(graph, calibrate(graph, x), RECIPES["int8"]).graph) for _ in range(2))
    assert one[0] == two[0]
    assert all(np.array_equal(one[1][name], two[1][name]) for name in one[1])


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_whatever_can_be_widened_has_the_bits_that_were_asked_for(seed: int, data: st.DataObject) -> None:
    graph, x, seen = original(seed)
    linears = [op for op in graph.entries["step"].ops if op.kind == "linear"]
    weights = {op.inputs[1] for op in linears if graph.tensors[op.inputs[1]].is_const}
    states = {s.tensor for s in graph.states if graph.tensors[s.tensor].dtype is not SPIKE}
    operands = {op.inputs[0] for op in linears if graph.tensors[op.inputs[0]].dtype is not SPIKE} - states
    operands = {
        n for n in operands if not any(op.kind == "cast" and n in op.outputs for op in graph.entries["step"].ops)
    }
    choices = [
        (n, b)
        for names, bits in ((weights, WEIGHTS), (states, STATES), (operands, OPERANDS))
        for n in names
        for b in bits
    ]
    if not choices:
        return
    name, bits = data.draw(st.sampled_from(sorted(choices)))
    made = quantise_program(graph, seen, with_bits(RECIPES["int8"], graph, {name: bits}))
    real_outputs(made.graph, x)
    if name in states:
        held = made.graph.tensors[name].dtype.bits
        assert held == bits or any(f"{name}: asked for in int{bits}" in note for note in made.notes)
    elif name in weights:
        found = [t for n, t in made.graph.tensors.items() if n.startswith(f"{name}.int")]
        in_steps = [t for t in found if t.dtype is INT8 and not (t.data % 16).any()]  # beside finer ones
        assert not found or bits in [t.dtype.bits for t in found] or (bits == 4 and in_steps)


def test_parts_of_a_sum_may_cancel_out() -> None:
    """x - y of two large values that are almost equal: each part has room, though the sum is small."""
    rng, b = np.random.default_rng(0), GraphBuilder("cancel", dt=None)
    x = b.input("x", (8,))
    y = b.op("linear", x, b.const("w", -0.9 * np.eye(8)), x, out="y")
    b.output(y)
    graph = b.build()
    given = {"x": rng.normal(size=(50, 1, 8)).astype(np.float32) * 100}
    made = quantise_program(graph, calibrate(graph, given), RECIPES["int8"])
    (exact,), (got,) = real_outputs(graph, given), real_outputs(made.graph, given)
    assert output_error(exact, got) < 0.002


def test_a_current_keeps_its_precision_between_spikes() -> None:
    """i' = 0.97 i + W s with weights that int8 holds exactly: what the decay rounds away in all is small."""
    rng, b = np.random.default_rng(0), GraphBuilder("current", dt=None)
    x = b.input("x", (12,))
    b.state("i", np.zeros(6))
    spikes = b.op("gt", x, b.const("level", np.float32(1.5)), out="s")
    current = b.op(
        "linear",
        spikes,
        b.const("w", np.where(np.eye(6, 12) > 0, 127, rng.integers(-127, 128, (6, 12))) / 64),
        b.op("mul", "i", b.const("decay", np.float32(0.97)), out="decayed"),
        out="current",
    )
    b.update("i", current)
    b.output(current)
    graph = run_passes(b.build(), OPTIMISE)
    given = {"x": rng.normal(size=(20, 200, 12)).astype(np.float32)}
    seen, (exact,) = calibrate(graph, given), real_outputs(graph, given)

    def error(bits: Recipe) -> float:
        return output_error(exact, real_outputs(quantise_program(graph, seen, bits).graph, given)[0])

    coarse = replace(RECIPES["int8"], rounding=np.inf)
    assert error(RECIPES["int8"]) < 0.002 < 0.5 * error(coarse)


def spiking_layer(weights: np.ndarray, more: np.ndarray | None = None, decay: float = 0.8) -> Graph:
    """LIF neurons that spikes of inputs drive through `w`, and those of the step before through `r`."""
    b = GraphBuilder("layer", dt=None)
    x = b.input("x", (weights.shape[1],))
    b.state("v", np.zeros(len(weights)))
    b.state("fired_before", np.zeros(len(weights), bool), SPIKE)
    spikes = b.op("gt", x, b.const("level", np.float32(1.5)), out="s")
    total = b.op("mul", "v", b.const("decay", np.float32(decay)), out="decayed")
    if more is not None:
        total = b.op("linear", "fired_before", b.const("r", more), total)
    driven = b.op("linear", spikes, b.const("w", weights), total, out="driven")
    threshold = b.const("threshold", np.float32(0.2))
    back = b.op("where", b.op("gt", "v", threshold), threshold, b.const("nothing", np.float32(0)))
    now = b.op("sub", driven, back, out="now")
    fired = b.op("gt", now, threshold, out="fired")
    b.update("v", now)
    b.update("fired_before", fired)
    b.output(fired)
    return run_passes(b.build(), (*OPTIMISE, *FOR_INTEGERS))


@pytest.mark.parametrize("share", [0.001, 0.0])
def test_an_output_that_keeps_small_weights_or_none_costs_its_layer_no_bits(share: float) -> None:
    """Neurons, of which pruning left one a thousandth of the others' weights, or nothing: states stay int16."""
    rng = np.random.default_rng(0)
    graph = spiking_layer(0.1 * rng.normal(size=(6, 12)) * np.array([1, 1, share, 1, 1, 1])[:, None])
    given = {"x": rng.normal(size=(20, 50, 12)).astype(np.float32)}
    made = quantise_program(graph, calibrate(graph, given), RECIPES["int8"])
    assert made.choices["v"].dtype == "int16"
    unit = made.rounded["w"].unit[:, 0]
    others = np.delete(unit, 2)
    assert unit[2] <= (np.median(others) if share else others.max())
    (exact,), (got,) = real_outputs(graph, given), real_outputs(made.graph, given)
    assert np.mean(exact != got) < 0.01


@pytest.mark.parametrize("bits", [(8, 4), (4, 4), (4, 8)])
def test_weights_of_few_bits_join_the_sums_of_others(bits: tuple[int, int]) -> None:
    """They are whole sixteenths of int8: one accumulator, on the scale of the int16 membrane, and 15 values still."""
    rng = np.random.default_rng(0)
    shapes = {"w": (24, 16), "r": (24, 24)}
    weights = {name: 0.05 * rng.normal(size=shape) for name, shape in shapes.items()}
    graph = spiking_layer(weights["w"], weights["r"], decay=0.9)
    held = RECIPES["int8"].widened(weights=dict(zip(shapes, bits, strict=True)))
    given = {"x": rng.normal(size=(20, 50, 16)).astype(np.float32)}
    made = quantise_program(graph, calibrate(graph, given), held)
    sums = [op for op in made.graph.entries["step"].ops if op.kind == "linear"]
    assert len(sums) == 2
    assert sums[1].inputs[2] == sums[0].outputs[0]
    assert made.choices["v"].dtype == "int16"
    for name, few in zip(shapes, bits, strict=True):
        whole = made.graph.tensors[f"{name}.int8"].data
        unit, step = made.rounded[name].unit, made.rounded[name].step
        assert step == (16 if few == 4 else 1)
        assert (np.unique(whole).size <= 15) == (few == 4)
        assert np.abs(unit * (whole / step) - weights[name]).max() <= 1.5 * unit.max()


def test_the_magnitude_of_the_lowest_number_is_held() -> None:
    """|-2^15| is one more than int16 holds: where calibration did not see it, an operand may still be there."""
    b = GraphBuilder("magnitude", dt=None)
    x = b.input("x", (3,))
    b.state("slow", np.zeros(3))
    slow = b.op("add", b.op("mul", "slow", b.const("kept", np.full(3, 0.75))), b.op("mul", x, b.const("new", 0.25)))
    b.update("slow", slow)
    b.output(b.op("concat", b.op("abs", b.op("sub", x, slow)), x, axis=0))
    graph = run_passes(b.build(), (*OPTIMISE, *FOR_INTEGERS))
    given = {"x": np.random.default_rng(0).normal(size=(50, 9, 3)).astype(np.float32)}
    made = quantise_program(graph, calibrate(graph, given), RECIPES["int8"])
    assert certificate(analyse(made.graph), made.graph)
    (exact,), (got,) = real_outputs(graph, given), real_outputs(made.graph, given)
    assert output_error(exact, got) < 0.01


def test_a_table_is_about_where_its_function_is_not_flat() -> None:
    """tanh of a sum of spikes, whose own scale reaches far beyond."""
    rng, b = np.random.default_rng(0), GraphBuilder("flat", dt=None)
    x = b.input("x", (12,))
    spikes = b.op("gt", x, b.const("level", np.float32(0)), out="s")
    y = b.op("tanh", b.op("linear", spikes, b.const("w", rng.normal(size=(6, 12))), out="sum"), out="y")
    b.output(y)
    graph = run_passes(b.build(), OPTIMISE)
    given = {"x": rng.normal(size=(200, 1, 12)).astype(np.float32)}
    made = quantise_program(graph, calibrate(graph, given), RECIPES["int8"])
    assert made.tables["y"] < 1e-4
    assert any("functions by table are off by at most: y " in note for note in made.notes)


def test_large_operands_are_int8_and_those_of_small_matrices_int16() -> None:
    b = GraphBuilder("operands", dt=None)
    x = b.input("x", (100,))
    h = b.op("relu", b.op("linear", x, b.const("w", np.ones((64, 100)) / 10), out="a"), out="h")
    b.output(b.op("linear", h, b.const("v", np.ones((3, 64)) / 8), out="y"))
    small = b.build()
    given = {"x": np.random.default_rng(0).normal(size=(64, 1, 100)).astype(np.float32)}
    made = quantise_program(small, calibrate(small, given), RECIPES["int8"]).graph
    assert {n: str(made.tensors[n].dtype) for n in ("x", "h", "y")} == {"x": "int8", "h": "int8", "y": "int16"}
    assert made.tensors["v.int16"].dtype.bits == 16
    b = GraphBuilder("narrow", dt=None)
    b.output(b.op("linear", b.input("x", (9,)), b.const("w", np.ones((300, 9))), out="y"))
    narrow = b.build()
    given = {"x": np.random.default_rng(0).normal(size=(64, 1, 9)).astype(np.float32)}
    assert str(quantise_program(narrow, calibrate(narrow, given), RECIPES["int8"]).graph.tensors["x"].dtype) == "int16"


def test_what_has_no_integer_form_is_listed_at_once() -> None:
    b = GraphBuilder("odd", dt=None)
    x = b.input("x", (4,))
    b.output(b.op("div", x, x, out="p"))
    graph = b.build()
    given = {"x": np.ones((2, 1, 4), np.float32)}
    with pytest.raises(UnsupportedError, match="these ops have no integer form") as refused:
        quantise_program(graph, calibrate(graph, given), RECIPES["int8"])
    assert any("-> p" in item for item in refused.value.items)


def test_recipes_are_known_by_name() -> None:
    assert recipe("auto").weight_bits == 8
    assert recipe("int4").weight_bits == 4
    with pytest.raises(UsageError, match="known are int8, int8s8, int4, auto"):
        recipe("int2")
