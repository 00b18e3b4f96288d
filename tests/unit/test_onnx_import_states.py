"""Which inputs of an ONNX model are states: cells whose result is their state, names, order, arithmetic, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_models import model, node, port

from edgekit.errors import UnsupportedError, UsageError
from edgekit.frontends.imported import Imported
from edgekit.frontends.onnx import import_onnx
from edgekit.reference import Interpreter

rng = np.random.default_rng(11)


def gru_cell(x: str = "x", h: str = "h", out: str = "h_out") -> Any:
    """torch.nn.GRUCell(6, 9) as it is exported: what it gives is its next state."""
    nodes = [
        node("Gemm", [x, "wi", "bi"], ["gi"], transB=1),
        node("Split", ["gi"], ["ir", "iz", "in"], axis=1),
        node("Gemm", [h, "wh", "bh"], ["gh"], transB=1),
        node("Split", ["gh"], ["hr", "hz", "hn"], axis=1),
        node("Add", ["hr", "ir"], ["ar"]),
        node("Sigmoid", ["ar"], ["r"]),
        node("Add", ["hz", "iz"], ["az"]),
        node("Sigmoid", ["az"], ["z"]),
        node("Mul", ["hn", "r"], ["rn"]),
        node("Add", ["in", "rn"], ["an"]),
        node("Tanh", ["an"], ["n"]),
        node("Sub", [h, "n"], ["d"]),
        node("Mul", ["d", "z"], ["zd"]),
        node("Add", ["zd", "n"], [out]),
    ]
    stored = {n: rng.normal(size=s) for n, s in {"wi": (27, 6), "wh": (27, 9), "bi": (27,), "bh": (27,)}.items()}
    return model(nodes, [port(x, 1, 6), port(h, 1, 9)], [port(out, 1, 9)], stored)


def rnn_cell(x: str, h: str, y: str, features: int = 6, middle: str = "Tanh") -> Any:
    nodes = [
        node("Gemm", [h, "wh", "bh"], ["gh"], transB=1),
        node("Gemm", [x, "wi", "bi"], ["gi"], transB=1),
        node("Add", ["gh", "gi"], ["a"]),
        node(middle, ["a"], [y]),
    ]
    stored = {n: rng.normal(size=s) for n, s in {"wi": (9, features), "wh": (9, 9), "bi": (9,), "bh": (9,)}.items()}
    return model(nodes, [port(x, 1, features), port(h, 1, 9)], [port(y, 1, 9)], stored)


def run(imported: Imported, steps: int = 4) -> dict[str, np.ndarray]:
    """Outputs over a stream, checked against the model that is fed its own output by hand."""
    entry = imported.graph.entries["step"]
    x = {n: rng.normal(size=(1, steps, *imported.graph.tensor(n).shape)).astype(np.float32) for n in entry.inputs}
    outputs, _ = Interpreter(imported.graph).run(x)
    return {**{n: v[0] for n, v in x.items()}, **{n: y[0] for n, y in outputs.items()}}


@pytest.mark.parametrize("options", [{}, {"states": ["h:h_out"]}])
def test_a_bare_cell_gives_its_next_state(options: dict[str, Any]) -> None:
    built = gru_cell()
    imported = import_onnx(built, **options)
    step = imported.graph.entries["step"]
    assert (step.inputs, step.outputs, imported.graph.state_names) == (("x",), ("h_out",), {"h"})
    assert "output h_out is the next value of state h too" in imported.notes
    stream, h = run(imported), np.zeros((1, 9), np.float32)
    reference = pytest.importorskip("onnx.reference").ReferenceEvaluator(built)
    for x, y in zip(stream["x"], stream["h_out"], strict=True):
        (h,) = reference.run(None, {"x": x[None], "h": h})
        np.testing.assert_allclose(y, h[0], atol=1e-5)


def test_a_sum_is_output_and_state() -> None:
    built = model([node("Add", ["x", "h"], ["h_out"])], [port("x", "N", 4), port("h", "N", 4)], [port("h_out", "N", 4)])
    stream = run(import_onnx(built))
    np.testing.assert_allclose(stream["h_out"], np.cumsum(stream["x"], axis=0), atol=1e-5)


def test_two_states_leave_too() -> None:
    nodes = [node("Add", ["x", "h"], ["h_out"]), node("Mul", ["c", "h_out"], ["c_out"])]
    ports = [port(n, "N", 4) for n in ("x", "h", "c", "h_out", "c_out")]
    imported = import_onnx(model(nodes, ports[:3], ports[3:]))
    assert imported.graph.entries["step"].outputs == ("h_out", "c_out")
    assert set(imported.graph.state_names) == {"h", "c"}
    assert imported.report.worst_error < 1e-6


def test_a_state_of_one_output_is_told_by_order() -> None:
    imported = import_onnx(gru_cell(out="y"))
    assert "state h → y: by order" in imported.notes
    with pytest.raises(UnsupportedError, match="cannot be told") as refused:
        import_onnx(rnn_cell("x", "h", "y", features=9))  # y could follow x as well
    assert refused.value.items == ("h:y",)


def test_the_arithmetic_of_a_cell_tells_its_state() -> None:
    for built in (rnn_cell("foo", "bar", "baz"), gru_cell("foo", "bar", "baz")):
        imported = import_onnx(built)
        assert "state bar → baz: by the arithmetic of its cell" in imported.notes
        assert imported.graph.state_names == {"bar"}
        assert import_onnx(built, states=["none"]).graph.states == ()


@pytest.mark.parametrize("op", ["RNN", "GRU"])
@pytest.mark.parametrize("result", ["Y", "Y_h"])
def test_the_first_value_of_a_recurrent_operator_is_a_state(op: str, result: str) -> None:
    gates = {"RNN": 1, "GRU": 3}[op]
    ends = ["all", ""] if result == "Y" else ["", "baz"]
    nodes = [node(op, ["foo", "w", "r", "", "", "bar"], ends, hidden_size=9)]
    nodes += [node("Squeeze", ["all", "one"], ["baz"])] if result == "Y" else []
    stored = {"w": rng.normal(size=(1, gates * 9, 6)), "r": rng.normal(size=(1, gates * 9, 9)), "one": np.array([1])}
    built = model(nodes, [port("foo", 1, 1, 6), port("bar", 1, 1, 9)], [port("baz", 1, 1, 9)], stored)
    imported = import_onnx(built)
    assert "state bar → baz: by its recurrent cell" in imported.notes
    assert imported.graph.entries["step"].outputs == ("baz",)


def test_cells_that_leave_two_readings_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="could be states") as refused:
        import_onnx(rnn_cell("foo", "bar", "baz", features=9))
    assert set(refused.value.items) == {"bar:baz", "foo:baz"}
    assert "--state input:output" in refused.value.remedy
    assert "--state none" in refused.value.remedy
    assert import_onnx(rnn_cell("foo", "bar", "baz", features=9), states=["bar:baz"]).graph.state_names == {"bar"}


@pytest.mark.parametrize("names", [("x", "a", "y"), ("memory", "x", "y")])
def test_names_and_places_that_suggest_a_state_are_refused(names: tuple[str, str, str]) -> None:
    first, second, result = names
    wide = 3 if first == "x" else 4
    nodes = [node("Gemm", ["x", "w"], ["wx"]), node("Add", ["wx", second if first == "x" else first], [result])]
    built = model(
        nodes,
        [port(first, 1, wide), port(second, 1, 4)],
        [port(result, 1, 4)],
        {"w": rng.normal(size=(wide if first == "x" else 4, 4))},
    )
    with pytest.raises(UnsupportedError, match="could be states") as refused:
        import_onnx(built)
    assert f"{second if first == 'x' else first}:{result}" in refused.value.items
    assert import_onnx(built, states=["none"]).graph.states == ()


def test_two_signals_are_no_state_but_mentioned() -> None:
    inputs = [port("a", "N", 4), port("b", "N", 4)]
    added = import_onnx(model([node("Add", ["a", "b"], ["y"])], inputs, [port("y", "N", 4)]))
    assert added.graph.states == ()
    assert "if b:y is a state, say so: --state b:y" in added.notes
    stored = {"u": rng.normal(size=(4, 4)), "v": rng.normal(size=(4, 4))}
    nodes = [node("MatMul", ["a", "u"], ["p"]), node("MatMul", ["b", "v"], ["q"]), node("Add", ["p", "q"], ["y"])]
    assert import_onnx(model(nodes, inputs, [port("y", "N", 4)], stored)).graph.states == ()


def test_none_beside_pairs_is_no_pair() -> None:
    with pytest.raises(UsageError, match="do not fit"):
        import_onnx(gru_cell(), states=["none", "h:h_out"])
