"""A graph that is a program by itself, no model's: written in numpy, converted without torch."""

from __future__ import annotations

import numpy as np

from edgekit.convert.options import Options, check_options
from edgekit.convert.pipeline import Conversion, convert_ready
from edgekit.convert.progress import Progress, silent
from edgekit.errors import UsageError
from edgekit.frontends.graph_original import GraphOriginal
from edgekit.frontends.imported import Imported
from edgekit.frontends.replay import replay
from edgekit.ir import Graph
from edgekit.ir.verify import verify


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
    original = GraphOriginal(f"graph {graph.name!r}", verify(graph), np.float64)
    imported = Imported(graph, replay(original, graph), (), original, provenance={"source": "a graph"})
    return convert_ready(imported, options, progress=progress)
