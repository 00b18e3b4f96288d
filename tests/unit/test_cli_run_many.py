"""`run` with several inputs and outputs: arrays by name in .npz files, in and out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from converted import Answer, edgekit_main

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

import edgekit  # noqa: E402
from edgekit.cli.arrays import read_data, write_arrays  # noqa: E402
from edgekit.errors import DataError  # noqa: E402


def refused(answer: Answer, *said: str) -> None:
    assert answer.returncode == 2, answer
    assert len(answer.stderr.splitlines()) == 1, answer.stderr
    for text in said:
        assert text in answer.stderr, answer.stderr


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A step with the inputs a [1, 2] and y [1, 2] and the outputs sum [1, 2] and file [1, 2]: names as users give."""
    from onnx import TensorProto, helper

    folder = tmp_path_factory.mktemp("many")
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 2]) for n in ("a", "y", "sum", "file")]
    nodes = [helper.make_node("Add", ["a", "y"], ["sum"]), helper.make_node("Mul", ["a", "y"], ["file"])]
    graph = helper.make_graph(nodes, "many", ports[:2], ports[2:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), folder / "many.onnx")
    answer = edgekit_main("convert", folder / "many.onnx", "-o", folder / "many.edge", "-q")
    assert answer.returncode == 0, answer
    rng = np.random.default_rng(0)
    np.savez(folder / "x.npz", a=rng.normal(size=(5, 2)), y=rng.normal(size=(5, 2)))
    np.savez(folder / "half.npz", a=np.zeros((5, 2)), x=np.zeros((5, 2)))
    np.savez(folder / "uneven.npz", a=np.zeros((5, 2)), y=np.zeros((4, 2)))
    np.save(folder / "x.npy", np.zeros((5, 2)))
    return folder


def test_arrays_go_in_and_come_out_by_name(many: Path, tmp_path: Path) -> None:
    out = tmp_path / "y.npz"
    answer = edgekit_main("run", many / "many.edge", "-i", many / "x.npz", "-o", out, "--json")
    assert answer.returncode == 0, answer
    document: dict[str, Any] = json.loads(answer.stdout)
    assert document["inputs"] == {"a": [5, 2], "y": [5, 2]}
    session = edgekit.load(many / "many.edge")
    names = list(session.facts.outputs)
    with np.load(many / "x.npz") as x, np.load(out) as found:
        assert sorted(found.files) == sorted(names)
        for name, expected in zip(names, session.run(x["a"], x["y"]), strict=True):
            np.testing.assert_array_equal(found[name], expected)
        np.testing.assert_allclose(found[names[0]], (x["a"] + x["y"]).astype(np.float32), rtol=1e-6)
    shown = edgekit_main("run", many / "many.edge", "-i", many / "x.npz").stdout
    assert "inputs a (5, 2), y (5, 2) -> outputs " in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("x.npy",), ("is one array, the program has 2 inputs", "an array for each input: a, y")),
        (("half.npz",), ("has no array 'y'; it has a, x", "a, y")),
        (("uneven.npz",), ("got shapes",)),
        (("x.npz", "-o", "out.npy"), ("2 outputs", "name it out.npz")),
        (("x.npz", "--decide"), ("--decide", "has 2 outputs", "leave")),
    ],
)
def test_what_does_not_fit_is_named(
    many: Path, arguments: tuple[str, ...], said: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(many)
    refused(edgekit_main("run", "many.edge", "-i", *arguments), *said)


def test_any_name_of_an_output_can_be_written(tmp_path: Path) -> None:
    arrays = {"file": np.arange(3), "a/b.c": np.float32(2)}
    write_arrays(tmp_path / "y.npz", arrays)
    with np.load(tmp_path / "y.npz") as found:
        assert set(found.files) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)


def test_one_input_may_have_its_own_name_in_a_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", audio=np.ones((4, 2)), y=np.arange(4))
    found = read_data(tmp_path / "x.npz", ("audio",))
    assert found.x.shape == (4, 2)
    assert found.y is not None
    with pytest.raises(DataError, match="no array 'x' or 'sound'; it has audio, y"):
        read_data(tmp_path / "x.npz", ("sound",))
    np.savez(tmp_path / "y.npz", y=np.ones((4, 2)))
    assert read_data(tmp_path / "y.npz", ("y",)).y is None
