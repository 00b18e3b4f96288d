"""The peers: one file each, with a function `subjects(case, folder, threads)` that returns makers of subjects by name,
and one line in this table. A worker calls it, in the environment that the line names. A subject whose name lacks the
word QUANTISED computes in float32, and is held to equal PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

QUANTISED = "int8"


@dataclass(frozen=True)
class Peer:
    """`module` is the file here, `environment` one of tools/bench/environments.toml, or empty for this Python, which
    must then have `packages`. `rival` is False for what the ratios are not held against: edgekit's own exports, and
    kernels that are not meant for this computer; `note` says so.
    """

    module: str
    environment: str = ""
    packages: tuple[str, ...] = ("torch",)
    rival: bool = True
    note: str = ""


_ONNX = ("torch", "onnx", "onnxscript", "onnxruntime")
PEERS: Mapping[str, Peer] = {
    "torch": Peer("torch_eager"),
    "compile": Peer("torch_compile"),
    "onnxruntime": Peer("onnx_runtime", packages=_ONNX),
    "litert": Peer("litert", environment="litert"),
    "executorch": Peer("executorch", environment="executorch"),
    "openvino": Peer("openvino", environment="openvino"),
    "tflite-micro": Peer(
        "tflite_micro",
        environment="litert",
        rival=False,
        note="reference kernels for any processor: its time here says nothing about a microcontroller",
    ),
    "exported": Peer(
        "exported", packages=("onnx", "onnxruntime", "ai_edge_litert"), rival=False, note="edgekit's own file"
    ),
}
