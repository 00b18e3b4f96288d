"""What a session knows of the program it runs, be that an artifact or a file that was exported for another runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgekit.artifact import Artifact
from edgekit.artifact.exported import StepDocument
from edgekit.ir import Graph
from edgekit.reference import BlobLayout, StateRow


@dataclass(frozen=True, eq=False)
class Facts:
    """Names and shapes of what a step takes and gives, the io section, and how its states are saved.

    `graph` is that of an artifact, None of an exported file, which has none. `learning` says how it learns,
    `compression` by what recipe it was made smaller.
    """

    name: str
    precision: str
    io: Mapping[str, Any]
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]
    layout: BlobLayout
    graph: Graph | None = None
    learning: Mapping[str, Any] = field(default_factory=dict)
    compression: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stateful(self) -> bool:
        """Whether a step depends on the ones before it since the last reset."""
        return any(row.reset == "reset" for row in self.layout.rows)

    @property
    def learned(self) -> bool:
        """Whether it has states that a reset keeps."""
        return any(row.reset == "keep" for row in self.layout.rows)


def artifact_facts(artifact: Artifact) -> Facts:
    """The facts in an artifact."""
    graph = artifact.graph
    step, tensors = graph.entries["step"], graph.tensors
    rows = (StateRow(s.tensor, tensors[s.tensor].shape, tensors[s.tensor].dtype, s.init, s.reset) for s in graph.states)
    return Facts(
        name=artifact.name,
        precision=str(artifact.manifest["precision"]),
        io=artifact.manifest["io"],
        inputs={n: tensors[n].shape for n in step.inputs},
        outputs={n: tensors[n].shape for n in step.outputs},
        layout=BlobLayout(str(artifact.manifest["graph_sha256"]), tuple(rows)),  # that of the graph: it was checked
        graph=graph,
        learning=artifact.manifest.get("learning") or {},
        compression=artifact.manifest.get("compression") or {},
    )


def exported_facts(document: StepDocument) -> Facts:
    """The facts in the document that travels in an exported file."""
    rows = (StateRow(s.name, s.shape, s.dtype, s.init, s.reset) for s in document.states)
    return Facts(
        name=document.name,
        precision=document.precision,
        io=document.io,
        inputs={p.name: p.shape for p in document.inputs},
        outputs={p.name: p.shape for p in document.outputs},
        layout=BlobLayout(document.graph_sha256, tuple(rows)),
    )
