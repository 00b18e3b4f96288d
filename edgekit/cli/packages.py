"""A package that is missing or broken, as one line: which it is, why, and how to get it."""

from __future__ import annotations

from collections.abc import Mapping
from traceback import walk_tb
from types import MappingProxyType

EXTRAS: Mapping[str, str] = MappingProxyType(
    {
        **{"torch": "convert", "ziglang": "convert", "unicorn": "emulate", "onnx": "onnx", "onnxruntime": "onnx"},
        **{"nir": "nir", "h5py": "nir", "ai_edge_litert": "tflite", "flatbuffers": "tflite"},
        **{"snntorch": "snn", "norse": "norse", "optuna": "search", "ray": "search"},
    }
)
"""Optional packages, and the extra that has each."""
NEEDED = ("numpy", "safetensors", "typer", "rich")
"""Packages without which nothing works."""


def explain_import(error: BaseException) -> str | None:
    """One line for a package of EXTRAS or NEEDED that is missing or cannot be imported; None for every other fault."""
    if isinstance(error, ModuleNotFoundError) and error.name in (*EXTRAS, *NEEDED):
        return f"{error.name}: is not installed; pip install {_wanted(error.name)}"
    is_loader = isinstance(error, OSError) and error.errno is None  # ctypes, of a library that cannot be loaded
    if not isinstance(error, ImportError) and not is_loader:
        return None
    package = _broken(error)
    if package is None:
        return None
    cause = " ".join(str(error).split())[:200] or type(error).__name__
    remedy = f"install it again: pip install --force-reinstall {_wanted(package)}"
    return f"{package}: is installed but cannot be imported ({cause}); {remedy}"


def _broken(error: BaseException) -> str | None:
    """The innermost known package whose code, or whose name, failed to be imported."""
    frames = [str(frame.f_globals.get("__name__", "")) for frame, _ in walk_tb(error.__traceback__)]
    named = getattr(error, "name", None) or ""
    for name in (*reversed(frames), named):
        package = name.partition(".")[0]
        if package in EXTRAS or package in NEEDED:
            return package
    return None


def _wanted(package: str) -> str:
    return f'"edgekit[{EXTRAS[package]}]"' if package in EXTRAS else package
