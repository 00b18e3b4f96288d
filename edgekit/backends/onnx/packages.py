"""The optional packages of this backend: imported when they are needed, refused with the extra that brings them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from edgekit.errors import ToolchainError


def require(package: str) -> Any:
    """The imported package; ToolchainError that names the extra when it is not installed or does not load."""
    try:
        return import_module(package)
    except ImportError as error:
        cause = "is not installed" if getattr(error, "name", "") == package else f"cannot be loaded ({error})"
        raise ToolchainError(f"package {package}", cause, "pip install 'edgekit[onnx]'") from error
