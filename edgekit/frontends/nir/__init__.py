"""NIR graphs as input: a `.nir` file or a `nir.NIRGraph`, replayed against its own equations, without torch."""

from __future__ import annotations

from importlib import import_module as _load
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.frontends.nir.importing import import_nir

__all__ = ["import_nir"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_load(f"{__name__}.importing"), name)
