"""Learning rules as Graph -> Graph functions: plastic weights are states, an update is made of ordinary ops."""

from edgekit.ir.graph import Graph
from edgekit.learn.arithmetic import Floats
from edgekit.learn.basis import Basis, basis_of
from edgekit.learn.entries import TARGET, TASK, add_learning, plastic_of
from edgekit.learn.fixed import Fixed
from edgekit.learn.plastic import READOUT, Plastic, layer_names
from edgekit.learn.ready import ready_to_learn
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


def with_learning(graph: Graph, asked: Learning) -> Graph:
    """A float graph that learns by a rule: see `add_learning` for the equations and the entries."""
    return add_learning(plastic_of(graph, asked), Floats, asked)


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
    "layer_names",
    "learned_bytes",
    "learning_section",
    "plastic_of",
    "ready_to_learn",
    "with_learning",
]
