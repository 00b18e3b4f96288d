"""The peers: one small file each, with a function `subjects(case) -> list[Subject]`, and one line in this table."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgekit.bench.cases import Case
from edgekit.bench.peers import exported, onnx_runtime, torch_eager
from edgekit.bench.subject import Subject

PEERS: Mapping[str, Callable[[Case], list[Subject]]] = {
    "torch": torch_eager.subjects,
    "onnxruntime": onnx_runtime.subjects,
    "exported": exported.subjects,
}
