"""ONNX files of a graph: one step, or a sequence as a Scan, for ONNX Runtime and for TensorRT."""

from edgekit.backends.onnx.export import FORM_KEY, FORMS, export_onnx
from edgekit.backends.onnx.program import PRECISIONS, Program, make_program
from edgekit.backends.onnx.rows import SUPPORTED

__all__ = ["FORMS", "FORM_KEY", "PRECISIONS", "SUPPORTED", "Program", "export_onnx", "make_program"]
