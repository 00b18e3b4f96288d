"""A graph that is a program by itself, no model's: written in numpy, converted without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.convert.options import Options, check_options
from edgekit.convert.pipeline import Conversion, convert_ready
from edgekit.convert.progress import Progress, silent
from edgekit.errors import UsageError
from edgekit.frontends.imported import Imported
from edgekit.frontends.original import CHUNK, Streams
from edgekit.frontends.replay import replay
from edgekit.ir import Graph
from edgekit.ir.verify import verify
from edgekit.reference import Interpreter

Array = npt.NDArray[Any]

BATCH = 3


def convert_graph(graph: Graph, options: Options, *, progress: Progress = silent) -> Conversion:
    """Turn a float graph, entries and all, into an artifact: only its step is replayed and self-tested.

    The original that the replay needs is the graph itself in float64. Raises UsageError for options that are for
    models, and whatever a conversion raises.
    """
    check_options(options)
    if options.is_integer or options.learn is not None or options.compression is not None:
        raise UsageError(
            f"graph {graph.name!r}", "is a float program that learns by its own entries", "precision fp32 alone"
        )
    original = GraphOriginal(verify(graph))
    imported = Imported(graph, replay(original, graph), (), original, provenance={"source": "a graph"})
    return convert_ready(imported, options, progress=progress)


class GraphOriginal:
    """A graph stepped in float64."""

    def __init__(self, graph: Graph) -> None:
        self.thing, self._graph = f"graph {graph.name!r}", graph

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
        return _Streams(self._graph, batch)


class _Streams:
    def __init__(self, graph: Graph, batch: int) -> None:
        self._run = Interpreter(graph, np.float64)
        self._step, self._state = graph.entries["step"], self._run.initial_state(batch)

    def step(self, inputs: Sequence[Array]) -> list[Array]:
        outputs, self._state = self._run.execute(dict(zip(self._step.inputs, inputs, strict=True)), self._state)
        return [outputs[name] for name in self._step.outputs]

    def states(self) -> Mapping[str, Array]:
        return self._state
