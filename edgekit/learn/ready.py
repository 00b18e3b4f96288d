"""What a rule needs to know of a model before it can be written: how it decides, and the space of its signal."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgekit.errors import UsageError
from edgekit.ir.graph import Graph
from edgekit.learn.arithmetic import Array
from edgekit.learn.basis import basis_of
from edgekit.learn.prototypes import described
from edgekit.learn.settings import LAST, MEAN, PROTOTYPES, Learning
from edgekit.learn.watch import watched
from edgekit.reference import Interpreter

CHUNK = 256  # windows at once


def ready_to_learn(
    asked: Learning, graph: Graph, meta: Mapping[str, Any], shown: Mapping[str, Array] | None
) -> tuple[Learning, dict[str, Any]]:
    """The rule with what it needs of an optimised float graph, and the io section as the rule makes it.

    Prototypes without a basis get one from the windows shown, [N, T, *shape] of each input; where labels are not given,
    what the model decides serves. Raises UsageError where there are no windows, DataError for a class without any.
    """
    if asked.rule != PROTOTYPES:
        return asked, dict(meta)
    asked = dataclasses.replace(asked, decision=LAST if meta.get("decision") == LAST else MEAN)
    outputs = graph.tensors[graph.entries["step"].outputs[0]].size
    if asked.basis is None:
        if shown is None:
            cause = "needs windows: the space in which they are near one another is estimated from some"
            raise UsageError(f"learning rule {asked.rule!r}", cause, "--calib windows.npz, with y if there are labels")
        signal, answers = signals(graph, shown, asked)
        labels = answers.argmax(axis=1) if asked.labels is None else asked.labels
        asked = dataclasses.replace(asked, basis=basis_of(signal, labels, outputs, asked.groups))
    return asked, described(asked, meta, outputs)


def signals(graph: Graph, inputs: Mapping[str, Array], asked: Learning) -> tuple[Array, Array]:
    """What the layer that a rule listens to was given [N, D], and the output [N, C], of windows [N, T, *shape].

    Both on average over the window, or in its last step, as `decision` says.
    """
    plastic = watched(graph, asked.plastic)
    step = plastic.graph.entries["step"]
    values = tuple(step.updates[state] for state in (plastic.layers[-1].given, plastic.output))
    showing = dataclasses.replace(step, outputs=tuple(dict.fromkeys(values)))
    interpreter = Interpreter(plastic.graph.with_entries(showing))
    count = len(next(iter(inputs.values())))
    found: list[list[Array]] = [[], []]
    for at in range(0, count, CHUNK):
        outputs, _ = interpreter.run({name: array[at : at + CHUNK] for name, array in inputs.items()})
        for part, value in zip(found, values, strict=True):
            whole = np.asarray(outputs[value], np.float64)
            part.append((whole[:, -1] if asked.decision == LAST else whole.mean(axis=1)).reshape(len(whole), -1))
    return np.concatenate(found[0]), np.concatenate(found[1])
