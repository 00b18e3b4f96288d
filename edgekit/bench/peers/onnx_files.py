"""ONNX files of a step: exported by torch.onnx, and quantised by ONNX Runtime as its guide says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.bench.cases import Case
from edgekit.bench.peers.step import calibration, example, step_module
from edgekit.bench.stimuli import Array
from edgekit.errors import ToolchainError


def input_names(case: Case) -> list[str]:
    """x and the states."""
    return ["x", *case.module.names]


def output_names(case: Case) -> list[str]:
    """y and the next states."""
    return ["y", *(f"{name}.next" for name in case.module.names)]


def float_file(case: Case, folder: Path) -> Path:
    """The step in float32; made once for a folder."""
    import torch

    path = folder / "step.onnx"
    if not path.is_file():
        program = torch.onnx.export(
            step_module(case),
            example(case),
            input_names=input_names(case),
            output_names=output_names(case),
            dynamo=True,
            verbose=False,
        )
        if program is None:
            raise ToolchainError("torch.onnx.export", f"made no model of {case.name}")
        path.write_bytes(program.model_proto.SerializeToString())
    return path


def dynamic_file(case: Case, folder: Path) -> Path:
    """int8 weights, activations quantised as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = folder / "step.dynamic.onnx"
    if not path.is_file():
        quantize_dynamic(_prepared(case, folder), path, weight_type=QuantType.QInt8)
    return path


def qdq_file(case: Case, folder: Path) -> Path:
    """int8 weights and activations, quantised and dequantised around the products; states stay float32."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    path = folder / "step.qdq.onnx"
    if not path.is_file():
        quantize_static(
            _prepared(case, folder),
            path,
            _reader(case),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Gemm", "MatMul"],  # with all others too it is slower and less exact
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
    return path


def _prepared(case: Case, folder: Path) -> Path:
    from onnxruntime.quantization.shape_inference import quant_pre_process

    path = folder / "step.prepared.onnx"
    if not path.is_file():
        quant_pre_process(float_file(case, folder), path, skip_symbolic_shape=True)
    return path


def _reader(case: Case) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    names = input_names(case)

    class Reader(CalibrationDataReader):  # type: ignore[misc] # its package has no types
        def __init__(self) -> None:
            self.rows: Iterator[list[Array]] = calibration(case)

        def get_next(self) -> dict[str, Array] | None:
            row = next(self.rows, None)
            return None if row is None else {n: np.asarray(v) for n, v in zip(names, row, strict=True)}

    return Reader()
