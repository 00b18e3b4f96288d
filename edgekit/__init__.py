"""edgekit: trained PyTorch models as verified, tiny, measured programs for edge devices.

    artifact = edgekit.convert(module, example_input, target="raspberrypi4")
    artifact.save("model.edge")
    session = edgekit.load("model.edge")      # numpy only
    y = session.step(x)                       # one time step, state inside

Importing edgekit imports neither torch nor a compiler: each part is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgekit._version import __version__

if TYPE_CHECKING:
    from edgekit.artifact import Artifact
    from edgekit.convert import convert
    from edgekit.models import save
    from edgekit.runtime import Session, load
    from edgekit.target import Target

_HOMES = {
    "Artifact": "edgekit.artifact",
    "Session": "edgekit.runtime",
    "Target": "edgekit.target",
    "convert": "edgekit.convert",
    "load": "edgekit.runtime",
    "save": "edgekit.models",
}

__all__ = ["Artifact", "Session", "Target", "__version__", "convert", "load", "save"]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
