"""TFLite out of a graph, without TensorFlow: the step with its states as ports or as resource variables."""

from edgekit.backends.tflite.check import Checked, check_tflite
from edgekit.backends.tflite.emit import SUPPORTED
from edgekit.backends.tflite.export import export_tflite
from edgekit.backends.tflite.read import TfliteModel, read_tflite
from edgekit.backends.tflite.run import KERNELS, TfliteStep

__all__ = [
    "KERNELS",
    "SUPPORTED",
    "Checked",
    "TfliteModel",
    "TfliteStep",
    "check_tflite",
    "export_tflite",
    "read_tflite",
]
