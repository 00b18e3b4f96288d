"""Graphs as model files: what fine-tuning writes, so that `convert` takes a tuned model like any other."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgekit.artifact.atomic import write_atomic
from edgekit.errors import GraphError, ModelError, UsageError
from edgekit.frontends.graph_original import GraphOriginal
from edgekit.frontends.imported import Imported, finished, identifier
from edgekit.ir import Graph
from edgekit.ir.document import from_document, to_document

FORMAT, VERSION = "edgekit.graph", 1
FIELDS = {"document": str, "tensors": dict, "io": str, "provenance": dict}


def save_graph(
    path: Path, graph: Graph, meta: Mapping[str, Any], provenance: Mapping[str, str | int] | None = None
) -> None:
    """Write a float graph and its io section to `path`, whole or not at all."""
    write_atomic(path, graph_file(graph, meta, provenance))


def graph_file(graph: Graph, meta: Mapping[str, Any], provenance: Mapping[str, str | int] | None = None) -> bytes:
    """The file of a float graph and its io section: {format, version, document, tensors, io, provenance}.

    The same graph gives the same bytes. It holds tensors and texts alone: it loads with `weights_only=True`.
    """
    document, arrays = to_document(graph)
    content = {
        "format": FORMAT,
        "version": VERSION,
        "document": json.dumps(document, allow_nan=False),
        "tensors": {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()},
        "io": json.dumps(meta, allow_nan=False),
        "provenance": dict(provenance or {}),
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def is_graph(content: Mapping[str, Any]) -> bool:
    """Whether what a model file holds is a graph of `save_graph`."""
    return content.get("format") == FORMAT


def holds_graph(path: Path) -> bool:
    """Whether a file is one that `save_graph` wrote; nothing in it is run."""
    try:
        return is_graph(torch.load(path, map_location="cpu", weights_only=True, mmap=True))
    except Exception:  # any other file raises RuntimeError, UnpicklingError, AttributeError and others
        return False


def import_graph(path: Path, content: Mapping[str, Any], name: str, config: Mapping[str, Any] | None) -> Imported:
    """The graph of such a file; a `config` may replace its io section, as it may that of `edgekit.save`.

    ModelError for a file that is damaged or of another version.
    """
    if extra := set(config or {}) - {"io"}:
        remedy = "only the key io may be given beside it"
        raise UsageError("config", f"{path} carries its own configuration", remedy, items=sorted(extra))
    if content.get("version") != VERSION:
        remedy = f"this edgekit reads version {VERSION}"
        raise ModelError(str(path), f"version {content.get('version')!r:.40} is unknown", remedy)
    if wrong := [key for key, kind in FIELDS.items() if not isinstance(content.get(key), kind)]:
        raise ModelError(str(path), "is damaged: wrong or missing " + ", ".join(wrong))
    try:
        arrays = {str(key): tensor.numpy() for key, tensor in content["tensors"].items()}
        graph = from_document(json.loads(content["document"]), arrays)
        meta = json.loads(content["io"])
    except (GraphError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise ModelError(
            str(path), f"is damaged ({str(error).splitlines()[0][:200]})", "tune the model again"
        ) from error
    if graph.is_integer or set(graph.entries) != {"step"}:
        raise ModelError(str(path), "holds a program, not the float step of a model", "tune the model again")
    graph, report = finished(replace(graph, name=identifier(name)), GraphOriginal(str(path), graph))
    return Imported(
        graph=graph,
        report=report,
        notes=(),
        original=GraphOriginal(str(path), graph),
        io=(config or {}).get("io", meta),
        provenance={**_plain(content["provenance"]), "format": FORMAT},
    )


def _plain(provenance: Mapping[Any, Any]) -> dict[str, str | int]:
    return {str(k): v for k, v in provenance.items() if isinstance(v, (str, int))}
