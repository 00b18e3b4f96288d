"""Damaged and hostile ONNX files: every one gives a typed error, none costs much memory, none reads other files."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_models import leaky, model, node, port

from edgekit.errors import EdgekitError, ModelError, UnsupportedError, UsageError
from edgekit.frontends.onnx import import_onnx, reading

rng = np.random.default_rng(5)


def test_files_that_are_no_models(tmp_path: Path) -> None:
    for name, data in {"empty": b"", "text": b"hello world, this is no model", "zeros": bytes(100)}.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(data)
        with pytest.raises(ModelError):
            import_onnx(path)
    with pytest.raises(ModelError, match="cannot be read"):
        import_onnx(tmp_path / "missing.onnx")
    with pytest.raises(ModelError, match="cannot be read"):
        import_onnx(tmp_path)
    with pytest.raises(UsageError, match="is a int"):
        import_onnx(3)


def test_a_large_file_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_BYTES", 100)
    path = tmp_path / "large.onnx"
    path.write_bytes(bytes(101))
    with pytest.raises(ModelError, match="is larger than 100 bytes"):
        import_onnx(path)


def test_too_many_nodes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_NODES", 5)
    with pytest.raises(UnsupportedError, match="has 6 nodes, more than 5"):
        import_onnx(leaky())


@pytest.mark.parametrize("seed", range(6))
def test_flipped_and_cut_bytes_give_typed_errors_or_a_model(seed: int) -> None:
    """A flip in a weight is another model; whatever comes, it is an import or one typed error."""
    data, draw = leaky().SerializeToString(), np.random.default_rng(seed)
    for _ in range(40):
        damaged = bytearray(data)
        if draw.random() < 0.3:
            del damaged[int(draw.integers(len(data))) :]
        else:
            for at in draw.integers(len(data), size=int(draw.integers(1, 4))):
                damaged[at] ^= 1 << int(draw.integers(8))
        with suppress(EdgekitError):
            import_onnx(bytes(damaged))


def external(tmp_path: Path, location: str, **keys: str) -> Path:
    """A model whose weights are in another file."""
    built = leaky()
    tensor = built.graph.initializer[0]
    (tmp_path / "weights.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, **keys}.items():
        tensor.external_data.add(key=key, value=value)
    path = tmp_path / "model.onnx"
    path.write_bytes(built.SerializeToString())
    return path


def test_external_data_beside_the_model_is_read(tmp_path: Path) -> None:
    inside = import_onnx(leaky())
    outside = import_onnx(external(tmp_path, "weights.bin"), name="test")
    assert inside.graph.hash() == outside.graph.hash()


@pytest.mark.parametrize(
    ("location", "keys", "cause"),
    [
        ("../weights.bin", {}, "not inside the model's folder"),
        ("/etc/passwd", {}, "not inside the model's folder"),
        ("link.bin", {}, "not inside the model's folder"),
        ("", {}, "not inside the model's folder"),
        ("missing.bin", {}, "cannot be read"),
        ("weights.bin", {"length": "4096"}, "are wanted"),
        ("weights.bin", {"offset": "-8"}, "are wanted"),
        ("weights.bin", {"offset": "many"}, "cannot be read"),
    ],
)
def test_external_data_elsewhere_is_refused(tmp_path: Path, location: str, keys: dict[str, str], cause: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(48))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ModelError, match="keeps tensors in files that cannot be read") as refused:
        import_onnx(external(folder, location, **keys))
    assert cause in refused.value.items[0]


def test_external_data_needs_a_path(tmp_path: Path) -> None:
    path = external(tmp_path, "weights.bin")
    with pytest.raises(ModelError, match="keeps tensors in other files"):
        import_onnx(path.read_bytes())


BOMBS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "ConstantOfShape": ([node("ConstantOfShape", ["n"], ["c"])], {"n": np.array([2**20, 2**20])}),
    "Expand": ([node("Expand", ["one", "n"], ["c"])], {"n": np.array([2**20, 2**20]), "one": np.float32(1)}),
    "Tile": ([node("Tile", ["row", "n"], ["c"])], {"n": np.array([2**40]), "row": np.zeros(1)}),
    "Range": (
        [node("Range", ["zero", "n", "one"], ["c"])],
        {"zero": np.array(0), "n": np.array(2**40), "one": np.array(1)},
    ),
    "broadcast": (
        [node("Add", ["row", "column"], ["c"])],
        {"row": np.zeros((1, 2**14)), "column": np.zeros((2**14, 1))},
    ),
    "MatMul": (
        [node("MatMul", ["column", "row"], ["c"])],
        {"row": np.zeros((1, 2**14)), "column": np.zeros((2**14, 1))},
    ),
    "Pad": ([node("Pad", ["row", "n"], ["c"])], {"row": np.zeros(2), "n": np.array([2**40, 0])}),
    "Gather": (
        [node("Gather", ["row", "zeros"], ["c"], axis=1)],
        {"row": np.zeros((2**14, 1)), "zeros": np.zeros(2**14, np.int64)},
    ),
    "Einsum": (
        [node("Einsum", ["row", "row"], ["c"], equation="i,j->ij")],
        {"row": np.zeros(2**14)},
    ),
    "ConvTranspose": (
        [node("ConvTranspose", ["row", "one"], ["c"], strides=[2**27])],
        {"row": np.zeros((1, 1, 3)), "one": np.ones((1, 1, 1))},
    ),
    "live Resize": ([node("Resize", ["x", "", "", "n"], ["c"])], {"n": np.array([1, 2**28])}),
    "live Pad": ([node("Pad", ["x", "n"], ["c"], mode="edge")], {"n": np.array([0, 0, 0, 2**28])}),
    "live pool": (
        [node("Unsqueeze", ["x", "n"], ["x3"]), node("AveragePool", ["x3"], ["c"], kernel_shape=[1], pads=[0, 2**28])],
        {"n": np.array([0])},
    ),
    "live": ([node("Expand", ["x", "n"], ["c"])], {"n": np.array([2**20, 2**20, 1, 4])}),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_small_files_cannot_ask_for_much_memory(bomb: str) -> None:
    nodes, stored = BOMBS[bomb]
    tail = [node("ReduceSum", ["c"], ["s"], keepdims=0), node("Add", ["x", "f"], ["y"])]
    tail.insert(1, node("Cast", ["s"], ["f"], to=1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnsupportedError, match=r"elements, more than 67,108,864"):
        import_onnx(model([*nodes, *tail], [port("x", 1, 4)], [port("y", 1, 4)], stored))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_a_large_input_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="leaves lengths open") as refused:
        import_onnx(model([node("Tanh", ["x"], ["y"])], [port("x", 2**20, 2**20)], [port("y", 2**20, 2**20)]))
    assert "more than 67,108,864" in refused.value.items[0]


@pytest.mark.parametrize(
    "broken",
    [
        node("Transpose", ["x"], ["y"], perm=[0, 5]),
        node("Concat", ["x", "x"], ["y"], axis=9),
        node("Softmax", ["x"], ["y"], axis=-7),
        node("Reshape", ["x", "n"], ["y"]),
        node("Split", ["x", "n"], ["y", "z"], axis=1),
        node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3, 3]),
        node("Slice", ["x", "n", "n", "n"], ["y"]),
        node("Gather", ["x", "n"], ["y"], axis=1),
        node("Squeeze", ["x", "n"], ["y"]),
    ],
    ids=lambda n: n.op_type,
)
def test_attributes_out_of_range(broken: Any) -> None:
    with pytest.raises((ModelError, UnsupportedError)):
        import_onnx(model([broken], [port("x", 1, 4)], [port("y", None, None)], {"n": np.array([7, 9])}))


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_an_unknown_padding_is_refused(op: str) -> None:
    built = model([node(op, ["x", "w"], ["y"], auto_pad="FOO")], [port("x", 1, 1, 3)], [port("y", 1, 1, None)])
    built.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((1, 1, 2), np.float32), "w"))
    with pytest.raises(UnsupportedError, match="has auto_pad 'FOO'; use NOTSET with pads"):
        import_onnx(built)


def test_the_document_of_another_tool_is_refused() -> None:
    built = leaky()
    built.metadata_props.add(key="edgekit", value='{"schema_version": 99}')
    with pytest.raises(ModelError, match="metadata edgekit"):
        import_onnx(built)


def test_a_document_that_names_other_ports_is_refused() -> None:
    from edgekit.backends.onnx import export_onnx

    data = export_onnx(import_onnx(leaky()).graph)
    built = onnx.ModelProto.FromString(data)
    built.metadata_props[0].value = built.metadata_props[0].value.replace('"mem.next"', '"other"')
    with pytest.raises(EdgekitError):
        import_onnx(built)


def test_local_functions_are_written_out() -> None:
    inner = onnx.helper.make_function(
        "mine", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], [onnx.helper.make_opsetid("", 17)]
    )
    built = model([node("Twice", ["x"], ["y"], domain="mine")], [port("x", "N", 4)], [port("y", "N", 4)])
    built.functions.append(inner)
    built.opset_import.add(domain="mine", version=1)
    assert [op.kind for op in import_onnx(built).graph.entries["step"].ops] == ["add"]


def test_a_function_that_calls_itself_is_refused() -> None:
    inner = onnx.helper.make_function(
        "mine",
        "Loop",
        ["a"],
        ["b"],
        [node("Loop", ["a"], ["b"], domain="mine")],
        [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("mine", 1)],
    )
    built = model([node("Loop", ["x"], ["y"], domain="mine")], [port("x", "N", 4)], [port("y", "N", 4)])
    built.functions.append(inner)
    built.opset_import.add(domain="mine", version=1)
    with pytest.raises(EdgekitError):
        import_onnx(built)
