"""ONNX import: shapes, states, constants, refusals, all with models written node by node."""

from __future__ import annotations

import builtins
import subprocess
import sys
import time
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_models import BOOL, FLOAT, INT64, leaky, model, node, port

from edgekit.errors import ReplayError, UnsupportedError, UsageError
from edgekit.frontends.imported import Imported
from edgekit.frontends.onnx import import_onnx
from edgekit.ir import SPIKE
from edgekit.reference import Interpreter

rng = np.random.default_rng(0)


def shapes(imported: Imported) -> dict[str, tuple[int, ...]]:
    step = imported.graph.entries["step"]
    return {n: imported.graph.tensor(n).shape for n in (*step.inputs, *step.outputs, *imported.graph.state_names)}


def one(
    op: str, *inputs: str, shape: tuple[Any, ...] = ("N", 4), out: tuple[Any, ...] | None = None, **attrs: Any
) -> Any:
    return model([node(op, list(inputs) or ["x"], ["y"], **attrs)], [port("x", *shape)], [port("y", *(out or shape))])


# --- states ----------------------------------------------------------------------------------------------------------


def test_a_leaky_neuron_keeps_its_membrane_and_gives_spikes() -> None:
    imported = import_onnx(leaky(), dt=1e-3)
    assert shapes(imported) == {"x": (4,), "spk": (3,), "mem": (3,)}
    assert imported.graph.tensor("spk").dtype is SPIKE
    assert imported.graph.dt == 1e-3
    assert imported.notes == ("state mem → mem_out: by name",)
    assert imported.report.spikes_fired > 0 == imported.report.spikes_differing


@pytest.mark.parametrize(
    ("state", "following"),
    [
        ("h0", "hn"),
        ("c_0", "c_n"),
        ("state", "stateN"),
        ("x1", "next_x1"),
        ("mem", "mem_next"),
        ("past_mem", "present_mem"),
        ("state_in", "state_out"),
        ("cache_in_0", "cache_out_0"),
        ("hx", "hy"),
        ("last", "last_out"),
        ("h.1", "h.1.next"),
        ("buf", "new_buf"),
    ],
)
def test_states_are_paired_by_name(state: str, following: str) -> None:
    imported = import_onnx(leaky(state=state, next=following))
    assert f"state {state} → {following}: by name" in imported.notes


def test_states_are_paired_by_order_where_names_tell_one_side() -> None:
    nodes = [node("Add", ["h", "x"], ["27"]), node("ReduceSum", ["27"], ["y"], keepdims=0)]
    built = model(nodes, [port("x", "N", 3), port("h", "N", 3)], [port("y", "N"), port("27", "N", 3)])
    built.graph.node[1].input.append("axes")
    built.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "axes"))
    assert import_onnx(built).notes == ("state h → 27: by order",)


def two_states(outputs: tuple[str, ...]) -> Any:
    nodes = [
        node("Sum", ["x", "h", "c"], [outputs[0]]),
        node("Mul", ["h", "half"], [outputs[1]]),
        node("Sub", ["c", "x"], [outputs[2]]),
    ]
    inputs = [port(n, "N", 3) for n in ("x", "h", "c")]
    return model(nodes, inputs, [port(n, "N", 3) for n in outputs], {"half": np.float32(0.5)})


def test_ambiguous_states_are_refused_with_the_candidates() -> None:
    with pytest.raises(UnsupportedError, match="outputs cannot be told") as refused:
        import_onnx(two_states(("o1", "o2", "o3")))
    assert "h:o2" in refused.value.items
    assert "--state" in refused.value.remedy
    with pytest.raises(UnsupportedError, match="cannot be told"):  # named in another order than they stand
        import_onnx(two_states(("y", "c1", "h1")))


def test_the_caller_says_states() -> None:
    imported = import_onnx(two_states(("o1", "o2", "o3")), states=["h:o2", "c:o3"])
    assert set(shapes(imported)) == {"x", "o1", "h", "c"}
    alone = import_onnx(two_states(("o1", "o2", "o3")), states=[])
    assert alone.graph.states == ()
    with pytest.raises(UsageError, match="do not fit the model") as refused:
        import_onnx(two_states(("o1", "o2", "o3")), states=["h:nothing", "c:o1", "c:o2"])
    assert refused.value.items == ("'h:nothing' is not input:output of this model",)
    with pytest.raises(UsageError, match="do not fit") as refused:
        import_onnx(two_states(("o1", "o2", "o3")), states=["c:o1", "c:o2"])
    assert refused.value.items == ("input 'c' is in two pairs",)


def test_a_signal_that_looks_like_a_state_is_none() -> None:
    nodes = [node("Add", ["h_in", "audio_in"], ["h_out"]), node("Tanh", ["h_out"], ["audio_out"])]
    built = model(
        nodes, [port("audio_in", "N", 4), port("h_in", "N", 4)], [port("audio_out", "N", 4), port("h_out", "N", 4)]
    )
    assert set(shapes(import_onnx(built))) == {"audio_in", "audio_out", "h_in"}
    assert import_onnx(one("Tanh")).graph.states == ()


def test_inputs_that_could_be_states_are_mentioned() -> None:
    nodes = [node("Add", ["a", "b"], ["p"]), node("Sub", ["b", "a"], ["q"])]
    built = model(nodes, [port("a", "N", 4), port("b", "N", 4)], [port("p", "N", 4), port("q", "N", 4)])
    assert "if b:q is a state, say so: --state b:q" in import_onnx(built).notes


def test_a_stored_value_is_where_a_state_starts() -> None:
    built = leaky()
    built.graph.initializer.append(onnx.numpy_helper.from_array(np.full((1, 3), 0.5, np.float32), "mem"))
    (state,) = import_onnx(built, states=["mem:mem_out"]).graph.states
    assert state.init.tolist() == [0.5, 0.5, 0.5]


def test_a_stored_value_of_another_input_is_a_constant() -> None:
    built = model(
        [node("Mul", ["x", "gain"], ["y"])],
        [port("x", "N", 4), port("gain")],
        [port("y", "N", 4)],
        {"gain": np.float32(2)},
    )
    imported = import_onnx(built)
    assert imported.notes == ("input 'gain' has a stored value and is taken as that constant",)
    assert set(shapes(imported)) == {"x", "y"}


# --- recurrent operators ---------------------------------------------------------------------------------------------


def recurrent(op: str, directions: int = 1, steps: int = 3, **attrs: Any) -> Any:
    gates, hidden, inputs = {"LSTM": 4, "GRU": 3, "RNN": 1}[op], 5, 4
    stored = {
        "w": rng.normal(size=(directions, gates * hidden, inputs)) / 2,
        "r": rng.normal(size=(directions, gates * hidden, hidden)) / 2,
        "b": rng.normal(size=(directions, 2 * gates * hidden)) / 2,
        "p": rng.normal(size=(directions, 3 * hidden)) / 2,
    }
    swapped = attrs.get("layout", 0)
    state = ("N", directions, hidden) if swapped else (directions, "N", hidden)
    x = ("N", steps, inputs) if swapped else (steps, "N", inputs)
    names = ["x", "w", "r", "b", "", "h_in", "c_in", "p"][: 8 if op == "LSTM" else 6]
    outputs = ["y", "h_out", "c_out"][: 3 if op == "LSTM" else 2]
    ports = [port("x", *x), port("h_in", *state), port("c_in", *state)][: 1 + len(outputs) - 1]
    leaving = [port("y", *(None,) * 4), port("h_out", *state), port("c_out", *state)][: len(outputs)]
    return model([node(op, names, outputs, hidden_size=hidden, **attrs)], ports, leaving, stored)


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_recurrent_operators(op: str, direction: str) -> None:
    imported = import_onnx(recurrent(op, 2 if direction == "bidirectional" else 1, direction=direction))
    assert imported.report.worst_error < 1e-6
    assert len(imported.graph.states) == (2 if op == "LSTM" else 1)


@pytest.mark.parametrize(
    ("op", "attrs"),
    [
        ("GRU", {"linear_before_reset": 1}),
        (
            "LSTM",
            {
                "activations": ["HardSigmoid", "ScaledTanh", "Softsign"],
                "activation_alpha": [0.3, 0.7],
                "activation_beta": [0.4, 0.9],
            },
        ),
        ("GRU", {"activations": ["Sigmoid", "LeakyRelu"], "activation_alpha": [0.2]}),
        ("RNN", {"activations": ["Affine"], "activation_alpha": [0.5], "activation_beta": [0.1]}),
        ("RNN", {"activations": ["Relu"]}),
    ],
    ids=str,
)
def test_attributes_of_recurrent_operators(op: str, attrs: dict[str, Any]) -> None:
    assert import_onnx(recurrent(op, steps=2, **attrs)).report.worst_error < 1e-6


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_batch_first_layout(op: str) -> None:
    """ONNX Runtime has no kernel for it, so onnx's own reference replays it."""
    built = recurrent(op, steps=2, layout=1)
    if op == "LSTM":
        built.graph.node[0].input.pop()
    imported = import_onnx(built)
    assert "ONNX Runtime" in imported.notes[-1]
    assert imported.report.worst_error < 1e-6


def test_refused_forms_of_recurrent_operators() -> None:
    for attrs, cause in (({"clip": 3.0}, "clips inside"), ({"input_forget": 1}, "couples input and forget")):
        with pytest.raises(UnsupportedError, match=cause):
            import_onnx(recurrent("LSTM", **attrs))
    with pytest.raises(UnsupportedError, match="runs over 400 steps; at most 256 are unrolled; export the step"):
        import_onnx(recurrent("GRU", steps=400))


def test_a_cell_that_forgets_is_mentioned() -> None:
    built = recurrent("GRU", steps=1)
    built.graph.node[0].input[5] = ""
    del built.graph.input[1]
    (note,) = import_onnx(built, states=[]).notes
    assert "starts from zeros in every step" in note


def test_states_are_paired_by_the_cell_that_keeps_them() -> None:
    built = recurrent("LSTM", steps=1)
    names = {"h_in": "a", "c_in": "d", "h_out": "e", "c_out": "g", "y": "f"}
    for value in (*built.graph.input, *built.graph.output):
        value.name = names.get(value.name, value.name)
    for field in (built.graph.node[0].input, built.graph.node[0].output):
        field[:] = [names.get(n, n) for n in field]
    notes = import_onnx(built).notes
    assert notes == ("state a → e: by its recurrent cell", "state d → g: by its recurrent cell")


# --- shapes, dtypes, constants ---------------------------------------------------------------------------------------


def test_an_open_length_is_refused_by_name_and_can_be_given() -> None:
    built = one("Tanh", shape=("batch", "time", 4))
    with pytest.raises(UnsupportedError, match="leaves lengths open") as refused:
        import_onnx(built)
    assert refused.value.items == ("input 'x', axis 1: length 'time'",)
    assert refused.value.remedy == "give the full shape of one step: --shape x=1,…,4"
    assert shapes(import_onnx(built, shapes={"x": (1, 2, 4)})) == {"x": (2, 4), "y": (2, 4)}
    with pytest.raises(UsageError, match="do not fit") as wrong:
        import_onnx(built, shapes={"x": (1, 2, 5), "z": (1,)})
    assert len(wrong.value.items) == 2


def test_a_batch_axis_elsewhere_is_known_by_its_symbol() -> None:
    nodes = [
        node("Transpose", ["h"], ["flat"], perm=[1, 0, 2]),
        node("Add", ["x", "flat"], ["y"]),
        node("Tanh", ["h"], ["h_out"]),
    ]
    built = model(
        nodes, [port("x", "s77", 2, 3), port("h", 2, "s77", 3)], [port("y", "s77", 2, 3), port("h_out", 2, "s77", 3)]
    )
    imported = import_onnx(built)
    assert shapes(imported) == {"x": (2, 3), "y": (2, 3), "h": (2, 3)}
    assert imported.report.worst_error == 0


def test_without_a_batch_axis_shapes_stay() -> None:
    assert shapes(import_onnx(one("Tanh", shape=(4, 3)))) == {"x": (4, 3), "y": (4, 3)}
    assert shapes(import_onnx(one("Tanh", shape=(1, 3)))) == {"x": (3,), "y": (3,)}


def test_shape_arithmetic_is_folded() -> None:
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Unsqueeze", ["n", "axes"], ["n1"]),
        node("Concat", ["n1", "rest"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["r"]),
        node("ConstantOfShape", ["target"], ["zeros"]),
        node("Add", ["r", "zeros"], ["y"]),
    ]
    stored = {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([2, 3])}
    imported = import_onnx(model(nodes, [port("x", "N", 6)], [port("y", "N", 2, 3)], stored))
    assert [op.kind for op in imported.graph.entries["step"].ops if op.kind not in ("reshape", "add")] == []


def test_integers_at_run_time_are_refused_or_fixed() -> None:
    nodes = [
        node("Gather", ["table", "i"], ["row"]),
        node("Cast", ["i"], ["f"], to=FLOAT),
        node("Sum", ["x", "row", "f"], ["y"]),
    ]
    built = model(
        nodes,
        [port("x", 1, 3), port("i", 1, elem=INT64), port("j", 1, elem=INT64)],
        [port("y", 1, 3)],
        {"table": rng.normal(size=(5, 3))},
    )
    with pytest.raises(UnsupportedError, match="takes integers at run time") as refused:
        import_onnx(built)
    assert refused.value.items == ("input 'i' is int64 and does more than look up rows of tables",)  # nothing reads j
    imported = import_onnx(built, constants={"i": [2]})
    assert set(shapes(imported)) == {"x", "y"}
    with pytest.raises(UsageError, match="are no inputs"):
        import_onnx(built, constants={"k": 1})


def test_arithmetic_on_live_integers_is_refused() -> None:
    nodes = [node("Cast", ["x"], ["i"], to=INT64), node("Add", ["i", "i"], ["j"]), node("Cast", ["j"], ["y"], to=FLOAT)]
    with pytest.raises(UnsupportedError, match="computes with int64 at run time"):
        import_onnx(model(nodes, [port("x", "N", 3)], [port("y", "N", 3)]))


def test_casts_truncate() -> None:
    nodes = [node("Cast", ["x"], ["i"], to=INT64), node("Cast", ["i"], ["y"], to=FLOAT)]
    imported = import_onnx(model(nodes, [port("x", "N", 3)], [port("y", "N", 3)]))
    y = Interpreter(imported.graph).execute({"x": np.array([[-1.7, 0.9, 2.0]], np.float32)}, {})[0]["y"]
    assert y.tolist() == [[-1, 0, 2]]


def test_truth_values_are_spikes() -> None:
    nodes = [node("Not", ["s"], ["n"]), node("Or", ["n", "h_in"], ["h_out"]), node("Cast", ["h_out"], ["y"], to=FLOAT)]
    built = model(
        nodes,
        [port("s", "N", 4, elem=BOOL), port("h_in", "N", 4, elem=BOOL)],
        [port("y", "N", 4), port("h_out", "N", 4, elem=BOOL)],
    )
    imported = import_onnx(built)
    assert {imported.graph.tensor(n).dtype for n in ("s", "h_in", "y")} == {SPIKE}


def test_float64_and_float16_are_computed_in_float32() -> None:
    for kind, dtype in (("double", np.float64), ("float16", np.float16)):
        elem = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        built = model([node("Mul", ["x", "w"], ["y"])], [port("x", "N", 4, elem=elem)], [port("y", "N", 4, elem=elem)])
        built.graph.initializer.append(onnx.numpy_helper.from_array(rng.normal(size=4).astype(dtype), "w"))
        assert kind in import_onnx(built).notes[0]


def test_infinite_masks_become_large() -> None:
    nodes = [node("Where", ["mask", "x", "low"], ["m"]), node("Softmax", ["m"], ["y"])]
    stored = {"mask": np.array([True, False, True]), "low": np.float32(-np.inf)}
    imported = import_onnx(model(nodes, [port("x", "N", 3)], [port("y", "N", 3)], stored))
    assert "largest finite number" in imported.notes[0]
    y = Interpreter(imported.graph).execute({"x": np.zeros((1, 3), np.float32)}, {})[0]["y"]
    assert y.tolist() == [[0.5, 0, 0.5]]


# --- quantised -------------------------------------------------------------------------------------------------------


def test_quantise_and_dequantise_are_exact() -> None:
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        node("MatMul", ["d", "wd"], ["y"]),
    ]
    stored = {
        "s": np.float32(0.25),
        "z": np.uint8(130),
        "w": rng.integers(-128, 127, (4, 3)).astype(np.int8),
        "ws": np.abs(rng.normal(size=4)),
        "wz": np.zeros(4, np.int8),
    }
    imported = import_onnx(model(nodes, [port("x", "N", 4)], [port("y", "N", 3)], stored))
    weights = next(t.data for t in imported.graph.tensors.values() if t.data is not None and t.shape == (3, 4))
    assert np.array_equal(weights, (stored["w"] * stored["ws"].astype(np.float32)[:, None]).T)
    kinds = [op.kind for op in imported.graph.entries["step"].ops]
    assert kinds.count("round") == 1
    x = np.array([[0.125, 0.375, 1000, -1000]], np.float32)  # halves go to the even one; ends saturate
    values = Interpreter(imported.graph).trace({"x": x}, {})
    rounded = next(op.outputs[0] for op in imported.graph.entries["step"].ops if op.kind == "minimum")
    assert values[rounded].reshape(-1).tolist() == [130, 132, 255, 0]


def test_integer_products() -> None:
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        node("MatMulInteger", ["q", "w", "z", "wz"], ["i"]),
        node("Cast", ["i"], ["f"], to=FLOAT),
        node("Mul", ["f", "s"], ["y"]),
    ]
    stored = {"w": rng.integers(0, 255, (4, 3)).astype(np.uint8), "wz": np.array([120, 1, 255], np.uint8)}
    imported = import_onnx(model(nodes, [port("x", "N", 4)], [port("y", "N", 3)], stored))
    assert imported.report.worst_error < 1e-6
    assert "one scale for a whole batch" in imported.notes[-1]


# --- control flow ----------------------------------------------------------------------------------------------------


def branches(condition: list[Any]) -> list[Any]:
    inner = [
        onnx.helper.make_graph([node(op, ["x"], [f"{op}_y"])], op, [], [port(f"{op}_y", None, None)])
        for op in ("Tanh", "Relu")
    ]
    return [*condition, node("If", ["c"], ["y"], then_branch=inner[0], else_branch=inner[1])]


def test_a_branch_that_a_constant_decides_is_taken() -> None:
    nodes = branches([node("Equal", ["rate", "sixteen"], ["c"])])
    built = model(
        nodes, [port("x", "N", 4), port("rate", elem=INT64)], [port("y", "N", 4)], {"sixteen": np.array(16000)}
    )
    for rate, kind in ((16000, "tanh"), (8000, "relu")):
        imported = import_onnx(built, constants={"rate": rate})
        assert [op.kind for op in imported.graph.entries["step"].ops] == [kind]


def test_a_branch_at_run_time_is_refused() -> None:
    nodes = branches([node("ReduceMax", ["x"], ["most"], keepdims=0), node("Greater", ["most", "zero"], ["c"])])
    with pytest.raises(UnsupportedError, match=r"decides at run time \(c\); export one branch"):
        import_onnx(model(nodes, [port("x", 1, 4)], [port("y", 1, 4)], {"zero": np.float32(0)}))


def scan(**attrs: Any) -> Any:
    body = onnx.helper.make_graph(
        [node("Mul", ["m", "beta"], ["d"]), node("Add", ["d", "v"], ["new"]), node("Tanh", ["new"], ["out"])],
        "body",
        [port("m", "N", 3), port("v", "N", 3)],
        [port("new", "N", 3), port("out", "N", 3)],
    )
    loop = node(
        "Scan",
        ["mem", "x"],
        ["last", "y"],
        body=body,
        num_scan_inputs=1,
        **{"scan_input_axes": [1], "scan_output_axes": [1]} | attrs,
    )
    return model(
        [loop],
        [port("x", "N", "T", 3), port("mem", "N", 3)],
        [port("y", "N", "T", 3), port("last", "N", 3)],
        {"beta": np.float32(0.8)},
    )


def test_a_scan_over_time_is_imported_as_its_step() -> None:
    imported = import_onnx(scan())
    assert shapes(imported) == {"x": (3,), "y": (3,), "mem": (3,)}
    assert imported.notes[0] == "a sequence model: imported is the step inside of its Scan"
    assert imported.report.worst_error < 1e-6


def test_a_scan_that_is_not_the_model_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="not a whole model over time") as refused:
        import_onnx(scan(scan_input_directions=[1]))
    assert refused.value.items == ("it runs backwards",)
    built = scan()
    built.graph.node.append(node("Relu", ["y"], ["z"]))
    built.graph.output.append(port("z", "N", "T", 3))
    with pytest.raises(UnsupportedError, match="not a whole model"):
        import_onnx(built)


# --- refusals --------------------------------------------------------------------------------------------------------


def test_everything_unsupported_is_reported_at_once() -> None:
    nodes = [
        node("ArgMax", ["x"], ["a"], name="best", keepdims=0),
        node("TopK", ["x", "k"], ["t", "ti"], name="top"),
        node("Acos", ["x"], ["c"], doc_string="File model.py, line 12\n  torch.acos(x)"),
        node("Det", ["dead"], ["unused"]),
    ]
    built = model(
        nodes,
        [port("x", "N", 4), port("dead", 1, 3, 3)],
        [port("a", "N", elem=INT64), port("t", "N", 2), port("c", "N", 4)],
        {"k": np.array([2])},
    )
    with pytest.raises(UnsupportedError, match="3 nodes cannot be lowered") as refused:
        import_onnx(built)
    best, top, acos = refused.value.items
    assert (
        best
        == "ArgMax best: has no row in the lowering table; return the scores; the decision is part of the io section"
    )
    assert top.startswith("TopK top: ")
    assert acos == "Acos → c (File model.py, line 12): has no row in the lowering table"


def test_shapes_that_change_at_run_time_are_refused() -> None:
    nodes = [node("Cast", ["x"], ["n"], to=INT64), node("Reshape", ["v", "n"], ["y"])]
    with pytest.raises(UnsupportedError, match=r"its shape \(n\) changes at run time; export with constant shapes"):
        import_onnx(model(nodes, [port("x", 1), port("v", 4)], [port("y", None)]), states=[])


def test_other_domains_are_refused() -> None:
    built = model([node("FusedGelu", ["x"], ["y"], domain="com.microsoft")], [port("x", "N", 4)], [port("y", "N", 4)])
    built.opset_import.add(domain="com.microsoft", version=1)
    with pytest.raises(UnsupportedError, match=r"is of the domain com\.microsoft; export with standard operators"):
        import_onnx(built)


def test_samples_that_mix_are_refused() -> None:
    nodes = [node("ReduceMean", ["x"], ["m"], axes=[0]), node("Sub", ["x", "m"], ["y"])]
    with pytest.raises(UnsupportedError, match="mixes the samples of a batch"):
        import_onnx(model(nodes, [port("x", "N", 4)], [port("y", "N", 4)]))
    fixed = model(
        [node("Reshape", ["x", "s"], ["y"])], [port("x", "N", 4)], [port("y", None, None)], {"s": np.array([1, -1])}
    )
    with pytest.raises(UnsupportedError, match=r"mixes the samples|works at batch 1 only"):
        import_onnx(fixed)


def test_a_model_needs_an_input_and_an_output_that_are_no_states() -> None:
    nodes = [node("Mul", ["h", "half"], ["h_out"]), node("Identity", ["half"], ["y"])]
    built = model(nodes, [port("h", "N", 3)], [port("h_out", "N", 3), port("y")], {"half": np.float32(0.5)})
    with pytest.raises(UnsupportedError, match="has no input that is not a state"):
        import_onnx(built, states=["h:h_out"])


@pytest.mark.parametrize("opset", [12, 21])
def test_other_opsets_are_refused(opset: int) -> None:
    built = model([node("Tanh", ["x"], ["y"])], [port("x", 1, 4)], [port("y", 1, 4)], opset=opset)
    with pytest.raises(UnsupportedError, match=f"has opset {opset}; opsets 13 to 20 are read"):
        import_onnx(built)


def test_a_graph_that_differs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgekit.frontends.onnx.table import ROWS

    monkeypatch.setitem(ROWS, "Tanh", ROWS["Sigmoid"])
    with pytest.raises(ReplayError, match="differs from it: y, step"):
        import_onnx(one("Tanh"))


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".", maxsplit=1)[0] == "onnx":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UsageError, match=r"need the onnx package; pip install 'edgekit\[onnx\]'"):
        import_onnx("model.onnx")


def test_without_onnxruntime_the_reference_of_onnx_replays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert import_onnx(leaky()).notes[-1] == "replayed with onnx's own reference; onnxruntime is not installed"


def test_torch_is_not_imported() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests'); from onnx_models import leaky; "
        "from edgekit.frontends.onnx import import_onnx; import_onnx(leaky()); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- operators without a node test of their own ----------------------------------------------------------------------


def test_group_normalization_of_opset_18() -> None:
    stored = {"s": rng.normal(size=2), "b": rng.normal(size=2)}
    built = model(
        [node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2)],
        [port("x", "N", 4, 5)],
        [port("y", "N", 4, 5)],
        stored,
        opset=18,
    )
    assert import_onnx(built).report.worst_error < 1e-6


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("geometry", [(7, 2, 2, 0), (5, 3, 3, 1), (6, 3, 3, 1), (5, 2, 3, 1), (6, 2, 3, 1)], ids=str)
def test_partial_windows_as_the_runtime_has_them(op: str, geometry: tuple[int, ...]) -> None:
    length, size, stride, pad = geometry
    attrs = {"kernel_shape": [size], "strides": [stride], "pads": [pad, pad], "ceil_mode": 1}
    built = one(op, shape=("N", 2, length), out=("N", 2, None), **attrs)
    assert import_onnx(built).report.worst_error < 1e-6


@pytest.mark.slow
def test_a_thousand_operators_take_seconds() -> None:
    nodes, stored, last, before = [], {}, "x", "x"
    for at in range(250):
        stored |= {f"w{at}": rng.normal(size=(16, 16)) / 4, f"b{at}": rng.normal(size=16)}
        nodes += [
            node("MatMul", [last, f"w{at}"], [f"m{at}"]),
            node("Add", [f"m{at}", f"b{at}"], [f"a{at}"]),
            node("Tanh", [f"a{at}"], [f"t{at}"]),
            node("Add", [f"t{at}", before], [f"s{at}"]),
        ]
        last, before = f"s{at}", f"t{at}"
    nodes.append(node("Identity", [last], ["y"]))
    built = model(nodes, [port("x", "N", 16)], [port("y", "N", 16)], stored)
    start = time.process_time()
    assert len(import_onnx(built).graph.entries["step"].ops) >= 750
    assert time.process_time() - start < 20
