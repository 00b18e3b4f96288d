"""TFLite out of a graph, without TensorFlow: the step with its states as ports or as resource variables."""

from edgekit.backends.tflite.check import Checked, check_tflite
from edgekit.backends.tflite.emit import SUPPORTED
from edgekit.backends.tflite.export import export_tflite, plan_of
from edgekit.backends.tflite.measure import Measured, measure_tflite
from edgekit.backends.tflite.read import TfliteModel, read_tflite
from edgekit.backends.tflite.run import KERNELS, TfliteStep

__all__ = [
    "KERNELS",
    "SUPPORTED",
    "Checked",
    "Measured",
    "TfliteModel",
    "TfliteStep",
    "check_tflite",
    "export_tflite",
    "measure_tflite",
    "plan_of",
    "read_tflite",
]
