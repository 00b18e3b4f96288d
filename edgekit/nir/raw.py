"""A NIR graph as it is given, in a file or in memory: kinds, fields and edges, nothing checked but the sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import ModelError

Array = npt.NDArray[Any]

GRAPH = "NIRGraph"
MAX_DEPTH = 16
MAX_NODES = 4096
MAX_EDGES = 100_000
MAX_VALUES = 2**25
"""Elements of all arrays of a graph: 128 MiB in float32."""
MAX_NAME = 200
MAX_METADATA = 2**12


@dataclass(frozen=True, eq=False)
class RawNode:
    """A node: its kind, its fields (arrays, strings or None), and of a graph the nodes and edges inside."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    nodes: Mapping[str, RawNode] = field(default_factory=dict)
    edges: tuple[tuple[str, str], ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Budget:
    """What may still be read of a graph; ModelError when it is used up."""

    thing: str
    nodes: int = MAX_NODES
    edges: int = MAX_EDGES
    values: int = MAX_VALUES

    def depth(self, depth: int) -> None:
        """Refuse graphs in graphs beyond MAX_DEPTH, which references in a circle would make endless."""
        if depth > MAX_DEPTH:
            raise ModelError(self.thing, f"nests graphs more than {MAX_DEPTH} deep, or in a circle")

    def take(self, what: str, count: int) -> None:
        """Use up nodes, edges or values."""
        left = getattr(self, what) - count
        if left < 0:
            most = {"nodes": MAX_NODES, "edges": MAX_EDGES, "values": MAX_VALUES}[what]
            raise ModelError(self.thing, f"has more than {most:,} {what}", "import a smaller graph")
        setattr(self, what, left)


def name_of(thing: str, value: object) -> str:
    """A node's name as text; ModelError for what is none."""
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            raise ModelError(thing, f"has a node name that is not UTF-8: {value[:40]!r}") from None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME:
        raise ModelError(thing, f"has a node name of another form: {str(value)[:40]!r}", "names are short texts")
    return value


def plain(value: object) -> Any:
    """A field as an array of numbers or a text; other things are left as they are, and refused where they matter."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    array = np.asarray(value)
    if array.dtype.kind in "SU" and array.ndim == 0:
        return plain(array.item())
    return array


def small(value: object) -> Any:
    """An entry of the metadata as a Python value; None for what is large or of another form."""
    value = plain(value)
    if isinstance(value, np.ndarray):
        if value.size != 1 or value.dtype.kind not in "fiub":
            return None
        return value.reshape(()).item()
    return value if isinstance(value, str) and len(value) <= MAX_METADATA else None
