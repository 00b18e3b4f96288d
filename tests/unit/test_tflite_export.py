"""TFLite: every op, port and family against the reference, on each set of kernels of LiteRT."""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Any

import numpy as np
import pytest
from c_nets import l2mu
from graph_samples import UP, busy_graph, neuron
from tflite_cases import CASES, inputs_of, ports

from edgekit.artifact.exported import KEY
from edgekit.backends.tflite import KERNELS, SUPPORTED, Checked, TfliteStep, check_tflite, export_tflite, read_tflite
from edgekit.backends.tflite import schema as schema_module
from edgekit.backends.tflite.elementwise import ERF_END, ERF_P, ERF_Q
from edgekit.backends.tflite.flat import TABLES
from edgekit.backends.tflite.schema import BUILTINS, schema
from edgekit.compress.quantize import quantize_weights_int8
from edgekit.errors import DataError, ReplayError, ToolchainError, UnsupportedError, UsageError
from edgekit.ir import INT8, INT16, OPS, GraphBuilder
from edgekit.passes.pipelines import OPTIMISE, run_passes

pytest.importorskip("ai_edge_litert")
INTEGER_OPS = {"rescale", "quantize", "dequantize", "lookup"}
META = {"input": {"rate_hz": 50.0, "unit": "g"}, "decision": "last"}


@pytest.mark.drawn(2)
@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("name", CASES)
def test_every_op_equals_the_reference(name: str, kernels: str) -> None:
    graph = CASES[name]
    data = export_tflite(graph, io={})
    found = check_tflite(data, graph, inputs=inputs_of(graph, 8), kernels=(kernels,))
    assert found.steps == 8
    assert found.excused == 0
    assert found.worst <= 2e-6


def test_every_float_op_has_a_row_or_a_decomposition_that_is_tested() -> None:
    tested = {op.kind for graph in CASES.values() for _, op in graph.ops()}
    learning = {kind for kind, spec in OPS.items() if spec.group == "plastic"}  # an exported step does not learn
    floats = OPS.keys() - INTEGER_OPS - {"fused"} - learning
    assert tested == floats
    assert {kind for kind in floats if OPS[kind].decompose is None} <= SUPPORTED


@pytest.mark.parametrize("states", ["io", "resource"])
def test_ports_and_states(states: str) -> None:
    graph = ports()
    data = export_tflite(graph, io={}, states=states)
    found = check_tflite(data, graph, inputs=inputs_of(graph, 50), kernels=tuple(KERNELS))
    assert (found.steps, found.excused) == (50, 0)
    model = read_tflite(data)
    assert model.resource == (states == "resource")
    assert [p.name for p in model.document.outputs][2:] == ["x.out", "answer.out", "s.out"]


def test_a_reset_puts_first_values_back_but_for_states_that_are_kept() -> None:
    graph = ports()
    inputs = {n: a[:1] for n, a in inputs_of(graph, 1).items()}
    for states in ("io", "resource"):
        model = TfliteStep(export_tflite(graph, io={}, states=states))
        state = model.initial_state()
        first, state = model.execute(inputs, state)
        _, state = model.execute(inputs, state)
        state = model.reset(state)
        again, state = model.execute(inputs, state)
        fired = graph.entries["step"].outputs[0]
        np.testing.assert_array_equal(first[fired], again[fired])
        if states == "io":
            np.testing.assert_array_equal(state["kept"], np.arange(4) + 3 * inputs["s"])
            np.testing.assert_array_equal(state["still"], [[3.0, 3.0]])


def test_metadata_go_round() -> None:
    graph = busy_graph()
    document = read_tflite(export_tflite(graph, io=META, precision="fp32")).document
    assert (document.name, document.precision, document.dt) == ("tiny", "fp32", 0.01)
    assert document.graph_sha256 == graph.hash()
    assert [(p.name, p.shape) for p in document.inputs] == [("x", (3,))]
    assert [(s.name, s.input, s.output, s.reset) for s in document.states] == [
        ("u", "u", "u.next", "reset"),
        ("total", "total", "total.next", "keep"),
    ]
    np.testing.assert_array_equal(document.states[1].init, np.ones(5))
    assert document.io["inputs"][0]["rate_hz"] == 50.0
    assert document.io["decision"] == "last"


def test_the_same_graph_gives_the_same_bytes() -> None:
    assert export_tflite(busy_graph(), io=META) == export_tflite(busy_graph(), io=META)


def test_the_batch_is_an_axis_of_length_one_in_front() -> None:
    from ai_edge_litert.interpreter import Interpreter as Lite

    model = Lite(model_content=export_tflite(ports(), io={}))
    model.allocate_tensors()
    shapes = {d["name"]: tuple(d["shape"]) for d in model.get_input_details()}
    assert shapes == {"x": (1, 3), "s": (1, 4), "h": (1, 3), "u": (1, 3), "kept": (1, 4), "still": (1, 2)}
    assert {d["dtype"] for d in model.get_input_details()} == {np.float32}


def test_weights_lie_on_sixteen_bytes() -> None:
    """Runtimes read them in place."""
    weights = np.float32([math.pi, math.e, math.tau, 0.1234567])
    b = GraphBuilder("aligned")
    b.output(b.op("mul", b.input("x", (4,)), b.const("w", weights)))
    data = export_tflite(b.build(), io={})
    assert data.index(weights.tobytes()) % 16 == 0


@pytest.mark.parametrize(("kind", "off"), [(np.float64, 2e-7), (np.float32, 5.1e-7)])
def test_the_error_function_is_as_good_as_it_says(kind: type[np.floating[Any]], off: float) -> None:
    x = np.linspace(-6, 6, 200_001).astype(np.float32).astype(kind)
    clipped = np.clip(x, -kind(ERF_END), kind(ERF_END))
    s = (clipped * kind(1 / ERF_END)) ** 2
    top, bottom = (np.polynomial.polynomial.polyval(s, np.array(c, kind)) for c in (ERF_P, ERF_Q))
    exact = np.array([math.erf(v) for v in x.tolist()])
    assert np.abs(np.clip(clipped * top / bottom + (x - clipped), -1, 1) - exact).max() < off


@pytest.mark.parametrize("kernels", KERNELS)
def test_the_error_function_ends_at_one_exactly(kernels: str) -> None:
    """A gelu multiplies what is left of 1 + erf(x) by x."""
    x = np.linspace(-200, 200, 40_001).astype(np.float32)
    b = GraphBuilder("gelu")
    given = b.input("x", x.shape)
    erf = b.op("erf", b.op("mul", given, b.const("root", math.sqrt(0.5))))
    b.output(erf)
    b.output(b.op("mul", b.op("mul", given, b.const("half", 0.5)), b.op("add", erf, b.const("one", 1.0))))
    model = TfliteStep(export_tflite(b.build(), io={}), kernels=kernels)
    outputs, _ = model.execute({"x": x[None]}, model.initial_state())
    erf, gelu = (outputs[p.name][0] for p in model.document.outputs)
    exact = np.array([v / 2 * math.erfc(-v / math.sqrt(2)) for v in x.astype(np.float64).tolist()])
    assert (np.abs(gelu - exact) / np.maximum(1, np.abs(exact))).max() < 2e-6
    far = np.abs(x) > 5.5
    np.testing.assert_array_equal(erf[far], np.sign(x[far]))
    assert not gelu[x < -5.5].any()


def test_int8_weights_stay_int8_and_equal_our_own() -> None:
    graph = quantize_weights_int8(run_passes(l2mu(), OPTIMISE))
    data = export_tflite(graph, io={}, precision="w8")
    found = check_tflite(data, graph, steps=100)
    assert found.excused == 0
    assert found.worst <= 1e-5
    assert len(data) < 0.6 * len(export_tflite(run_passes(l2mu(), OPTIMISE), io={}))
    values = read_tflite(data).subgraphs[0].values
    weights = [v for v in values if v.data is not None and len(v.shape) == 2 and v.shape[0] > 4]
    assert weights
    assert {v.type for v in weights} == {"INT8"}


def test_a_model_that_is_not_the_graph_is_found_out() -> None:
    graph = busy_graph()
    other = graph.replace(
        tensors={**graph.tensors, "w": dataclasses.replace(graph.tensors["w"], data=graph.tensors["w"].data * 1.01)}
    )
    with pytest.raises(DataError, match="not made of this graph"):
        check_tflite(export_tflite(other, io={}), graph)


def test_a_difference_names_value_and_step(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = busy_graph()
    data = export_tflite(graph, io={})
    execute = TfliteStep.execute
    calls = []

    def wrong(self: TfliteStep, inputs: Any, state: Any) -> Any:
        outputs, following = execute(self, inputs, state)
        calls.append(1)
        if len(calls) == 4:
            outputs = {**outputs, "peak": outputs["peak"] + np.float32(2e-5) * np.maximum(1, np.abs(outputs["peak"]))}
        return outputs, following

    monkeypatch.setattr(TfliteStep, "execute", wrong)
    with pytest.raises(ReplayError, match="'peak' differs from the reference at step 3"):
        check_tflite(data, graph)


def checked_otherwise(monkeypatch: pytest.MonkeyPatch, element: int, at: int, states: str = "io") -> Checked:
    """A check of a neuron, of which the first step brings element 1 next to its threshold; the model decides the
    spike of an `element` otherwise than LiteRT at one step.
    """
    graph, execute, calls = neuron(), TfliteStep.execute, []
    (fired,) = graph.entries["step"].outputs

    def otherwise(self: TfliteStep, inputs: Any, state: Any) -> Any:
        outputs, following = ({n: v.copy() for n, v in found.items()} for found in execute(self, inputs, state))
        if len(calls) == at:
            change = 1 - 2 * outputs[fired][0, element]
            outputs[fired][0, element] += change
            if following:
                following["u"][0, element] -= change
                following["n"][0, element] += change
        calls.append(1)
        return outputs, following

    x = np.full((6, 3), 0.26, np.float32)
    x[0] = [0.1, UP, 0.1]
    monkeypatch.setattr(TfliteStep, "execute", otherwise)
    data = export_tflite(graph, io={}, states=states)
    return check_tflite(data, graph, inputs={"x": x}, kernels=("reference",))


def test_a_spike_next_to_its_threshold_is_excused_and_counted_and_what_follows_is_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = checked_otherwise(monkeypatch, element=1, at=0)
    assert (found.steps, found.excused) == (6, 1)
    assert found.worst <= 1e-6
    found = checked_otherwise(monkeypatch, element=1, at=0, states="resource")
    assert (found.steps, found.excused) == (1, 1)  # which way its states went cannot be seen


@pytest.mark.parametrize("states", ["io", "resource"])
@pytest.mark.parametrize(("element", "at"), [(2, 0), (1, 1)])
def test_a_spike_beside_or_behind_one_that_is_close_is_not_excused(
    monkeypatch: pytest.MonkeyPatch, element: int, at: int, states: str
) -> None:
    with pytest.raises(ReplayError, match=f"at step {at}"):
        checked_otherwise(monkeypatch, element, at, states)


def test_an_infinite_element_of_a_state_excuses_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    b = GraphBuilder("endless")
    b.update(b.state("u", np.zeros(2)), b.op("exp", b.input("x", (2,))))
    b.output(b.op("abs", "x"))
    graph, execute = b.build(), TfliteStep.execute
    data, inputs = export_tflite(graph, io={}), {"x": np.array([[200.0, 0.0]], np.float32)}
    assert check_tflite(data, graph, inputs=inputs).worst < 1e-6

    def wrong(self: TfliteStep, inputs: Any, state: Any) -> Any:
        outputs, following = execute(self, inputs, state)
        return outputs, {"u": following["u"] + np.float32([0, 0.5])}

    monkeypatch.setattr(TfliteStep, "execute", wrong)
    with pytest.raises(ReplayError, match=r"'u.next' differs"):
        check_tflite(data, graph, inputs=inputs)


def test_streams_start_from_first_values() -> None:
    """[N, T, …] inputs: states that a reset keeps start anew too, inside and outside of the model."""
    graph = ports()
    inputs = {n: a.reshape(3, 10, *a.shape[1:]) for n, a in inputs_of(graph, 30).items()}
    for states in ("io", "resource"):
        found = check_tflite(export_tflite(graph, io={}, states=states), graph, inputs=inputs)
        assert (found.steps, found.excused) == (30, 0)
    for wrong in ({**inputs, "x": inputs["x"][0]}, {n: a[:, :0] for n, a in inputs.items()}):
        with pytest.raises(DataError, match="are no streams"):
            check_tflite(export_tflite(graph, io={}), graph, inputs=wrong)


def test_what_cannot_be_exported_is_listed() -> None:
    b = GraphBuilder("bare")
    x = b.input("x", (4,), INT8)
    wide = b.op("rescale", x, b.const("m", np.full(4, 3), INT8), shift=1, to="int16", source="layer.one")
    b.output(b.op("lookup", wide, b.const("t", np.zeros(5), INT16), source="layer.two"))
    with pytest.raises(UnsupportedError, match="has no TFLite form") as caught:
        export_tflite(b.build(), io={})
    assert caught.value.items[2:5:2] == (
        "step.rescale0 is int16 (from layer.one)",
        "step.lookup1 is int16 (from layer.two)",
    )
    b = GraphBuilder("silent")
    b.update(b.state("u", np.zeros(2)), b.const("one", np.ones(2)))
    b.output(b.op("neg", "u"))
    with pytest.raises(UnsupportedError, match="has no TFLite form") as caught:
        export_tflite(b.build(), io={})
    assert "takes no input" in caught.value.items[0]
    b = GraphBuilder("clash")
    b.update(b.state("u", np.zeros(2)), b.input("u.next", (2,)))
    b.output(b.op("neg", "u"))
    with pytest.raises(UnsupportedError, match="has no TFLite form") as caught:
        export_tflite(b.build(), io={})
    assert caught.value.items == ("u.next is also the output of a state's next value",)
    with pytest.raises(UsageError, match="states 'inside'"):
        export_tflite(busy_graph(), io={}, states="inside")
    with pytest.raises(UsageError, match="precision 'int4'"):
        export_tflite(busy_graph(), io={}, precision="int4")
    with pytest.raises(UsageError, match="kernels 'gpu'"):
        TfliteStep(export_tflite(busy_graph(), io={}), kernels="gpu")


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.schema_py_generated", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    data = None
    with pytest.raises(ToolchainError, match=r"pip install 'edgekit\[tflite\]'"):
        data = export_tflite(busy_graph(), io={})
    assert data is None


def test_without_a_runtime_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = export_tflite(busy_graph(), io={})
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ToolchainError, match=r"pip install 'edgekit\[tflite\]'"):
        TfliteStep(data)


def test_tables_are_those_of_the_generated_schema() -> None:
    """Numbers and slots are written down here, so that a board without the schema can check a model."""
    s = schema()
    for name, row in BUILTINS.items():
        assert getattr(s.BuiltinOperator, name) == row.number
        if row.options:
            assert getattr(s.BuiltinOptions, row.options) == row.union
    for name, fields in TABLES.items():
        made = getattr(s, f"{name}T")()
        assert len(fields) <= len(vars(made)) + (name == "SignatureDef"), name  # one of its slots is retired
    assert schema_module.VERSIONS.keys() <= BUILTINS.keys()
    assert KEY == "edgekit"
