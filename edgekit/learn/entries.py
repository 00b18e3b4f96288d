"""The entries of a program that learns, by the rule that writes them: each rule is a module of its own."""

from __future__ import annotations

from collections.abc import Callable

from edgekit.ir.graph import Graph
from edgekit.learn.arithmetic import Arithmetic
from edgekit.learn.delta import add_delta
from edgekit.learn.draft import Draft
from edgekit.learn.hlop import add_hlop
from edgekit.learn.oja import add_oja
from edgekit.learn.plastic import Plastic, make_plastic
from edgekit.learn.prototypes import add_prototypes
from edgekit.learn.settings import (
    DELTA,
    HLOP,
    OJA,
    PROTOTYPES,
    SANGER,
    STORE,
    TARGET,
    TASK,
    THREE_FACTOR,
    Learning,
    check_learning,
)
from edgekit.learn.store import add_store, memory_of
from edgekit.learn.three_factor import add_three_factor
from edgekit.learn.watch import watched

__all__ = ["TARGET", "TASK", "add_learning", "plastic_of"]

WRITERS: dict[str, Callable[[Arithmetic, Plastic, Learning], None]] = {
    DELTA: add_delta,
    HLOP: add_hlop,
    OJA: add_oja,
    SANGER: add_oja,
    THREE_FACTOR: add_three_factor,
    PROTOTYPES: add_prototypes,
    STORE: add_store,
}
"""What writes the entries of each rule: `learn`, and where the rule needs them `gather` after a step, and `merge`."""

LISTENING = frozenset({OJA, SANGER, PROTOTYPES})
"""Rules that leave the layers of the model as they are, and learn beside them."""

BIASED = frozenset({DELTA, THREE_FACTOR})
"""Rules that change the bias of the read-out too."""


def plastic_of(graph: Graph, asked: Learning) -> Plastic:
    """An optimised float graph whose layers may learn, or are listened to, as asked."""
    check_learning(asked)
    if asked.rule == STORE:
        return memory_of(graph)
    if asked.rule in LISTENING:
        return watched(graph, asked.plastic)
    return make_plastic(graph, asked.plastic, bias=asked.rule in BIASED)


def add_learning(plastic: Plastic, arithmetic: Callable[[Draft], Arithmetic], asked: Learning) -> Graph:
    """The graph with entries that learn by a rule; the module of the rule says what they take, give and change.

    x̄ is the mean presynaptic trace of a layer over the window, ȳ the mean output.
    """
    draft = Draft(plastic.graph)
    WRITERS[asked.rule](arithmetic(draft), plastic, asked)
    return draft.build()
