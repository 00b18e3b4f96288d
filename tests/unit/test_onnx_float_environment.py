"""ONNX Runtime computes without denormals, and the caller's thread keeps its own."""

import numpy as np
import pytest

from edgekit.backends.onnx import OnnxRuntime, export_onnx
from edgekit.ir import GraphBuilder

onnxruntime = pytest.importorskip("onnxruntime")
TINY = np.float32(1e-40)


def _denormals_here() -> bool:
    return bool(np.array([TINY]) * np.float32(1) != 0)


def test_denormals_are_zero_inside_and_stay_outside():
    b = GraphBuilder("halves")
    b.output(b.op("mul", b.input("x", (8,)), b.const("half", 0.5), out="y"))
    data = export_onnx(b.build())
    onnxruntime.InferenceSession(data)  # the first session of a process decides for all in ONNX Runtime
    engine = OnnxRuntime(data)
    assert _denormals_here()
    smallest = np.float32(1.2e-38)  # halved it is a denormal
    y = engine.run({"x": np.full((1, 8), smallest)})["y"]
    assert not y.any()
    assert _denormals_here()
    assert engine.run({"x": np.ones((1, 8), np.float32)})["y"].sum() == 4
