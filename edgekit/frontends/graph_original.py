"""A graph that is a model itself: the reference interpreter runs it in the place of an original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.frontends.original import CHUNK, Streams
from edgekit.ir import Graph
from edgekit.reference import Interpreter

Array = npt.NDArray[Any]
Float = type[np.float32] | type[np.float64]

BATCH = 3


class GraphOriginal:
    """A graph stepped in float32, as a trained model is, or in float64, for one that was written down as equations."""

    def __init__(self, thing: str, graph: Graph, dtype: Float = np.float32) -> None:
        self.thing, self._graph, self._dtype = thing, graph, dtype

    @property
    def batch(self) -> int:
        """How many streams the replay runs side by side."""
        return BATCH

    @property
    def most(self) -> int:
        """How many streams can run side by side at all."""
        return CHUNK

    def draw(self, batch: int, random: np.random.Generator) -> list[Array] | None:  # noqa: ARG002  (any number will do)
        """Any number will do."""
        return None

    def start(self, batch: int, *, native: bool = False) -> Streams:  # noqa: ARG002  (one form serves both)
        """Fresh streams from reset."""
        return _Streams(Interpreter(self._graph, self._dtype), batch)


class _Streams:
    def __init__(self, interpreter: Interpreter, batch: int) -> None:
        self._run, self._state = interpreter, interpreter.initial_state(batch)

    def step(self, inputs: Sequence[Array]) -> list[Array]:
        entry = self._run.graph.entries["step"]
        outputs, self._state = self._run.execute(dict(zip(entry.inputs, inputs, strict=True)), self._state)
        return [outputs[name] for name in entry.outputs]

    def states(self) -> Mapping[str, Array]:
        return self._state
