"""What units that a width lacks add to the sums of an integer program, and other things that blocks are made of."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from nested_models import rules
from tuned_models import step

from edgekit.compress.calibrate import calibrate
from edgekit.compress.integer import quantise_program
from edgekit.compress.nested import Nesting, joined, nested, nesting_of
from edgekit.compress.recipes import recipe
from edgekit.compress.rules import NestedRule
from edgekit.compress.shrink import units
from edgekit.ir import INT8, INT32, Graph, GraphBuilder, QuantParams
from edgekit.ir.widths import at_width
from edgekit.passes.pipelines import FOR_INTEGERS, OPTIMISE, run_passes
from edgekit.reference import Interpreter
from edgekit.runtime.codec import Codec

ZERO = -128


def test_units_that_a_width_lacks_hold_what_stands_for_zero() -> None:
    """The hidden units of an MLP stand at -128 for 0; silenced ones, whose bias is far below, add what is left out."""
    model = step("mlp")
    nesting = nesting_of(model.graph, rules("mlp"))
    x = {"x": np.random.default_rng(0).standard_normal((300, 1, 36)).astype(np.float32)}
    program = quantise_program(model.graph, calibrate(model.graph, x), recipe("int8"))
    assert {held.zero for held in program.held.values()} == {0, -128}
    whole = nested(program.graph, nesting)
    given = np.random.default_rng(1).integers(-128, 128, (300, 1, 36)).astype(np.int8)
    (group, counts), *_ = nesting.groups
    for percent, count in zip(nesting.percents, counts, strict=True):
        silenced = dict(program.graph.tensors)
        for name, tensor in program.graph.consts.items():
            if tensor.shape[:1] == (group.size,):
                low = -(2**30) if name.endswith("/bias") else 0
                beyond = low if name.endswith(("/bias", ".int8", ".int16")) else tensor.data[count:]
                data = np.concatenate([tensor.data[:count], np.broadcast_to(beyond, tensor.data[count:].shape)])
                silenced[name] = dataclasses.replace(tensor, data=data.astype(tensor.data.dtype))
        wanted, _ = Interpreter(program.graph.replace(tensors=silenced)).run({"x": given})
        got, _ = Interpreter(at_width(whole, percent)).run({"x": given})
        (a,), (b,) = wanted.values(), got.values()
        assert np.array_equal(a, b)


def two_sided(kind: str) -> Graph:
    """Layers of which the second takes so large a matrix that values of the first become int8 operands of it."""
    rng, b = np.random.default_rng(0), GraphBuilder("two_sided")

    def layer(x: str, rows: int, columns: int, mean: float = 0.0) -> str:
        w = rng.standard_normal((rows, columns)) / np.sqrt(columns) + mean
        bias = b.const(f"c{rows}", 0.1 * rng.standard_normal(rows).astype(np.float32))
        return b.op("linear", x, b.const(f"W{rows}", w.astype(np.float32)), bias)

    hidden = b.op(kind, layer(b.input("x", (36,)), 128, 36), out="h")
    b.output(layer(b.op("tanh", layer(hidden, 64, 128, 0.05)), 7, 64))
    return run_passes(b.build(), (*OPTIMISE, *FOR_INTEGERS))


@pytest.mark.parametrize("kind", ["sigmoid", "relu"])
def test_operands_with_a_zero_point_lack_nothing_in_narrow_widths(kind: str) -> None:
    """A sigmoid is an int16, and int8 with a zero point as an operand; at each width it is what floats make of that."""
    graph = two_sided(kind)
    nesting = nesting_of(graph, [NestedRule("step.linear0")])
    x = {"x": np.random.default_rng(1).standard_normal((200, 1, 36)).astype(np.float32)}
    narrow = [calibrate(nesting.narrowed(graph, at), x) for at in range(2)]
    program = quantise_program(graph, joined(calibrate(graph, x), graph, nesting, narrow), recipe("int8"))
    zeros = {t.quant.zero_point[0] for t in program.graph.tensors.values() if t.quant is not None and not t.is_const}
    assert ZERO in zeros
    whole = nested(program.graph, nesting)
    (given,) = Codec(whole).quantize([x["x"]])
    for at, percent in enumerate(nesting.percents):
        (real,) = Interpreter(graph if percent == 100 else nesting.narrowed(graph, at)).run(x)[0].values()
        (stored,) = Interpreter(at_width(whole, percent)).run({"x": given})[0].values()
        (got,) = Codec(whole).dequantize([stored])
        assert np.abs(got - real).max() < 0.01 * np.abs(real).max(), percent


def sums_from_zero(addend: str) -> Graph:
    """int8 [8] -> [8] -> [8] -> [3]: ZERO stands for 0 in what the second matrix takes; its sums begin at an addend."""
    rng, b = np.random.default_rng(1), GraphBuilder("sums_from_zero")

    def matrix(name: str, rows: int) -> str:
        return b.const(name, rng.integers(-5, 6, (rows, 8)).astype(np.int8), INT8)

    x, bias = b.input("x", (8,), INT8), rng.integers(-999, 1000, 8).astype(np.int32)
    first = b.op("linear", x, matrix("W1", 8), accumulate="int32", out="a")
    h = b.op("cast", first, out="h", to="int8")
    begins = {"none": (), "constant": (b.const("bias", bias, INT32),), "value": (first,)}[addend]
    g = b.op("cast", b.op("linear", h, matrix("W2", 8), *begins, accumulate="int32", out="c"), out="g", to="int8")
    b.output(b.op("linear", g, matrix("W3", 3), accumulate="int32", out="y"))
    graph = b.build()
    offset = QuantParams(np.ones(1, np.float32), np.full(1, ZERO, np.int32), None, *INT8.limits)
    tensors = {**graph.tensors, "h": dataclasses.replace(graph.tensors["h"], quant=offset)}
    return graph.replace(tensors=tensors)


@pytest.mark.parametrize("addend", ["none", "constant", "value"])
def test_each_block_of_sums_lacks_its_own_share(addend: str) -> None:
    """Four widths: those between have several blocks of rows, and what is left out differs in each."""
    graph, x = sums_from_zero(addend), np.random.default_rng(2).integers(-4, 5, (1, 9, 8)).astype(np.int8)
    groups = units(graph)
    whole = nested(graph, Nesting((25, 50, 75, 100), tuple((group, (2, 4, 6, 8)) for group in groups)))
    data = {name: tensor.data.astype(np.int64) for name, tensor in graph.consts.items()}
    for percent, count in ((25, 2), (50, 4), (75, 6), (100, 8)):
        first = x @ data["W1"].T
        h = np.clip(first, -128, 127)
        h[..., count:] = ZERO
        begins = {"none": 0, "constant": data.get("bias"), "value": first}[addend]
        g = np.clip(h @ data["W2"].T + begins, -128, 127)
        g[..., count:] = 0
        (got,) = Interpreter(at_width(whole, percent)).run({"x": x})[0].values()
        assert np.array_equal(got, g @ data["W3"].T), percent


def test_a_state_that_a_constant_becomes_can_stand_beside_widths() -> None:
    b = GraphBuilder("constant_state")
    x, s = b.input("x", (4,)), b.state("s", np.ones(4, np.float32))
    weights = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
    h = b.op("relu", b.op("linear", b.op("add", x, s), b.const("W1", weights[:8])), out="h")
    b.update(s, b.const("z", np.zeros(4, np.float32)))
    b.output(
        b.op("linear", h, b.const("W2", weights[8:].repeat(2, 1)), out="y"), b.const("one", np.ones(2, np.float32))
    )
    graph = b.build()
    nesting = nesting_of(graph, [NestedRule("*", (0.5, 1.0))])
    whole, given = nested(graph, nesting), {"x": np.ones((1, 3, 4), np.float32)}
    for percent, alone in ((50, nesting.narrowed(graph, 0)), (100, graph)):
        got, wanted = (Interpreter(g).run(given)[0] for g in (at_width(whole, percent), alone))
        for a, b_ in zip(got.values(), wanted.values(), strict=True):
            np.testing.assert_allclose(a, b_, rtol=1e-6)
