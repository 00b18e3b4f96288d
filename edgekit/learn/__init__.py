"""Learning rules as Graph -> Graph functions: plastic weights are states, an update is made of ordinary ops."""

from edgekit.ir.graph import Graph
from edgekit.learn.arithmetic import Floats
from edgekit.learn.entries import TARGET, TASK, add_learning
from edgekit.learn.fixed import Fixed
from edgekit.learn.plastic import READOUT, Plastic, layer_names, make_plastic
from edgekit.learn.settings import DELTA, HLOP, RULES, Learning, check_learning, learned_bytes, learning_section


def plastic_of(graph: Graph, asked: Learning) -> Plastic:
    """An optimised float graph whose layers may learn as asked."""
    check_learning(asked)
    return make_plastic(graph, asked.plastic, bias=asked.rule == DELTA)


def with_learning(graph: Graph, asked: Learning) -> Graph:
    """A float graph that learns by a rule: see `add_learning` for the equations and the entries."""
    return add_learning(plastic_of(graph, asked), Floats, asked)


__all__ = [
    "DELTA",
    "HLOP",
    "READOUT",
    "RULES",
    "TARGET",
    "TASK",
    "Fixed",
    "Floats",
    "Learning",
    "Plastic",
    "add_learning",
    "check_learning",
    "layer_names",
    "learned_bytes",
    "learning_section",
    "plastic_of",
    "with_learning",
]
