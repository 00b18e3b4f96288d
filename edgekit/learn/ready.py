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
from edgekit.learn.plastic import Plastic
from edgekit.learn.prototypes import described
from edgekit.learn.settings import LAST, MEAN, PROTOTYPES, SUM, USES, Learning
from edgekit.reference import Interpreter

CHUNK = 256  # windows at once


def ready_to_learn(
    asked: Learning, graph: Graph, meta: Mapping[str, Any], *, shown: bool
) -> tuple[Learning, dict[str, Any]]:
    """The rule with how the model decides, and the io section as the rule makes it.

    Raises UsageError where the rule needs a space that nobody gave, and no windows are shown to estimate it from.
    """
    if "gain" in USES[asked.rule] and asked.gain is None:
        asked = dataclasses.replace(asked, gain=float(asked.window) if meta.get("decision") == SUM else 1.0)
    if asked.rule != PROTOTYPES:
        return asked, dict(meta)
    if asked.basis is None and not shown:
        cause = "needs windows: the space in which they are near one another is estimated from some"
        raise UsageError(f"learning rule {asked.rule!r}", cause, "--calib windows.npz, with y if there are labels")
    asked = dataclasses.replace(asked, decision=LAST if meta.get("decision") == LAST else MEAN)
    return asked, described(asked, meta, graph.tensors[graph.entries["step"].outputs[0]].size)


def fitted(asked: Learning, plastic: Plastic, inputs: Mapping[str, Array]) -> Learning:
    """The rule with a basis from windows [N, T, *shape] of each input, as the step takes them, if it needs one.

    Where labels are not given, what the model decides serves. An integer program is asked itself, so that what is known
    from the start lies where its own signal does. Raises DataError for a class without windows.
    """
    if asked.rule != PROTOTYPES or asked.basis is not None:
        return asked
    signal, answers = signals(plastic, inputs, asked.decision)
    labels = answers.argmax(axis=1) if asked.labels is None else asked.labels
    basis = basis_of(signal, labels, answers.shape[1], asked.groups, used=asked.used, known=asked.known)
    return dataclasses.replace(asked, basis=basis)


def signals(plastic: Plastic, inputs: Mapping[str, Array], decision: str) -> tuple[Array, Array]:
    """What the layer that a rule listens to was given [N, D], and the output [N, C], of windows [N, T, *shape].

    Both in reals, on average over the window, or in its last step.
    """
    graph, states = plastic.graph, (plastic.layers[-1].given, plastic.output)
    step = graph.entries["step"]
    values = tuple(step.updates[state] for state in states)
    interpreter = Interpreter(graph.with_entries(dataclasses.replace(step, outputs=tuple(dict.fromkeys(values)))))
    found: list[list[Array]] = [[], []]
    for at in range(0, len(next(iter(inputs.values()))), CHUNK):
        outputs, _ = interpreter.run({name: array[at : at + CHUNK] for name, array in inputs.items()})
        for part, state, value in zip(found, states, values, strict=True):
            whole, quant = outputs[value], graph.tensors[state].quant
            real = np.asarray(whole if quant is None else quant.dequantize(whole), np.float64)
            part.append((real[:, -1] if decision == LAST else real.mean(axis=1)).reshape(len(real), -1))
    return np.concatenate(found[0]), np.concatenate(found[1])
