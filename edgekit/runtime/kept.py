"""What a program has learned, read from the bytes that a journal stores: values by name, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from edgekit.errors import StateError
from edgekit.ir import Graph
from edgekit.reference import BlobLayout
from edgekit.runtime.facts import Facts
from edgekit.runtime.streams import Array

MERGE = "merge"


def kept_values(layout: BlobLayout, learned: bytes) -> dict[str, Array]:
    """The states that a reset keeps, by name, whatever they hold; StateError when the length is not this program's."""
    if len(learned) != layout.learned_bytes:
        raise StateError("learned state", f"has {len(learned)} bytes, this program's has {layout.learned_bytes}")
    found, at = {}, 0
    for row in layout.rows:
        if row.reset == "keep":
            found[row.name] = np.frombuffer(learned, row.stored, prod(row.shape), at).reshape(row.shape)
            at += row.nbytes
    return found


@dataclass(frozen=True)
class Tasks:
    """How many tasks have ended, and how many can: None where a program does not say."""

    done: int
    most: int | None

    @property
    def left(self) -> int | None:
        """How many more can end."""
        return None if self.most is None else max(self.most - self.done, 0)


def tasks_of(facts: Facts, learned: bytes) -> Tasks | None:
    """How far a program has come with its tasks; None where it has none to end."""
    name = _counter(facts.graph)
    if name is None or facts.graph is None:
        return None
    tensor = facts.graph.tensors[name]
    scale = 1.0 if tensor.quant is None else float(tensor.quant.scale.reshape(-1)[0])
    held = float(kept_values(facts.layout, learned)[name].reshape(-1)[0]) * scale
    rows, tasks = facts.learning.get("subspace"), facts.learning.get("tasks")
    return Tasks(round(held) if np.isfinite(held) else 0, len(rows) if rows else tasks)


def saturated(facts: Facts, learned: bytes) -> int:
    """How many learned integers have come to the end of their range: what they learn beyond it is lost."""
    counter = _counter(facts.graph)
    ends = {row.name: row.dtype.limits[1] for row in facts.layout.rows if row.dtype.is_integer}
    values = kept_values(facts.layout, learned)
    return _count({n: np.abs(a.astype(np.int64)) >= ends[n] for n, a in values.items() if n in ends and n != counter})


def broken(facts: Facts, learned: bytes) -> int:
    """How many learned floats are NaN or Inf."""
    values = kept_values(facts.layout, learned)
    return _count({name: ~np.isfinite(array) for name, array in values.items() if array.dtype.kind == "f"})


def _count(masks: Mapping[str, Array]) -> int:
    return sum(int(mask.sum()) for mask in masks.values())


def _counter(graph: Graph | None) -> str | None:
    """The state that the end of a task counts up: it is no weight."""
    entry = graph.entries.get(MERGE) if graph is not None else None
    if entry is None or entry.inputs or len(entry.updates) != 1:
        return None
    (name,) = entry.updates
    return name if graph is not None and graph.tensors[name].size == 1 else None
