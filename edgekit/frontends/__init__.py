"""Front ends: a model file or any `nn.Module` step becomes a graph; torch is imported when one of them is called."""

from __future__ import annotations

from importlib import import_module as _load
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.frontends.files import import_file
    from edgekit.frontends.imported import Imported
    from edgekit.frontends.modules import import_module
    from edgekit.frontends.original import original_states, run_original
    from edgekit.frontends.replay import ReplayReport, ValueReport

_HOMES = {
    "Imported": "imported",
    "ReplayReport": "replay",
    "ValueReport": "replay",
    "import_file": "files",
    "import_module": "modules",
    "original_states": "original",
    "run_original": "original",
}

__all__ = [
    "Imported",
    "ReplayReport",
    "ValueReport",
    "import_file",
    "import_module",
    "original_states",
    "run_original",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_load(f"{__name__}.{_HOMES[name]}"), name)
