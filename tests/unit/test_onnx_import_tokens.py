"""Inputs of whole numbers: tokens of an embedding, classes of a one-hot code, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import INT64, model, node, port

import edgekit
from edgekit.convert import original_of
from edgekit.errors import UnsupportedError
from edgekit.frontends.onnx import import_onnx
from edgekit.reference import Interpreter
from edgekit.verify import verify_artifact

rng = np.random.default_rng(2)
TABLE = rng.normal(size=(7, 3)).astype(np.float32)


def embedding(*nodes: Any, shape: tuple[Any, ...] = ("N",), out: tuple[Any, ...] = ("N", 3)) -> Any:
    body = nodes or (node("Gather", ["table", "token"], ["row"]), node("Tanh", ["row"], ["y"]))
    return model(list(body), [port("token", *shape, elem=INT64)], [port("y", *out)], {"table": TABLE})


def test_tokens_pick_their_row() -> None:
    imported = import_onnx(embedding())
    assert "input token takes whole numbers from 0 to 6, as float32" in imported.notes
    step = np.array([[0, 6, 3, 1]], np.float32)
    outputs, _ = Interpreter(imported.graph).run({"token": step})
    np.testing.assert_allclose(outputs["y"][0], np.tanh(TABLE[step[0].astype(int)]), atol=1e-6)
    assert imported.report.worst_error < 1e-6


def test_any_number_is_the_nearest_token() -> None:
    imported = import_onnx(embedding())
    numbers = np.array([2.4, 2.5, 3.5, -0.6, -1.0, -99.0, 99.0], np.float32)
    outputs, _ = Interpreter(imported.graph).run({"token": numbers[None]})
    expected = np.tanh(TABLE[[2, 2, 4, 0, 0, 0, 6]])
    np.testing.assert_allclose(outputs["y"][0], expected, atol=1e-6)
    np.testing.assert_allclose(imported.original.start(7).step([numbers])[0], expected, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_tokens_pick_along_any_axis(axis: int) -> None:
    table = rng.normal(size=(4, 5, 6)).astype(np.float32)
    shape = (*table.shape[:axis], 1, 2, *table.shape[axis + 1 :])
    nodes = [node("Gather", ["t", "i"], ["row"], axis=axis), node("Add", ["row", "zero"], ["y"])]
    stored = {"t": table, "zero": np.float32(0)}
    built = model(nodes, [port("i", 1, 2, elem=INT64)], [port("y", *shape)], stored)
    graph = import_onnx(built).graph
    outputs, _ = Interpreter(graph).run({"i": np.array([[[1, 3]]], np.float32)})
    expected = np.take(table, [1, 3], axis)
    np.testing.assert_array_equal(outputs["y"].reshape(expected.shape), expected)


def test_moved_tokens_and_the_smallest_table() -> None:
    small = TABLE[:4]
    nodes = [
        node("Cast", ["token"], ["narrow"], to=6),
        node("Unsqueeze", ["narrow", "one"], ["column"]),
        node("Gather", ["table", "column"], ["a"]),
        node("Gather", ["small", "column"], ["b"]),
        node("Add", ["a", "b"], ["y"]),
    ]
    built = model(
        nodes,
        [port("token", 1, elem=INT64)],
        [port("y", 1, 1, 3)],
        {"table": TABLE, "small": small, "one": np.array([1])},
    )
    assert "input token takes whole numbers from 0 to 3, as float32" in import_onnx(built).notes


def test_one_hot_codes() -> None:
    stored = {"depth": np.array(5), "values": np.array([-1.0, 2.0], np.float32), "w": rng.normal(size=(5, 2))}
    nodes = [node("OneHot", ["i", "depth", "values"], ["code"]), node("MatMul", ["code", "w"], ["y"])]
    imported = import_onnx(model(nodes, [port("i", "N", elem=INT64)], [port("y", "N", 2)], stored))
    outputs, _ = Interpreter(imported.graph).run({"i": np.array([[0, 4, -5, 9]], np.float32)})
    codes = np.where(np.array([0, 4, 0, 4])[:, None] == np.arange(5), 2.0, -1.0)
    np.testing.assert_allclose(outputs["y"][0], codes @ stored["w"], atol=1e-5)


def test_one_hot_codes_along_the_first_axis() -> None:
    stored = {"depth": np.array([3]), "values": np.array([0.0, 1.0], np.float32), "two": np.float32(2)}
    nodes = [node("OneHot", ["i", "depth", "values"], ["code"], axis=0), node("Mul", ["code", "two"], ["y"])]
    imported = import_onnx(model(nodes, [port("i", 4, elem=INT64)], [port("y", 3, 4)], stored))
    outputs, _ = Interpreter(imported.graph).run({"i": np.array([[[0, 1, 2, 1]]], np.float32).reshape(1, 1, 4)})
    np.testing.assert_array_equal(outputs["y"].reshape(3, 4), 2 * np.eye(3)[:, [0, 1, 2, 1]])


def test_everything_else_about_integers_is_refused_at_once() -> None:
    nodes = [
        node("Gather", ["table", "token"], ["row"]),
        node("Cast", ["token"], ["number"], to=1),
        node("Cast", ["rate"], ["f"], to=1),
        node("Add", ["number", "f"], ["s"]),
        node("Add", ["row", "s"], ["y"]),
    ]
    built = model(
        nodes, [port("token", 1, elem=INT64), port("rate", 1, elem=INT64)], [port("y", 1, 3)], {"table": TABLE}
    )
    with pytest.raises(UnsupportedError, match="takes integers at run time") as refused:
        import_onnx(built)
    assert refused.value.items == (
        "input 'token' is int64 and does more than look up rows of tables",
        "input 'rate' is int64 and does more than look up rows of tables",
    )
    assert "--constant name=value" in refused.value.remedy


def test_indices_that_are_computed_are_refused() -> None:
    nodes = [node("Cast", ["x"], ["i"], to=INT64), node("Gather", ["table", "i"], ["y"])]
    built = model(nodes, [port("x", 1)], [port("y", 1, 3)], {"table": TABLE})
    with pytest.raises(UnsupportedError, match=r"indices .* change"):
        import_onnx(built)


def test_a_recurrent_model_of_tokens_keeps_its_state() -> None:
    nodes = [
        node("Gather", ["table", "token"], ["row"]),
        node("GRU", ["row", "w", "r", "", "", "h"], ["all", "h_out"], hidden_size=4),
        node("Squeeze", ["all", "one"], ["each"]),
        node("MatMul", ["each", "v"], ["y"]),
    ]
    stored = {
        "table": TABLE,
        "one": np.array([1]),
        **{n: rng.normal(size=s) for n, s in {"w": (1, 12, 3), "r": (1, 12, 4), "v": (4, 7)}.items()},
    }
    ports = [port("token", 1, 1, elem=INT64), port("h", 1, 1, 4), port("y", 1, 1, 7), port("h_out", 1, 1, 4)]
    imported = import_onnx(model(nodes, ports[:2], ports[2:], stored))
    assert imported.graph.state_names == {"h"}
    assert imported.graph.entries["step"].inputs == ("token",)
    assert imported.report.worst_error < 1e-5


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_model_of_tokens_is_converted_and_verified(tmp_path: Path, precision: str) -> None:
    table, weights, out = (rng.normal(size=size) / 5 for size in ((40, 48), (48, 40), (40, 30)))
    nodes = [
        node("Gather", ["table", "token"], ["row"]),
        node("MatMul", ["row", "w"], ["driven"]),
        node("Mul", ["h", "half"], ["left"]),
        node("Add", ["left", "driven"], ["sum"]),
        node("Tanh", ["sum"], ["h_out"]),
        node("MatMul", ["h_out", "v"], ["y"]),
    ]
    ports = [port("token", 1, elem=INT64), port("h", 1, 40), port("y", 1, 30), port("h_out", 1, 40)]
    stored = {"table": table, "w": weights, "half": np.float32(0.5), "v": out}
    built = model(nodes, ports[:2], ports[2:], stored)
    path = tmp_path / "tokens.onnx"
    path.write_bytes(built.SerializeToString())
    tokens = rng.integers(40, size=(16, 20, 1)).astype(np.float32)
    tokens[:4] = np.arange(80).reshape(4, 20, 1) % 40  # every token
    artifact = edgekit.convert(path, precision=precision, calib=tokens if precision == "int8" else None)
    report = verify_artifact(edgekit.load(artifact), original_of(import_onnx(path)), tokens)
    assert report.passed
    assert report.worst_output_error < (0.03 if precision == "int8" else 1e-5)
