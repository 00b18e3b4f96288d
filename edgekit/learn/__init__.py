"""Learning rules as Graph -> Graph functions: plastic weights are states, an update is made of ordinary ops."""

from edgekit.ir.graph import Graph
from edgekit.learn.arithmetic import Floats
from edgekit.learn.entries import TARGET, TASK, add_learning
from edgekit.learn.plastic import READOUT, layer_names, make_plastic
from edgekit.learn.settings import DELTA, HLOP, RULES, Learning, check_learning, learned_bytes, learning_section


def with_learning(graph: Graph, asked: Learning) -> Graph:
    """A float graph that learns by a rule: see `add_learning` for the equations and the entries."""
    check_learning(asked)
    return add_learning(make_plastic(graph, asked.plastic, bias=asked.rule == DELTA), Floats, asked)


__all__ = [
    "DELTA",
    "HLOP",
    "READOUT",
    "RULES",
    "TARGET",
    "TASK",
    "Learning",
    "check_learning",
    "layer_names",
    "learned_bytes",
    "learning_section",
    "with_learning",
]
