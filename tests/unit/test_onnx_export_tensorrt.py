"""The way to TensorRT: files keep to what 8.5 documents, and the script that builds engines on a Jetson.

TensorRT is not here: a script that only plays trtexec stands in for it, and another for nvidia-smi.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from graph_samples import busy_graph
from onnx import TensorProto, helper, numpy_helper
from random_graphs import random_graph

from edgekit.backends.onnx import FORMS, export_onnx, tensorrt_faults
from edgekit.backends.onnx.rows import SUPPORTED
from edgekit.backends.onnx.tensorrt import OPERATORS
from edgekit.errors import ArtifactError
from edgekit.ir import GraphBuilder
from examples.jetson import build_engine
from examples.jetson.build_engine import EngineError, Gpu, Wish, cache_key, engine_for, model_inputs, shapes_of

ORIN = Gpu("Orin (nvgpu)", "8.7")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(30))
def test_no_graph_needs_an_operator_or_type_that_is_not_documented(seed, form):
    """Spikes that are moved, concatenated, padded and summed included."""
    graph = random_graph(seed)
    for precision in ("fp32", "w8"):
        assert tensorrt_faults(export_onnx(graph, precision=precision, form=form)) == ()


def test_the_table_has_what_this_backend_writes():
    assert len(OPERATORS) == 142
    assert OPERATORS["Mod"] == {"FP32", "FP16", "INT32"}
    assert "DynamicQuantizeLinear" not in OPERATORS
    assert "LayerNormalization" not in OPERATORS
    assert len(SUPPORTED) > 30


def model(
    nodes: list[onnx.NodeProto], *, opset: int = 17, kind: int = TensorProto.FLOAT, **constants: np.ndarray
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("x", kind, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]).SerializeToString()


ONE, ZERO = np.ones((), np.float32), np.zeros((), np.int8)
NODE = helper.make_node
FOREIGN = {
    "an operator": (model([NODE("Hardmax", ["x"], ["y"], name="h")]), "Hardmax (h) is not among the operators"),
    "a domain": (model([NODE("Relu", ["x"], ["y"], domain="mine")]), "Relu () is not among"),
    "a type": (model([NODE("Tanh", ["x"], ["y"])], kind=TensorProto.BOOL), "Tanh () of BOOL: takes FP16, FP32, INT8"),
    "an opset": (model([NODE("Relu", ["x"], ["y"])], opset=18), "opset 18 of ai.onnx"),
    "an axis": (model([NODE("CumSum", ["x", "x"], ["y"])]), "CumSum (): input 1 has to be an initialiser"),
    "a name": (model([NODE("Relu", ["x"], ["y"]), NODE("Abs", ["x"], ["y"])]), "the name 'y' stands for two values"),
    "no zero point": (model([NODE("QuantizeLinear", ["x", "s"], ["y"])], s=ONE), "has no zero point"),
    "a zero point": (
        model([NODE("QuantizeLinear", ["x", "s", "z"], ["y"])], s=ONE, z=ZERO + np.int8(3)),
        "its zero point is not an int8 of zero",
    ),
    "a scale": (model([NODE("QuantizeLinear", ["x", "s", "z"], ["y"])], s=-ONE, z=ZERO), "scales have to be positive"),
    "a computed scale": (
        model([NODE("QuantizeLinear", ["x", "x", "z"], ["y"])], z=ZERO),
        "scale and zero point have to be initialisers",
    ),
    "scales per channel": (
        model(
            [NODE("QuantizeLinear", ["x", "s", "z"], ["y"], axis=1)], s=np.ones(3, np.float32), z=np.zeros(3, np.int8)
        ),
        "only constants have a scale for each channel",
    ),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_what_is_not_documented_is_named(case):
    data, fault = FOREIGN[case]
    assert any(fault in found for found in tensorrt_faults(data)), tensorrt_faults(data)


def test_a_body_is_looked_into():
    data = export_onnx(busy_graph(), form="sequence")
    changed = onnx.load_from_string(data)
    (body,) = (a.g for a in changed.graph.node[0].attribute if a.name == "body")
    body.node[0].op_type = "Hardmax"
    body.node[1].output[0] = "x"
    faults = tensorrt_faults(changed.SerializeToString())
    assert any("Hardmax" in fault for fault in faults)
    assert any("'x' stands for two values" in fault for fault in faults)


def test_what_is_no_onnx_file_is_refused():
    with pytest.raises(ArtifactError, match="cannot be read"):
        tensorrt_faults(b"\xff" * 40)


# --- the script on the device ---


STAND_IN = """#!{python}
# a stand-in for trtexec: says what TensorRT says of itself, and "builds" by writing down its arguments
import json, os, sys
print("&&&& RUNNING TensorRT.trtexec [TensorRT v{version}] # trtexec")
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
if "--help" in sys.argv:
    sys.exit(0)
if os.environ.get("STAND_IN_FAILS"):
    print("[E] Error[4]: stand-in was told to fail")
    sys.exit(1)
target = [a.split("=", 1)[1] for a in sys.argv if a.startswith("--saveEngine=")][0]
if not os.environ.get("STAND_IN_WRITES_NOTHING"):
    with open(target, "w") as engine:
        engine.write("engine " + " ".join(a for a in sys.argv[1:] if "Engine" not in a))
"""


class Device:
    """A folder of stand-ins on the PATH, and what they were asked."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.log, self.cache = folder / "bin", folder / "calls", folder / "cache"
        self.bin.mkdir()
        self.model = folder / "model.onnx"
        self.model.write_bytes(export_onnx(busy_graph()))

    def install(self, version: int = 8502) -> None:
        self._script("trtexec", STAND_IN.format(python=sys.executable, version=version, log=str(self.log)))

    def install_gpu(self, text: str) -> None:
        self._script("nvidia-smi", f"#!/bin/sh\n# a stand-in for nvidia-smi\necho '{text}'\n")

    def _script(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def builds(self) -> list[list[str]]:
        calls = [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return [call for call in calls if "--help" not in call]


@pytest.fixture
def device(tmp_path, monkeypatch) -> Device:
    made = Device(tmp_path)
    monkeypatch.setenv("PATH", str(made.bin))
    monkeypatch.setattr(build_engine, "TRTEXEC_HOMES", ())
    monkeypatch.setattr(build_engine, "_gpu_of_driver", lambda: None)
    return made


def test_an_engine_is_built_once_and_then_comes_from_the_cache(device):
    device.install()
    first = engine_for(device.model, device.cache, Wish(batch=2, max_batch=8, fp16=True), ORIN)
    again = engine_for(device.model, device.cache, Wish(batch=2, max_batch=8, fp16=True), ORIN)
    assert (first.cached, again.cached, first.path) == (False, True, again.path)
    (call,) = device.builds()
    assert f"--onnx={device.model}" in call
    assert "--minShapes=x:1x3,u:1x5,total:1x5" in call
    assert "--optShapes=x:2x3,u:2x5,total:2x5" in call
    assert "--maxShapes=x:8x3,u:8x5,total:8x5" in call
    assert "--fp16" in call
    assert "--int8" not in call
    note = json.loads(first.path.with_suffix(".json").read_text())
    assert (note["grade"], note["tensorrt"], note["gpu"]["name"]) == ("untested on device", "8502", "Orin (nvgpu)")
    assert first.path.name.startswith("Orin-nvgpu-sm8.7-trt8502-")
    assert sorted(p.suffix for p in device.cache.iterdir()) == [".engine", ".json"]  # nothing half-built stays


def test_the_key_is_of_gpu_version_model_and_wish():
    model = b"model"
    keys = {
        cache_key(gpu, version, data, wish)
        for gpu in (ORIN, Gpu("Xavier", "7.2"), Gpu("Orin (nvgpu)", "7.2"))
        for version in ("8502", "8600")
        for data in (model, b"other")
        for wish in (Wish(), Wish(fp16=True), Wish(int8=True), Wish(max_batch=2), Wish(steps=40))
    }
    assert len(keys) == 3 * 2 * 2 * 5
    assert all(len(key) < 120 and "/" not in key and " " not in key for key in keys)


def test_another_tensorrt_builds_again(device):
    device.install(8502)
    engine_for(device.model, device.cache, Wish(), ORIN)
    device.install(8600)
    assert not engine_for(device.model, device.cache, Wish(), ORIN).cached
    assert len(device.builds()) == 2


@pytest.mark.parametrize("damage", ["engine", "note", "no note"])
def test_a_damaged_engine_is_built_again(device, damage):
    device.install()
    engine = engine_for(device.model, device.cache, Wish(), ORIN)
    right = engine.path.read_bytes()
    if damage == "engine":
        engine.path.write_bytes(right[:-1])
    elif damage == "note":
        engine.path.with_suffix(".json").write_text("[]")
    else:
        engine.path.with_suffix(".json").unlink()
    again = engine_for(device.model, device.cache, Wish(), ORIN)
    assert not again.cached
    assert again.path.read_bytes() == right


def test_the_command_prints_the_grade(device, capsys):
    device.install()
    device.install_gpu("Orin, 8.7")
    assert build_engine.main([str(device.model), "--cache", str(device.cache)]) == 0
    out = capsys.readouterr().out
    assert "built; untested on device" in out
    assert "Orin-sm8.7" in out


def test_a_sequence_gets_its_steps(device):
    device.install()
    device.model.write_bytes(export_onnx(busy_graph(), form="sequence"))
    engine_for(device.model, device.cache, Wish(steps=40), ORIN)
    (call,) = device.builds()
    assert "--maxShapes=x:1x40x3,u:1x5,total:1x5" in call


def test_without_trtexec_it_says_where_it_looked_and_what_brings_it(device):
    with pytest.raises(EngineError, match=r"trtexec is neither on the PATH.*apt install libnvinfer-bin"):
        engine_for(device.model, device.cache, Wish(), ORIN)


def test_without_a_gpu_it_says_so(device, capsys):
    device.install()
    assert build_engine.main([str(device.model), "--cache", str(device.cache)]) == 2
    assert "run this on the device itself" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mode", "words"), [("STAND_IN_FAILS", "told to fail"), ("STAND_IN_WRITES_NOTHING", "wrote no engine")]
)
def test_what_trtexec_says_is_passed_on_and_nothing_is_cached(device, monkeypatch, mode, words):
    device.install()
    monkeypatch.setenv(mode, "1")
    with pytest.raises(EngineError, match=words):
        engine_for(device.model, device.cache, Wish(), ORIN)
    assert list(device.cache.iterdir()) == []


def test_models_that_are_none_are_refused(device):
    device.install()
    for data in (b"", b"\xff" * 20, b"\x3a\x7f", b"plain text, no model at all"):
        device.model.write_bytes(data)
        with pytest.raises(EngineError, match=r"ONNX file|bytes"):
            engine_for(device.model, device.cache, Wish(), ORIN)
    with pytest.raises(EngineError, match="No such file"):
        engine_for(device.model.with_name("none.onnx"), device.cache, Wish(), ORIN)


def test_inputs_are_read_as_the_onnx_package_reads_them():
    for form in FORMS:
        data = export_onnx(busy_graph(), form=form)
        right = {
            p.name: [d.dim_param or d.dim_value for d in p.type.tensor_type.shape.dim]
            for p in onnx.load_from_string(data).graph.input
        }
        assert model_inputs(data) == right


def test_every_cut_of_a_model_is_read_or_refused():
    data = export_onnx(busy_graph())
    for end in range(0, len(data), 7):
        try:
            model_inputs(data[:end])
        except EngineError:
            continue


def test_shapes_of_names_with_colons_and_of_unknown_axes():
    assert shapes_of({"a:b": ["N", 3], "c": ["N"]}, 4, 1) == "'a:b':4x3,c:4"
    with pytest.raises(EngineError, match="only N and T"):
        shapes_of({"a": ["batch", 3]}, 1, 1)
    with pytest.raises(EngineError, match="below 1"):
        Wish(batch=3, max_batch=2)


def test_names_that_trtexec_cannot_tell_apart_are_refused():
    b = GraphBuilder("ok")
    b.output(b.op("tanh", b.input("x", (2,))))
    assert shapes_of(model_inputs(export_onnx(b.build())), 1, 1) == "x:1x2"
    with pytest.raises(EngineError, match="has axes"):
        shapes_of({"a,b": ["N"]}, 1, 1)


def test_the_script_needs_nothing_of_this_project():
    text = Path(build_engine.__file__).read_text()
    assert "edgekit." not in text.replace('".cache" / "edgekit"', "")
    assert not {"numpy", "onnx"} & {
        line.split()[1].split(".")[0] for line in text.splitlines() if line.startswith("import ")
    }
    assert os.linesep.join(text.splitlines()[1:2]).startswith('"""Build a TensorRT engine')
    assert "UNTESTED ON DEVICE" in text
