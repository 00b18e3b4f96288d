"""ONNX Runtime over the bytes of an exported file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.artifact.exported import KEY, StepDocument, read_step_document
from edgekit.backends.onnx.export import FORM_KEY, FORMS
from edgekit.backends.onnx.packages import require
from edgekit.errors import ArtifactError

Array = npt.NDArray[Any]


class OnnxRuntime:
    """A file that `export_onnx` wrote, on one thread of the CPU; denormals are zero, as in every edgekit program.

    `optimise=False` runs the nodes as they stand. ArtifactError when it is no such file.
    """

    def __init__(self, data: bytes, *, optimise: bool = True) -> None:
        ort = require("onnxruntime")
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        options.add_session_config_entry("session.x64quantprecision", "1")  # int8 products without VNNI saturate
        if not optimise:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has an exception of its own for each way to fail
            raise ArtifactError("ONNX file", f"ONNX Runtime refuses it: {error}") from error
        properties = self._session.get_modelmeta().custom_metadata_map
        if KEY not in properties or properties.get(FORM_KEY) not in FORMS:
            raise ArtifactError("ONNX file", "has no edgekit properties", "write it with edgekit convert --format onnx")
        self.document: StepDocument = read_step_document(properties[KEY], "ONNX property edgekit")
        self.form: str = properties[FORM_KEY]
        self._quant = {s.output: s.quant for s in self.document.states}
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name of inputs by name, states among both."""
        feeds = {name: np.ascontiguousarray(value) for name, value in values.items()}
        return dict(zip(self._names, self._session.run(None, feeds), strict=True))

    def real(self, name: str, value: Array) -> Array:
        """The reals of an output; integers of a state held in int8 stand for (stored - zero point) · scale."""
        quant = self._quant.get(name)
        return value if quant is None else ((value - np.float32(quant.zero_point)) * np.float32(quant.scale))

    def initial_state(self, streams: int) -> dict[str, Array]:
        """First values of all states [N, *shape], by the name of the input that takes them."""
        return {s.input: np.repeat(s.init[None], streams, axis=0) for s in self.document.states}
