"""MeanVarianceNormalization: zeros where the input is constant, and what ONNX Runtime gives elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto
from onnx_models import model, node, port

from edgekit.frontends.onnx import import_onnx
from edgekit.reference import Interpreter

rng = np.random.default_rng(5)


@pytest.mark.parametrize("opset", [13, 17, 18, 20])
def test_mean_variance_normalization(opset: int) -> None:
    built = model(
        [node("MeanVarianceNormalization", ["x"], ["y"], axes=[1])], [port("x", 1, 8)], [port("y", 1, 8)], opset=opset
    )
    imported = import_onnx(built)
    assert any("1e-9 in the divisor" in note for note in imported.notes)
    x = rng.normal(size=(2, 3, 8)).astype(np.float32)
    x[0, 0], x[0, 1] = 0.0, 0.25
    outputs, _ = Interpreter(imported.graph).run({"x": x})
    centred = x.astype(np.float64) - x.mean(-1, keepdims=True, dtype=np.float64)
    expected = centred / (np.sqrt((centred**2).mean(-1, keepdims=True)) + 1e-9)
    np.testing.assert_allclose(outputs["y"], expected, atol=1e-5)
    assert (outputs["y"][0, :2] == 0).all()


@pytest.mark.parametrize("opset", [13, 18])
def test_in_float64(opset: int) -> None:
    ends = [port(name, 1, 8, elem=TensorProto.DOUBLE) for name in ("x", "y")]
    built = model([node("MeanVarianceNormalization", ["x"], ["y"], axes=[1])], ends[:1], ends[1:], opset=opset)
    assert import_onnx(built).report.worst_error < 1e-5


def test_the_default_axes_are_those_of_images() -> None:
    built = model([node("MeanVarianceNormalization", ["x"], ["y"])], [port("x", 1, 2, 3, 4)], [port("y", 1, 2, 3, 4)])
    outputs, _ = Interpreter(import_onnx(built).graph).run({"x": rng.normal(size=(1, 1, 2, 3, 4)).astype(np.float32)})
    np.testing.assert_allclose(outputs["y"].mean((-1, -2)), 0, atol=1e-6)
    np.testing.assert_allclose(outputs["y"].std((-1, -2)), 1, atol=1e-5)
