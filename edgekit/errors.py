"""The one exception tree of edgekit; every message names the thing, the cause and the remedy.

EdgekitError            anything a user can cause; the command line prints it and exits with 2
├── UsageError          an option or argument is wrong, missing, or fits nothing
├── DataError           an input file or array is malformed, empty, or of the wrong shape
├── ModelError          a model file cannot be read, recognised or completed
│   ├── UnsupportedError    the model was read, but something in it cannot be lowered
│   └── ReplayError         the imported graph does not reproduce the original model
├── GraphError          a graph breaks a rule of the IR (also: a hostile graph.json)
├── ArtifactError       an .edge file is damaged, hostile, or of an unknown schema
├── TargetError         an unknown target, or a target that cannot do what was asked
│   └── CapacityError       the program does not fit: required / available / excess
├── AgreementError      no integer program is as much like the original as was asked for
├── ToolchainError      a compiler or emulator is missing or failed
└── StateError          a state blob does not belong to this program
"""

from __future__ import annotations

import copyreg
from collections.abc import Sequence
from typing import Any


class EdgekitError(Exception):
    """A fault that a user can cause and mend: `thing: cause; remedy`, then a list when there is one.

    `thing` names what is wrong (a file, an option, a layer), `cause` says what is wrong with it, `remedy` what to do
    about it, and `items` are printed one a line below.
    """

    def __init__(self, thing: str, cause: str, remedy: str = "", items: Sequence[str] = ()) -> None:
        self.thing, self.cause, self.remedy, self.items = thing, cause, remedy, tuple(items)
        first = f"{thing}: {cause}" + (f"; {remedy}" if remedy else "")
        super().__init__("\n".join([first, *(f"  - {item}" for item in self.items)]))

    def __reduce__(self) -> tuple[Any, ...]:
        """As it stands, whatever a subclass is made of: it comes back from worker processes."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class UsageError(EdgekitError):
    """An option or argument is wrong, missing, or fits nothing."""


class DataError(EdgekitError):
    """An input file or array is malformed, empty, or of the wrong shape."""


class ModelError(EdgekitError):
    """A model file cannot be read, recognised or completed."""


class UnsupportedError(ModelError):
    """The model was read, but something in it cannot be lowered; all such things are listed at once."""


class ReplayError(ModelError):
    """The imported graph does not reproduce the original model."""


class GraphError(EdgekitError):
    """A graph breaks a rule of the IR."""


class ArtifactError(EdgekitError):
    """An .edge file is damaged, hostile, or of an unknown schema."""


class TargetError(EdgekitError):
    """An unknown target, or a target that cannot do what was asked."""


class CapacityError(TargetError):
    """The program does not fit the target."""

    def __init__(self, thing: str, required: int, available: int, remedy: str) -> None:
        self.required, self.available = required, available
        super().__init__(
            thing,
            f"required {required:,} bytes, available {available:,} bytes, excess {required - available:,} bytes",
            remedy,
        )


class AgreementError(EdgekitError):
    """No integer program is as much like the original as was asked for."""


class ToolchainError(EdgekitError):
    """A compiler or emulator is missing or failed."""


class StateError(EdgekitError):
    """A state blob does not belong to this program, or is damaged."""
