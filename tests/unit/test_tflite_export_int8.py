"""int8 models of TFLite: integers throughout, states read as they were written."""

from __future__ import annotations

import numpy as np
import pytest
from c_nets import l2mu, mlp
from graph_samples import busy_graph
from tflite_cases import CASES, inputs_of, ports
from tflite_int8 import random_plan, run

from edgekit.backends.tflite import KERNELS, TfliteStep, export_tflite, measure_tflite, plan_of, read_tflite
from edgekit.backends.tflite.integer_rows import ROWS
from edgekit.backends.tflite.measure import real_values, stored_values
from edgekit.errors import DataError, UnsupportedError, UsageError
from edgekit.ir import Graph, GraphBuilder
from edgekit.passes.own_outputs import own_outputs
from edgekit.passes.pipelines import OPTIMISE, run_passes
from edgekit.reference import Interpreter

pytest.importorskip("ai_edge_litert")
STEPS = 20
LIVE = ("div", "linear_live", "conv3")
SUPPORTED = {
    name: graph
    for name, graph in CASES.items()
    if name not in LIVE and all(op.kind in ROWS for op in graph.entries["step"].ops)
}
WEIGHTED = ("linear", "memory_update", "conv")  # 8 bits of a weight are what they are off by
GRAPHS = {**SUPPORTED, "ports": own_outputs(ports()), "l2mu": run_passes(l2mu(hidden=24, channels=8), OPTIMISE)}


def exported(graph: Graph, states: str = "io") -> bytes:
    return export_tflite(graph, io={}, precision="int8", plan=random_plan(graph), states=states)


@pytest.mark.parametrize("name", SUPPORTED)
def test_every_op_is_close_to_the_reference(name: str) -> None:
    """Within three steps of its ports, or 2 % of the range where there are weights; near ties a spike may differ."""
    graph = SUPPORTED[name]
    model = TfliteStep(exported(graph))
    (port,) = model.document.outputs
    assert port.quant is not None
    inputs = inputs_of(graph, STEPS)
    got = real_values(
        port, run(model, {p.name: stored_values(p, inputs[p.name]) for p in model.document.inputs})[port.name]
    )
    wanted, _ = Interpreter(graph).run({n: a[None] for n, a in inputs.items()})
    expected = wanted[port.name][0].astype(np.float64)
    allowed = 3 * max(p.quant.scale for p in (port, *model.document.inputs) if p.quant is not None)
    if name.startswith(WEIGHTED):
        allowed = max(allowed, 0.02 * float(np.abs(expected).max()))
    far = np.abs(got - expected) > allowed
    assert far.mean() <= 0.005, f"{far.sum()} of {far.size}, worst {np.abs(got - expected).max()}"


@pytest.mark.parametrize("name", GRAPHS)
def test_every_set_of_kernels_gives_the_same_bytes(name: str) -> None:
    """Of these graphs, whose sums are int16: XNNPACK rounds int8 convolutions in its own way."""
    graph = GRAPHS[name]
    data, inputs = exported(graph), inputs_of(graph, STEPS)
    found = []
    for kernels in KERNELS:
        model = TfliteStep(data, kernels=kernels)
        found.append(run(model, {p.name: stored_values(p, inputs[p.name]) for p in model.document.inputs}))
    for other in found[1:]:
        assert found[0].keys() == other.keys()
        for key, value in found[0].items():
            np.testing.assert_array_equal(value, other[key], err_msg=key)


@pytest.mark.parametrize("name", ["ports", "l2mu"])
def test_a_state_has_one_scale_and_no_value_is_a_float(name: str) -> None:
    model = read_tflite(exported(GRAPHS[name]))
    graph = model.subgraphs[0]
    assert {v.type for v in graph.values} <= {"INT8", "INT16", "INT32", "INT64", "BOOL"}
    count = len(model.document.states)
    for before, after in zip(graph.inputs[-count:], graph.outputs[-count:], strict=True):
        first, second = graph.values[before], graph.values[after]
        assert first.type == second.type
        assert first.quant is not None
        assert second.quant is not None
        np.testing.assert_array_equal(first.quant[0], second.quant[0])
        np.testing.assert_array_equal(first.quant[1], second.quant[1])
    dtypes = {s.name: s.dtype.name for s in model.document.states}
    assert set(dtypes.values()) == {"int8", "int16"}  # spikes, and what integrates


def test_variables_hold_the_same_integers() -> None:
    graph = GRAPHS["ports"]
    inputs = inputs_of(graph, STEPS)
    outside, inside = (TfliteStep(exported(graph, states)) for states in ("io", "resource"))
    given = {p.name: stored_values(p, inputs[p.name]) for p in outside.document.inputs}
    wanted, got = run(outside, given), run(inside, given)
    for name, value in got.items():
        np.testing.assert_array_equal(value, wanted[name])
    inside.reset({})
    again = run(inside, {n: a[:1] for n, a in given.items()})
    fired = graph.entries["step"].outputs[0]
    np.testing.assert_array_equal(again[fired], wanted[fired][:1])


def test_a_relu_of_eight_bits_is_the_saturation_of_its_linear() -> None:
    graph = mlp((48, 64, 64, 5))
    model = read_tflite(exported(graph))
    operators = [op.builtin for op in model.subgraphs[0].operators]
    assert "RELU" not in operators
    hidden = [v for v in model.subgraphs[0].values if v.type == "INT8" and v.data is None and v.shape[-1] == 64]
    assert hidden
    assert all(v.quant is not None and v.quant[1].tolist() == [-128] for v in hidden)


@pytest.mark.parametrize(("kind", "threshold"), [("gt", 0.3), ("ge", 0.3), ("lt", 0.3), ("le", 0.3), ("gt", 1e9)])
def test_thresholds_are_rounded_to_the_side_that_keeps_comparisons_exact(kind: str, threshold: float) -> None:
    """Of whatever an input port can hold, the comparison of integers is that of the reals they stand for."""
    b = GraphBuilder("threshold")
    x = b.input("x", (64,))
    b.output(b.op(kind, x, b.const("thr", np.full(64, threshold))), b.op(kind, b.const("low", np.full(64, 0.1)), x))
    graph = b.build()
    model = TfliteStep(exported(graph))
    (port,) = model.document.inputs
    assert port.quant is not None
    near = round(threshold / port.quant.scale) if threshold < 10 else 0
    values = np.clip(np.arange(-32, 32) + near, *port.dtype.limits).astype(port.dtype.numpy)
    values[::2] = np.clip(np.arange(-16, 16) + round(0.1 / port.quant.scale), *port.dtype.limits)
    got, _ = model.execute({"x": values[None]}, {})
    wanted, _ = Interpreter(graph, np.float64).execute({"x": real_values(port, values)[None]}, {})
    for name, spikes in wanted.items():
        np.testing.assert_array_equal(got[name], spikes.astype(np.int8))


@pytest.mark.parametrize(("kind", "off"), [("tanh", 7.4e-5), ("sigmoid", 3.7e-5)])
def test_curves_are_as_good_as_it_says(kind: str, off: float) -> None:
    """What the kernels are off by over ±5.9, of the inputs that their integers stand for."""
    x = np.linspace(-5.9, 5.9, 20_001).astype(np.float32)
    b = GraphBuilder("curve")
    b.output(b.op(kind, b.input("x", x.shape)))
    graph = b.build()
    plan = plan_of(graph, {"x": x[None, None]})
    for kernels in KERNELS:
        model = TfliteStep(export_tflite(graph, io={}, precision="int8", plan=plan), kernels=kernels)
        (given,), (port,) = model.document.inputs, model.document.outputs
        stored = stored_values(given, x)
        got = real_values(port, model.execute({"x": stored[None]}, {})[0][port.name][0])
        real = real_values(given, stored)
        exact = np.tanh(real) if kind == "tanh" else 1 / (1 + np.exp(-real))
        assert np.abs(got - exact).max() < off


def test_what_rounding_changes_is_measured() -> None:
    graph = mlp((48, 64, 64, 5))
    inputs = {"x": inputs_of(graph, 40)["x"]}
    plan = random_plan(graph)
    data = export_tflite(graph, io={}, precision="int8", plan=plan)
    found = measure_tflite(data, graph, inputs)
    assert found.steps == 40
    assert found.spikes is None
    assert found.worst is not None
    assert 1e-4 < found.worst < 0.2
    assert found.apart < found.worst
    spiking = GRAPHS["l2mu"]
    measured = measure_tflite(exported(spiking), spiking, {"x": inputs_of(spiking, 40)["x"][None]})
    assert measured.worst is None
    assert measured.spikes is not None
    with pytest.raises(DataError, match="is not an int8 one"):
        measure_tflite(export_tflite(graph, io={}), graph, inputs)


def _cancelling(size: float) -> Graph:
    """A difference and a product that are far finer than what they are made of."""
    b = GraphBuilder("cancelling")
    x = b.input("x", (8,))
    one = b.op("mul", x, b.const("size", size))
    other = b.op("add", one, b.op("mul", x, b.const("tiny", 1e-3)))
    b.output(b.op("sub", other, one), b.op("mul", b.op("sub", one, other), other))
    return b.build()


def test_differences_of_large_values_run_though_kernels_stop_at_such_scales() -> None:
    graph = _cancelling(100.0)
    found = measure_tflite(exported(graph), graph, {"x": inputs_of(graph, 10)["x"]})
    assert found.worst is not None
    assert found.worst < 100
    with pytest.raises(DataError, match="leave a value all but zero"):
        exported(_cancelling(1e6))


def test_what_has_no_int8_form_is_listed() -> None:
    b = GraphBuilder("odd")
    x = b.input("x", (3, 3))
    b.output(b.op("linear", b.op("exp", x, source="a"), b.op("sin", x, source="b"), source="c"))
    graph = b.build()
    with pytest.raises(UnsupportedError, match="no int8 form for 3 ops") as caught:
        export_tflite(graph, io={}, precision="int8", plan=random_plan(graph))
    assert caught.value.items == (
        "exp (from a)",
        "sin (from b)",
        "linear by a value that is computed (from c)",
    )
    with pytest.raises(UsageError, match="needs a plan"):
        export_tflite(busy_graph(), io={}, precision="int8")
