"""A model as a graph, and what every front end does last: clean up, and replay against the original."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from edgekit.frontends.original import Original
from edgekit.frontends.replay import ReplayReport, replay
from edgekit.ir import Graph
from edgekit.passes.rewrite import sweep
from edgekit.passes.spike_states import narrow_spike_states
from edgekit.passes.state_cleanup import clean_states
from edgekit.passes.unit_axis import strip_unit_axis


@dataclass(frozen=True, eq=False)
class Imported:
    """A model as a graph that was replayed against its original, and what a reader of the result should know.

    `notes` are facts about the import, `assumed` is what a file did not tell, `io` the normalisation, window and
    classes that came with it (None: it had none), `family` that of an edgekit model, `original` the model itself for
    later comparison, `provenance` where the graph came from, in plain words.
    """

    graph: Graph
    report: ReplayReport
    notes: tuple[str, ...]
    original: Original
    io: Mapping[str, Any] | None = None
    family: str | None = None
    assumed: Mapping[str, object] = field(default_factory=dict)
    provenance: Mapping[str, str | int] = field(default_factory=dict)


def finished(
    graph: Graph, original: Original, examples: Sequence[npt.NDArray[Any]] | None = None
) -> tuple[Graph, ReplayReport]:
    """The graph without what does not matter, and its replay against the original.

    Raises ReplayError when the two differ.
    """
    # spike states before the replay, which compares them exactly
    graph = narrow_spike_states(clean_states(strip_unit_axis(sweep(graph))))
    return graph, replay(original, graph, examples)


def identifier(name: str) -> str:
    """A C identifier of at most 41 characters from any name: other characters become `_`."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)[:40] or "model"
    return plain if re.match(r"[A-Za-z_]", plain) else f"_{plain}"
