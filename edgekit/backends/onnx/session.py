"""ONNX Runtime over the bytes of an exported file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.backends.onnx.float_environment import kept, without_denormals
from edgekit.backends.onnx.packages import require
from edgekit.backends.onnx.read import read_file
from edgekit.errors import ArtifactError

Array = npt.NDArray[Any]


class OnnxRuntime:
    """A file that `export_onnx` wrote, on one thread of the CPU; denormals are zero, as in every edgekit program.

    ArtifactError when it is no such file: one of someone else never reaches ONNX Runtime.
    """

    def __init__(self, data: bytes) -> None:
        ort = require("onnxruntime")
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        options.add_session_config_entry("session.x64quantprecision", "1")  # int8 products without VNNI saturate
        self.document, self.form = read_file(data)
        try:
            with kept():
                self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has an exception of its own for each way to fail
            raise ArtifactError("ONNX file", f"ONNX Runtime refuses it: {error}") from error
        self._quant = {s.output: s.quant for s in self.document.states}
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name of inputs by name, states among both."""
        feeds = {name: np.ascontiguousarray(value) for name, value in values.items()}
        with without_denormals():
            found = self._session.run(None, feeds)
        return dict(zip(self._names, found, strict=True))

    def real(self, name: str, value: Array) -> Array:
        """The reals of an output; integers of a state held in int8 stand for (stored - zero point) · scale."""
        quant = self._quant.get(name)
        return value if quant is None else ((value - np.float32(quant.zero_point)) * np.float32(quant.scale))

    def initial_state(self, streams: int) -> dict[str, Array]:
        """First values of all states [N, *shape], by the name of the input that takes them."""
        return {s.input: np.repeat(s.init[None], streams, axis=0) for s in self.document.states}
