"""Trainable PyTorch families and their model files; torch is imported when something is called, not before.

Every family is an `nn.Module` with the same face: `init_state(batch) -> {name: Tensor}`, a pure
`step(x, state) -> (y, state)`, a sequence or batch `forward`, `decide`, `trace`, a JSON-able `config` that rebuilds it,
the class attribute `family`, `names` (its states, in order) and `io` (normalisation, window and classes, or None).
Families with a state that decide also have `scores`, which makes one value a class of a window's step outputs, and
`decision`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgekit.errors import ModelError

if TYPE_CHECKING:
    from edgekit.models.checkpoints import from_checkpoint
    from edgekit.models.elm import ELM
    from edgekit.models.files import load, open_model, read_state_dict, save
    from edgekit.models.l2mu import L2MU
    from edgekit.models.lmu import LMU
    from edgekit.models.memory import Memory
    from edgekit.models.mlp import MLP

FAMILIES = {"l2mu": "L2MU", "lmu": "LMU", "elm": "ELM", "memory": "Memory", "mlp": "MLP"}
"""Family -> class, the only list of families: the class is in `<family>.py`, its checkpoints in `<family>_layout.py`.

A checkpoint is of the first family that recognises its keys: an MLP, which may be a part of any other, is last.
"""

_HOMES = {
    **{class_name: family for family, class_name in FAMILIES.items()},
    **dict.fromkeys(("load", "open_model", "read_state_dict", "save"), "files"),
    "from_checkpoint": "checkpoints",
}

__all__ = [
    "ELM",
    "FAMILIES",
    "L2MU",
    "LMU",
    "MLP",
    "Memory",
    "build",
    "from_checkpoint",
    "load",
    "open_model",
    "read_state_dict",
    "save",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def build(family: str, config: Mapping[str, Any]) -> Any:
    """A freshly initialised module of `family` from its `config`; wrong or missing keys are one ModelError."""
    if family not in FAMILIES:
        raise ModelError(f"family {family!r}", "unknown", "known families: " + ", ".join(FAMILIES))
    return __getattr__(FAMILIES[family]).from_config(config)
