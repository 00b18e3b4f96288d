"""ONNX files of a graph: one step, or a sequence as a Scan, for ONNX Runtime and for TensorRT."""

from edgekit.backends.onnx.check import Checked, check_onnx
from edgekit.backends.onnx.export import export_onnx
from edgekit.backends.onnx.program import PRECISIONS, Program, calibrate_onnx, make_program
from edgekit.backends.onnx.read import FORM_KEY, FORMS, read_file
from edgekit.backends.onnx.rows import SUPPORTED
from edgekit.backends.onnx.session import OnnxRuntime
from edgekit.backends.onnx.tensorrt import tensorrt_faults

__all__ = [
    "FORMS",
    "FORM_KEY",
    "PRECISIONS",
    "SUPPORTED",
    "Checked",
    "OnnxRuntime",
    "Program",
    "calibrate_onnx",
    "check_onnx",
    "export_onnx",
    "make_program",
    "read_file",
    "tensorrt_faults",
]
