"""How many decisions of the original a program still makes, over windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.convert.inputs import Inputs
from edgekit.ir import Graph
from edgekit.reference import Interpreter
from edgekit.runtime.codec import Codec
from edgekit.runtime.session import DECISIONS

BATCH = 256  # windows that the interpreter runs at once: more fall out of the caches


def decision_rule(graph: Graph, meta: Mapping[str, Any]) -> str | None:
    """The rule of `meta`; `last` for a stateless program with one vector out, None where nothing is decided."""
    outputs = graph.entries["step"].outputs
    if len(outputs) != 1 or len(graph.tensors[outputs[0]].shape) != 1 or graph.tensors[outputs[0]].shape[0] < 2:
        return None
    declared = meta.get("decision")
    return "last" if declared is None and not graph.states else declared


def decisions(graph: Graph, raw: Inputs, rule: str) -> npt.NDArray[np.int64]:
    """The class of each window [N, T, *shape] in raw units; an integer program is fed and read by its own entries."""
    codec = Codec(graph) if graph.is_integer else None
    step, engine, classes = graph.entries["step"], Interpreter(graph), []
    count = len(next(iter(raw.values())))
    for start in range(0, count, BATCH):
        some = [raw[n][start : start + BATCH] for n in raw]
        if codec is not None:
            some = codec.quantize(some)
        outputs = engine.run(dict(zip(step.inputs, some, strict=True)))[0]
        y = [outputs[n] for n in step.outputs]
        if codec is not None:
            y = codec.dequantize(y)
        classes.append(np.argmax(DECISIONS[rule](np.asarray(y[0], np.float32)), axis=-1))
    return np.concatenate(classes).astype(np.int64)


def agreement_with(exact: Graph, raw: Inputs, rule: str) -> Callable[[Graph], float]:
    """A function that tells, of a program, the share of windows that it decides as `exact` does."""
    expected = decisions(exact, raw, rule)
    return lambda program: float(np.mean(decisions(program, raw, rule) == expected))
