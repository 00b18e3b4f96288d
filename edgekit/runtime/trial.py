"""What the entries that learn may be given, to see what a call of them costs."""

from __future__ import annotations

import numpy as np

from edgekit.ir import Graph
from edgekit.ir.widths import is_width
from edgekit.runtime.streams import Array

BORDER = ("quantize", "dequantize")
"""The entries of an integer program that bring values in and out."""


def learning_entries(graph: Graph) -> list[str]:
    """The entries by which a program learns, in order."""
    return [name for name in graph.entries if name not in ("step", *BORDER) and not is_width(name)]


def learning_inputs(graph: Graph, entry: str) -> list[Array]:
    """What such an entry may be given: the first of the classes, and zeros for the rest."""
    made = []
    for name in graph.entries[entry].inputs:
        array = np.zeros(graph.tensors[name].shape, graph.port_dtype(name))
        array.reshape(-1)[:1] = 1
        made.append(array)
    return made
