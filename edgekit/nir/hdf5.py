"""The HDF5 of a `.nir` file read with bounds: every size is checked before anything of that size is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from edgekit.errors import EdgekitError, ModelError
from edgekit.nir.raw import GRAPH, Budget, RawNode, name_of, plain, small

NUMBERS = "fiub"
# What h5py raises for damaged files, by its own words and by those of what it calls.
FAULTS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def read_file(path: str) -> RawNode:
    """The graph in a file; nothing outside the file is followed.

    Raises ModelError for a file that is damaged or holds more than is read.
    """
    h5py = _h5py(path)
    with _typed(path), h5py.File(path, "r") as file:
        return _Reader(h5py, Budget(path)).node(_member(file, "node", path), "", 0)


def _h5py(thing: str) -> Any:
    try:
        return import_module("h5py")
    except ImportError as error:
        raise ModelError(thing, "is HDF5, and h5py is not installed", "pip install 'edgekit[nir]'") from error


@contextmanager
def _typed(thing: str) -> Iterator[None]:
    """Faults of the HDF5 library as ModelError."""
    try:
        yield
    except EdgekitError:
        raise
    except FAULTS as error:
        raise ModelError(thing, f"is damaged ({_why(error)})", "write it anew") from error


def _why(error: BaseException) -> str:
    """What the HDF5 library says, without where in it that was found."""
    text = str(error)
    if "truncated file" in text:
        return "it is cut short"
    inner = re.search(r"\((.+)\)$", text)
    return (inner[1] if inner else text or type(error).__name__)[:200]


def _member(group: Any, key: str, thing: str) -> Any:
    """An object inside a group; links that lead elsewhere are refused."""
    link = group.get(key, getlink=True)
    if link is None:
        raise ModelError(thing, f"has no {key!r} where NIR keeps it", "write it with nir.write")
    if type(link).__name__ != "HardLink":
        raise ModelError(thing, f"has a link at {group.name}/{key} that leads elsewhere", "write it with nir.write")
    return group[key]


class _Reader:
    """Reads nodes one inside another, within one budget."""

    def __init__(self, h5py: Any, budget: Budget) -> None:
        self.h5py, self.budget, self.thing = h5py, budget, budget.thing

    def node(self, group: Any, name: str, depth: int) -> RawNode:
        """A node with all that is inside it."""
        self.budget.depth(depth)
        self.budget.take("nodes", 1)
        if not isinstance(group, self.h5py.Group):
            raise ModelError(self.thing, f"has a node {name!r} that is not a group")
        keys = [key for key in group if key not in ("metadata", "nodes", "edges")]
        fields = {key: self._value(_member(group, key, self.thing)) for key in keys}
        kind = fields.pop("type", None)
        if not isinstance(kind, str):
            raise ModelError(self.thing, f"has a node {name!r} without a type")
        metadata = self._metadata(group)
        if kind != GRAPH:
            if "nodes" in group or "edges" in group:
                raise ModelError(self.thing, f"has nodes inside {name!r}, which is {kind} and not a graph")
            return RawNode(kind, fields, metadata=metadata)
        inner = _member(group, "nodes", self.thing)
        if not isinstance(inner, self.h5py.Group):
            raise ModelError(self.thing, f"keeps the nodes of {name or 'the graph'!r} in no group")
        nodes = {
            name_of(self.thing, key): self.node(_member(inner, key, self.thing), f"{name}.{key}".strip("."), depth + 1)
            for key in inner
        }
        edges = self._edges(_member(group, "edges", self.thing))
        return RawNode(kind, fields, nodes, edges, metadata)

    def _dataset(self, item: Any) -> Any:
        """A dataset whose values lie in this file, and are no more than may be read."""
        if not isinstance(item, self.h5py.Dataset):
            raise ModelError(self.thing, f"has a group at {item.name} where a value is due")
        if item.external or item.is_virtual:
            raise ModelError(self.thing, f"keeps the values of {item.name} in another file", "write it with nir.write")
        if item.shape is None:
            raise ModelError(self.thing, f"has no value at {item.name}")
        self.budget.take("values", int(np.prod(item.shape, dtype=object)))
        return item

    def _value(self, item: Any) -> Any:
        item = self._dataset(item)
        text = self.h5py.check_string_dtype(item.dtype) is not None
        if not (text and item.shape == ()) and item.dtype.kind not in NUMBERS:
            raise ModelError(
                self.thing, f"has values of dtype {item.dtype} at {item.name}", "numbers and texts are read"
            )
        return plain(item[()])

    def _metadata(self, group: Any) -> Mapping[str, Any]:
        """The small entries of the metadata; others say nothing that is used."""
        if "metadata" not in group:
            return {}
        inside = _member(group, "metadata", self.thing)
        if not isinstance(inside, self.h5py.Group):
            raise ModelError(self.thing, f"keeps metadata at {inside.name} in no group")
        found = {}
        for key in inside:
            item = _member(inside, key, self.thing)
            if isinstance(item, self.h5py.Dataset) and item.size == 1:
                found[str(key)] = small(self._value(item))
        return {key: value for key, value in found.items() if value is not None}

    def _edges(self, item: Any) -> tuple[tuple[str, str], ...]:
        item = self._dataset(item)
        if item.size == 0:
            return ()
        if item.ndim != 2 or item.shape[1] != 2 or self.h5py.check_string_dtype(item.dtype) is None:
            raise ModelError(
                self.thing, f"has edges of shape {item.shape} and dtype {item.dtype}", "an edge is two names"
            )
        self.budget.take("edges", item.shape[0])
        return tuple((name_of(self.thing, a), name_of(self.thing, b)) for a, b in item[()])
