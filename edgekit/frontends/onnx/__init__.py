"""ONNX files as input: a step of opset 13 to 20 becomes a graph, replayed against ONNX Runtime, without torch."""

from __future__ import annotations

from importlib import import_module as _load
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.frontends.onnx.importing import import_onnx

__all__ = ["import_onnx"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_load(f"{__name__}.importing"), name)
