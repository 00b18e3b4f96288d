"""ONNX files: every op of a float graph, whole models, ports and metadata, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from graph_samples import busy_graph
from onnx.reference import ReferenceEvaluator
from random_graphs import random_graph

from edgekit.artifact.exported import KEY, read_step_document
from edgekit.backends.onnx import (
    FORM_KEY,
    FORMS,
    SUPPORTED,
    OnnxRuntime,
    calibrate_onnx,
    check_onnx,
    export_onnx,
    make_program,
    packages,
    read_file,
)
from edgekit.backends.onnx.rows import WRITTEN
from edgekit.errors import ArtifactError, DataError, ReplayError, ToolchainError, UnsupportedError, UsageError
from edgekit.ir import INT8, INT16, OPS, SPIKE, Graph, GraphBuilder, QuantParams
from edgekit.passes.pipelines import OPTIMISE, run_passes
from edgekit.reference import Interpreter

UNARY = ("neg", "abs", "sign", "exp", "tanh", "sigmoid", "relu", "erf", "sin", "cos", "floor", "round", "flush")
BINARY = ("add", "sub", "mul", "div", "minimum", "maximum")
COMPARE = ("gt", "ge", "lt", "le", "eq", "ne")
Build = Callable[[GraphBuilder], str]
RNG = np.random.default_rng(5)


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def built(make: Build, *, shape: tuple[int, ...] = (2, 3)) -> Graph:
    """A graph with input x of a shape, what `make` does with it as y, and a state s of spikes that y moves."""
    b = GraphBuilder("case")
    b.input("x", shape)
    b.input("v", shape[-1:])
    b.state("s", RNG.random(shape) < 0.5, SPIKE)
    y = make(b)
    b.update("s", b.op("gt", b.op("add", "x", "v"), b.const("half", 0.5)))
    b.output(b.op("cast", y, to="float32") if b.tensor(y).dtype is SPIKE else y)
    return b.build()


def positive(kind: str) -> Build:
    return lambda b: b.op(kind, b.op("add", b.op("abs", "x"), b.const("some", 0.25)))


def weights8(b: GraphBuilder, *shape: int, per_tensor: bool = False) -> str:
    data = numbers(*shape)
    scale = np.abs(data).reshape(shape[0], -1).max(axis=1) / 127
    scale = scale.max()[None] if per_tensor else scale
    quant = QuantParams(scale, np.zeros(scale.size, np.int32), None if per_tensor else 0, -127, 127)
    return b.const("w8", quant.quantize(data), INT8, quant)


def live_linear(b: GraphBuilder, x: str) -> str:
    """Weights that are a value: a plastic layer."""
    w = b.op("reshape", b.op("concat", "x", b.op("tanh", "x"), axis=0), shape=(4, 3))
    return b.op("linear", x, w)


def constant_beside_streams(b: GraphBuilder) -> str:
    return b.op("concat", b.const("c", numbers(4, 3)), "x", axis=0)


def infinite(b: GraphBuilder) -> str:
    """A value of constants alone that cannot be folded, and that one stream shares with the others."""
    one_by_zero = b.op("reciprocal", b.const("zero", np.zeros(3)))
    return b.op("minimum", b.op("concat", b.op("reshape", one_by_zero, shape=(1, 3)), "x", axis=0), b.const("c", 5.0))


CONV = {"stride": (2,), "dilation": (1,)}
CASES: dict[str, tuple[str, Build, tuple[int, ...]]] = {
    **{kind: (kind, lambda b, kind=kind: b.op(kind, "x"), (2, 3)) for kind in UNARY},
    **{kind: (kind, positive(kind), (2, 3)) for kind in ("log", "sqrt", "reciprocal")},
    **{kind: (kind, lambda b, kind=kind: b.op(kind, "x", b.const("c", numbers(3))), (2, 3)) for kind in BINARY},
    **{f"{kind} a shorter value": (kind, lambda b, kind=kind: b.op(kind, "v", "x"), (3, 3)) for kind in BINARY},
    **{kind: (kind, lambda b, kind=kind: b.op(kind, "x", "v"), (3, 3)) for kind in COMPARE},
    **{
        f"{kind} of floors": (kind, lambda b, kind=kind: b.op(kind, b.op("floor", "x"), b.op("floor", "v")), (3, 3))
        for kind in COMPARE
    },
    **{
        kind: (kind, lambda b, kind=kind: b.op(kind, "s", b.op("gt", "v", b.const("c", 0.0))), (3, 3))
        for kind in ("logical_and", "logical_or")
    },
    "logical_not": ("logical_not", lambda b: b.op("logical_not", "s"), (2, 3)),
    "where": ("where", lambda b: b.op("where", "s", "x", b.const("c", -1.0)), (2, 3)),
    "where of a row": ("where", lambda b: b.op("where", b.op("gt", "v", b.const("c", 0.0)), "x", "v"), (3, 3)),
    "where of a moved row": (
        "where",
        lambda b: b.op("where", b.op("slice", "s", axis=0, start=0, stop=1), "x", b.const("c", numbers(2, 3))),
        (2, 3),
    ),
    "cast to spike": ("cast", lambda b: b.op("cast", b.op("relu", "x"), to="spike"), (2, 3)),
    "cast to float": ("cast", lambda b: b.op("mul", b.op("cast", "s", to="float32"), "x"), (2, 3)),
    "linear": ("linear", lambda b: b.op("linear", "x", b.const("w", numbers(4, 3)), b.const("c", numbers(4))), (2, 3)),
    "linear of spikes": ("linear", lambda b: b.op("linear", "s", b.const("w", numbers(4, 3))), (2, 3)),
    "linear of a row": (
        "linear",
        lambda b: b.op("linear", "v", b.const("w", numbers(4, 3)), b.const("c", 2.0)),
        (2, 3),
    ),
    "linear int8": ("linear", lambda b: b.op("linear", "x", weights8(b, 4, 3), b.const("c", numbers(4))), (2, 3)),
    "linear int8 of a row": ("linear", lambda b: b.op("linear", "v", weights8(b, 4, 3, per_tensor=True)), (2, 3)),
    "linear int8 of spikes": ("linear", lambda b: b.op("linear", "s", weights8(b, 4, 3)), (2, 3, 3)),
    "linear live": ("linear", lambda b: live_linear(b, "x"), (2, 3)),
    "linear live of a row": ("linear", lambda b: live_linear(b, "v"), (2, 3)),
    "linear live of spikes": ("linear", lambda b: live_linear(b, "s"), (2, 3)),
    "linear live of a constant": ("linear", lambda b: live_linear(b, b.const("c", numbers(5, 2, 3))), (2, 3)),
    "sum": ("sum", lambda b: b.op("sum", "x", axis=0), (2, 3)),
    "sum kept": ("sum", lambda b: b.op("sum", "x", axis=1, keepdims=True), (2, 3)),
    "amax": ("amax", lambda b: b.op("amax", "x", axis=1), (2, 3)),
    "amax kept": ("amax", lambda b: b.op("amax", "x", axis=0, keepdims=True), (2, 3)),
    **{
        f"cumsum {reverse} {exclusive}": (
            "cumsum",
            lambda b, r=reverse, e=exclusive: b.op("cumsum", "x", axis=1, reverse=r, exclusive=e),
            (2, 5),
        )
        for reverse in (False, True)
        for exclusive in (False, True)
    },
    "reshape": ("reshape", lambda b: b.op("reshape", "x", shape=(3, 1, 2)), (2, 3)),
    "reshape to one": ("reshape", lambda b: b.op("reshape", b.op("sum", "v", axis=0), shape=(1, 1)), (2, 3)),
    "reshape spikes": ("reshape", lambda b: b.op("reshape", "s", shape=(6,)), (2, 3)),
    "transpose": ("transpose", lambda b: b.op("transpose", "x", perm=(2, 0, 1)), (2, 3, 4)),
    "expand": ("expand", lambda b: b.op("expand", "v", shape=(4, 2, 3)), (2, 3)),
    "expand spikes": ("expand", lambda b: b.op("expand", "s", shape=(2, 2, 3)), (2, 3)),
    "expand nothing": ("expand", lambda b: b.op("expand", "s", shape=(2, 3)), (2, 3)),
    "slice": ("slice", lambda b: b.op("slice", "x", axis=1, start=1, stop=6, step=2), (2, 7)),
    "slice spikes": ("slice", lambda b: b.op("slice", "s", axis=0, start=1, stop=2), (2, 3)),
    "concat": ("concat", lambda b: b.op("concat", "x", b.op("tanh", "x"), axis=1), (2, 3)),
    "concat spikes": ("concat", lambda b: b.op("concat", "s", b.op("logical_not", "s"), axis=0), (2, 3)),
    "concat a constant": ("concat", constant_beside_streams, (2, 3)),
    "gather": ("gather", lambda b: b.op("gather", "x", axis=0, indices=(1, 0, 1)), (2, 3)),
    "pad": ("pad", lambda b: b.op("pad", "x", before=(1, 0), after=(0, 2), value=-1.5), (2, 3)),
    "pad spikes": ("pad", lambda b: b.op("pad", "s", before=(0, 1), after=(1, 0)), (2, 3)),
    "conv": (
        "conv",
        lambda b: b.op("conv", "x", b.const("w", numbers(4, 2, 3)), b.const("c", numbers(4)), **CONV),
        (2, 7),
    ),
    "conv in groups": (
        "conv",
        lambda b: b.op("conv", "x", b.const("w", numbers(4, 1, 2)), stride=(1,), dilation=(3,), groups=2),
        (2, 7),
    ),
    "conv over a plane": (
        "conv",
        lambda b: b.op("conv", "s", b.const("w", numbers(3, 2, 2, 3)), stride=(1, 2), dilation=(2, 1)),
        (2, 5, 7),
    ),
    "conv over a cube": (
        "conv",
        lambda b: b.op("conv", "x", b.const("w", numbers(2, 2, 2, 2, 2)), stride=(1, 1, 1), dilation=(1, 1, 1)),
        (2, 3, 4, 3),
    ),
    "conv int8": ("conv", lambda b: b.op("conv", "x", weights8(b, 4, 2, 3), b.const("c", numbers(4)), **CONV), (2, 7)),
    "nothing folded": ("minimum", infinite, (2, 3)),
    "windows": ("reshape", lambda b: b.op("windows", "x", size=(2, 3), stride=(1, 2), dilation=(2, 1)), (2, 5, 7)),
    "memory_update": (
        "linear",
        lambda b: b.op("memory_update", "x", b.const("a", numbers(3, 3)), "s", b.const("b", numbers(3, 3))),
        (2, 3),
    ),
}


def test_every_op_has_a_case():
    assert {kind for kind, _, _ in CASES.values()} == SUPPORTED
    learning = {kind for kind, spec in OPS.items() if spec.group == "plastic"}  # an exported step does not learn
    others = {"fused", "rescale", "quantize", "dequantize", "lookup", "windows", "memory_update"}
    assert set(OPS) - SUPPORTED == others | learning


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES)
def test_every_op_is_that_of_the_reference(case, form):
    """One stream and three, step by step and as a sequence."""
    _, make, shape = CASES[case]
    graph = built(make, shape=shape)
    checked = check_onnx(export_onnx(graph, form=form), graph, steps=6)
    assert (checked.form, checked.streams, checked.steps) == (form, 3, 6)
    assert checked.excused == 0


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs_are_those_of_the_reference(seed):
    graph = random_graph(seed)
    for form in FORMS:
        check_onnx(export_onnx(graph, form=form), graph, steps=8, seed=seed)


@pytest.mark.drawn(2)
@pytest.mark.slow
@pytest.mark.parametrize("start", range(40, 160 if "EDGEKIT_SWEEPS" in os.environ else 80, 40))
def test_many_random_graphs_before_and_after_optimisation(start):
    for seed in range(start, start + 40):
        plain = random_graph(seed, ops=24)
        for graph in (plain, run_passes(plain, OPTIMISE)):
            for precision in ("fp32", "w8"):
                for form in FORMS:
                    data = export_onnx(graph, precision=precision, form=form)
                    check_onnx(data, graph, steps=8, seed=seed)  # some of these expand: more would amplify rounding


@pytest.mark.parametrize("seed", range(12))
def test_the_evaluator_of_the_onnx_package_agrees(seed):
    """A second oracle, which reads the file by the text of the standard."""
    graph = random_graph(seed, quantised=False)
    evaluator = ReferenceEvaluator(onnx.load_from_string(export_onnx(graph)))
    program = make_program(graph).graph
    reference = Interpreter(program)
    state = reference.initial_state(3)
    rng = np.random.default_rng(seed)
    inputs = {n: rng.normal(size=(3, *graph.tensors[n].shape)).astype(np.float32) for n in graph.entries["step"].inputs}
    outputs, following = reference.execute(inputs, state)
    got = evaluator.run(None, {**inputs, **{n: v.astype(np.float32) for n, v in state.items()}})
    wanted = [*outputs.values(), *following.values()]
    for value, right in zip(got, wanted, strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-5, atol=1e-5)


# --- ports and metadata ---


def test_ports_are_inputs_then_states_and_outputs_then_next_states():
    model = onnx.load_from_string(export_onnx(busy_graph()))
    assert [i.name for i in model.graph.input] == ["x", "u", "total"]
    assert [o.name for o in model.graph.output] == ["y", "peak", "u.next", "total.next"]
    shapes = [[d.dim_param or d.dim_value for d in p.type.tensor_type.shape.dim] for p in model.graph.input]
    assert shapes == [["N", 3], ["N", 5], ["N", 5]]
    assert (model.ir_version, [(o.domain, o.version) for o in model.opset_import]) == (8, [("", 17)])
    assert (model.producer_name, model.domain) == ("edgekit", "ai.edgekit")
    assert "0.01 s" in model.doc_string


def test_a_sequence_has_time_behind_the_streams():
    model = onnx.load_from_string(export_onnx(busy_graph(), form="sequence"))
    axes = {
        p.name: [d.dim_param or d.dim_value for d in p.type.tensor_type.shape.dim]
        for p in (*model.graph.input, *model.graph.output)
    }
    assert axes["x"] == ["N", "T", 3]
    assert axes["peak"] == ["N", "T", 4]
    assert axes["u"] == axes["u.next"] == ["N", 5]
    (scan,) = model.graph.node
    (body,) = (a.g for a in scan.attribute if a.name == "body")
    inside = {n for node in body.node for n in node.output} | {p.name for p in body.input}
    assert not inside & {p.name for p in (*model.graph.input, *model.graph.output)}


@pytest.mark.parametrize("form", FORMS)
def test_the_document_travels_in_the_file(form):
    graph = busy_graph()
    meta = {
        "input": {"name": "x", "unit": "g", "rate_hz": 100.0},
        "decision": "sum",
        "classes": ["a", "b", "c", "d", "e"],
    }
    model = onnx.load_from_string(export_onnx(graph, meta=meta, form=form))
    properties = {p.key: p.value for p in model.metadata_props}
    assert properties[FORM_KEY] == form
    document = read_step_document(properties[KEY])
    assert (document.name, document.precision, document.dt) == ("tiny", "fp32", 0.01)
    assert document.graph_sha256 == graph.hash()
    assert [(s.input, s.output, s.reset) for s in document.states] == [
        ("u", "u.next", "reset"),
        ("total", "total.next", "keep"),
    ]
    np.testing.assert_array_equal(document.states[1].init, np.ones(5, np.float32))
    assert document.io["classes"] == ["a", "b", "c", "d", "e"]


def test_an_output_that_is_a_state_or_twice_the_same_gets_a_name_of_its_own():
    b = GraphBuilder("twice")
    x, u = b.input("x", (2,)), b.state("u", np.ones(2))
    k = b.state("k", np.zeros(2))
    y = b.op("add", x, u, out="y")
    b.update(u, y)
    b.update(k, x)
    b.output(y, u, y, x, b.const("c", numbers(2)))
    graph = b.build()
    model = onnx.load_from_string(export_onnx(graph))
    names = [o.name for o in model.graph.output]
    assert names == ["y", "u.out", "y.out", "x.out", "c.out", "u.next", "k.next"]
    for form in FORMS:
        check_onnx(export_onnx(graph, form=form), graph, steps=3)


def test_a_value_named_like_a_next_state_makes_way():
    b = GraphBuilder("clash")
    x, u = b.input("x", (2,)), b.state("u", np.ones(2))
    y = b.op("tanh", b.op("add", x, u, out="u.next"))
    b.update(u, y)
    b.output(y)
    graph = b.build()
    check_onnx(export_onnx(graph), graph, steps=4)


def test_a_state_that_nothing_updates_comes_back():
    b = GraphBuilder("still")
    x, u = b.input("x", (2,)), b.state("u", numbers(2))
    b.output(b.op("add", x, u))
    graph = b.build()
    for form in FORMS:
        check_onnx(export_onnx(graph, form=form), graph, steps=3)


def test_equal_graphs_give_equal_bytes():
    assert export_onnx(busy_graph()) == export_onnx(busy_graph())


def test_the_engine_starts_from_the_first_values_and_runs_any_number_of_streams():
    graph = busy_graph()
    engine, reference = OnnxRuntime(export_onnx(graph)), Interpreter(graph)
    for streams in (1, 2, 7):
        state = engine.initial_state(streams)
        x = np.random.default_rng(0).normal(size=(streams, 3)).astype(np.float32)
        got = engine.run({"x": x, **state})
        outputs, following = reference.execute({"x": x}, reference.initial_state(streams))
        np.testing.assert_allclose(got["y"], outputs["y"], atol=1e-6)
        np.testing.assert_allclose(got["u.next"], following["u"], atol=1e-6)


def test_other_entries_stay_behind():
    graph = random_graph(3, entries=2)
    names = [i.name for i in onnx.load_from_string(export_onnx(graph)).graph.input]
    assert "x0" in names
    assert "x1" not in names


def test_int8_weights_stay_int8_in_the_file():
    b = GraphBuilder("heavy")
    x = b.input("x", (256,))
    b.output(b.op("linear", x, b.const("w", numbers(256, 256)), b.const("c", numbers(256))))
    graph = b.build()
    full, small = export_onnx(graph), export_onnx(graph, precision="w8")
    assert len(small) < 0.27 * len(full)
    assert check_onnx(small, graph, steps=4).worst < 1e-5


# --- what is refused ---


def changed_weights(data: bytes, name: str) -> bytes:
    model = onnx.load_from_string(data)
    (weights,) = (t for t in model.graph.initializer if t.name.startswith(name))
    array = onnx.numpy_helper.to_array(weights).copy()
    array.flat[0] += 0.01
    weights.CopyFrom(onnx.numpy_helper.from_array(array, weights.name))
    return model.SerializeToString()


def test_a_file_that_computes_something_else_is_refused_by_value_and_step():
    graph = busy_graph()
    with pytest.raises(ReplayError, match=r"'u.next' differs from the reference at step 0") as caught:
        check_onnx(changed_weights(export_onnx(graph), "c/"), graph)
    assert any("u.next: off by 0.0" in item for item in caught.value.items)


def test_a_file_of_another_graph_is_refused():
    with pytest.raises(DataError, match="was not made of this graph"):
        check_onnx(export_onnx(busy_graph()), busy_graph("other"))


@pytest.mark.parametrize("data", [b"", b"not onnx", b"\xff" * 50, export_onnx(busy_graph())[:400]])
def test_damaged_files_are_refused(data):
    with pytest.raises(ArtifactError, match="ONNX file"):
        OnnxRuntime(data)


def test_a_file_cut_or_changed_anywhere_never_reaches_an_answer_that_differs_in_form():
    """Cut files are refused; one with a changed byte is refused, or is a file with the same ports."""
    data, rng = export_onnx(busy_graph()), np.random.default_rng(0)
    for end in range(0, len(data) - 1, 97):
        with pytest.raises(ArtifactError):
            read_file(data[:end])
    for at in rng.integers(0, len(data), 300):
        changed = bytearray(data)
        changed[at] ^= 1 << int(rng.integers(8))
        try:
            document, form = read_file(bytes(changed))
        except ArtifactError:
            continue
        assert form == "step"
        assert [p.shape for p in document.inputs] == [(3,)]


def with_external_data(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")


def with_another_operator(model: onnx.ModelProto) -> None:
    model.graph.node.append(onnx.helper.make_node("Loop", ["", "", "u"], ["more"], body=model.graph))


def with_an_enormous_value(model: onnx.ModelProto) -> None:
    (node,) = (n for n in model.graph.node if n.op_type == "Expand")
    shape = next(t for t in model.graph.initializer if t.name == node.input[1])
    shape.CopyFrom(onnx.numpy_helper.from_array(np.array([1, 2**20, 2**20, 4], np.int64), shape.name))


def with_an_enormous_constant(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [2**20, 2**20]


def with_a_function(model: onnx.ModelProto) -> None:
    model.functions.add(name="f", domain="mine")


def with_another_opset(model: onnx.ModelProto) -> None:
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))


def with_another_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "u.next"


def with_another_shape(model: onnx.ModelProto) -> None:
    (prop,) = (p for p in model.metadata_props if p.key == KEY)
    document = json.loads(prop.value)
    document["inputs"][0]["shape"] = [4]
    prop.value = json.dumps(document)


def with_two_states_on_one_output(model: onnx.ModelProto) -> None:
    for prop in model.metadata_props:
        prop.value = prop.value.replace('"total.next"', '"u.next"')


def of_someone_else(model: onnx.ModelProto) -> None:
    del model.metadata_props[:]


HOSTILE = {
    with_external_data: "keeps constant .* in another file",
    with_another_operator: "'Loop' that edgekit does not write",
    with_an_enormous_value: r"has a value .* elements a stream|refused by onnx.checker",
    with_an_enormous_constant: "has a constant",
    with_a_function: "functions of its own",
    with_another_opset: "is not of opset 17 alone",
    with_another_output: "its document says",
    with_another_shape: "its document says",
    with_two_states_on_one_output: "named twice",
    of_someone_else: "no edgekit properties",
}


@pytest.mark.parametrize("change", HOSTILE, ids=lambda change: change.__name__)
def test_hostile_files_never_reach_a_runtime(change, monkeypatch):
    model = onnx.load_from_string(export_onnx(busy_graph()))
    change(model)
    monkeypatch.setattr("onnxruntime.InferenceSession", lambda *_, **__: pytest.fail("reached ONNX Runtime"))
    with pytest.raises(ArtifactError, match=HOSTILE[change]):
        OnnxRuntime(model.SerializeToString())


def test_the_body_of_a_sequence_is_looked_into():
    model = onnx.load_from_string(export_onnx(busy_graph(), form="sequence"))
    (body,) = (a.g for a in model.graph.node[0].attribute if a.name == "body")
    body.node[0].op_type = "Loop"
    with pytest.raises(ArtifactError, match="'Loop' that edgekit does not write"):
        read_file(model.SerializeToString())


def test_files_beyond_a_protobuf_are_not_read(monkeypatch):
    monkeypatch.setattr("edgekit.backends.onnx.read.LARGEST", 100)
    with pytest.raises(ArtifactError, match="at most 100 are read"):
        read_file(export_onnx(busy_graph()))


def test_what_is_read_is_what_is_written():
    """Every operator that may be read is one that some graph needs."""
    graphs = [built(make, shape=shape) for _, make, shape in CASES.values()]
    files = [export_onnx(graph, form=form) for graph in graphs for form in FORMS]
    b = GraphBuilder("wide")
    w, v = b.const("w", numbers(32, 32)), b.const("v", numbers(32, 32))
    b.output(b.op("linear", b.input("x", (32,)), w, b.op("linear", b.input("v.x", (32,)), v)), "x")
    wide = b.build()
    calibration = calibrate_onnx(wide, {"x": numbers(2, 4, 32), "v.x": numbers(2, 4, 32)})
    files.append(export_onnx(wide, precision="int8", calibration=calibration))
    found: set[str] = set()

    def collect(graph: onnx.GraphProto) -> None:
        for node in graph.node:
            found.add(node.op_type)
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    collect(attribute.g)

    for data in files:
        collect(onnx.load_from_string(data).graph)
    assert found == WRITTEN


def test_everything_without_an_onnx_form_is_listed():
    b = GraphBuilder("whole")
    x = b.input("x", (2,), INT16)
    y = b.op("rescale", b.op("add", x, x), b.const("m", [3, 3], INT16), shift=1, to="int16", source="layer.0")
    b.output(b.op("rescale", y, y, shift=2, to="int8", source="layer.1"))
    with pytest.raises(UnsupportedError) as caught:
        export_onnx(b.build())
    assert [i for i in caught.value.items if "layer.0" in i]
    assert [i for i in caught.value.items if "layer.1" in i]


def test_integers_and_clashing_ports_are_listed():
    b = GraphBuilder("whole")
    x, u = b.input("u.next", (2,)), b.state("u", np.zeros(2))
    k = b.state("k", np.zeros(2, np.int16), INT16)
    b.update(k, b.op("neg", k, source="counter"))
    b.output(b.op("add", x, u))
    with pytest.raises(UnsupportedError) as caught:
        export_onnx(b.build())
    assert len(caught.value.items) == 3
    assert any("counter" in i for i in caught.value.items)


def test_options_that_do_not_fit():
    with pytest.raises(UsageError, match="step, sequence"):
        export_onnx(busy_graph(), form="window")
    with pytest.raises(UsageError, match="fp32, w8, int8"):
        export_onnx(busy_graph(), precision="int4")
    with pytest.raises(UsageError, match="needs a calibration"):
        export_onnx(busy_graph(), precision="int8")


def test_a_file_larger_than_a_protobuf_is_refused(monkeypatch):
    monkeypatch.setattr("edgekit.backends.onnx.proto.LARGEST", 100)
    with pytest.raises(UnsupportedError, match=r"bytes of constants.*w8"):
        export_onnx(busy_graph())


def test_without_the_package_the_extra_is_named(monkeypatch):
    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(packages, "import_module", absent)
    with pytest.raises(ToolchainError, match=r"package onnx: is not installed; pip install 'edgekit\[onnx\]'"):
        export_onnx(busy_graph())
