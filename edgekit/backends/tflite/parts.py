"""What a model that was read is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from edgekit.backends.tflite.flat import WHERE
from edgekit.errors import ArtifactError


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor: `data` of a constant, `quant` its scales and zero points and their axis."""

    name: str
    shape: tuple[int, ...]
    type: str
    data: npt.NDArray[Any] | None = None
    quant: tuple[npt.NDArray[Any], npt.NDArray[Any], int] | None = None


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator: builtin, indices of values, and its options."""

    builtin: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Subgraph:
    """Values, operators in order, and the values that come from and go outside."""

    name: str
    values: tuple[Value, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def need(condition: bool, cause: str) -> None:
    """ArtifactError unless the condition holds."""
    if not condition:
        raise ArtifactError(WHERE, cause, "export it again")
