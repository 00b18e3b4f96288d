"""Learning rules as Graph -> Graph functions: plastic weights are states, an update is made of ordinary ops."""

from collections.abc import Mapping

from edgekit.ir.graph import Graph
from edgekit.learn.arithmetic import Array, Floats
from edgekit.learn.basis import Basis, basis_of
from edgekit.learn.entries import TARGET, TASK, add_learning, plastic_of
from edgekit.learn.fixed import Fixed
from edgekit.learn.plastic import READOUT, Plastic, layer_names
from edgekit.learn.ready import fitted, ready_to_learn
from edgekit.learn.settings import (
    DELTA,
    HLOP,
    PROTOTYPES,
    RULES,
    Learning,
    check_learning,
    learned_bytes,
    learning_section,
)


def with_learning(graph: Graph, asked: Learning, shown: Mapping[str, Array] | None = None) -> Graph:
    """A float graph that learns by a rule: see `add_learning` for the equations and the entries.

    Some rules look at windows first, [N, T, *shape] of each input.
    """
    plastic = plastic_of(graph, asked)
    return add_learning(plastic, Floats, asked if shown is None else fitted(asked, plastic, shown))


__all__ = [
    "DELTA",
    "HLOP",
    "PROTOTYPES",
    "READOUT",
    "RULES",
    "TARGET",
    "TASK",
    "Basis",
    "Fixed",
    "Floats",
    "Learning",
    "Plastic",
    "add_learning",
    "basis_of",
    "check_learning",
    "fitted",
    "layer_names",
    "learned_bytes",
    "learning_section",
    "plastic_of",
    "ready_to_learn",
    "with_learning",
]
