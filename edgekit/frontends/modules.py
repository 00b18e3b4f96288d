"""Any PyTorch module as a graph: discover its states, trace a step, lower it, replay it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from edgekit.errors import UsageError
from edgekit.frontends.aten import decomposer
from edgekit.frontends.aten_complex import complex_rows
from edgekit.frontends.aten_table import ROWS
from edgekit.frontends.discover import Discovered, discover
from edgekit.frontends.imported import Imported, finished, identifier
from edgekit.frontends.lower import Lowering
from edgekit.frontends.threads import one_thread
from edgekit.frontends.torch_original import TorchOriginal
from edgekit.frontends.trace import trace
from edgekit.ir import Graph
from edgekit.models import FAMILIES

COMPLEX_ROWS = complex_rows(ROWS)


def import_module(
    module: nn.Module, example_input: object, *, name: str, dt: float | None = None, method: str | None = None
) -> Imported:
    """The graph of one time step of a PyTorch module, checked step by step against the module.

    `example_input` is one step's input [batch, ...] or the tuple of all arguments (a model of edgekit.models needs
    none); `dt` is the time of a step in seconds; `method` is what computes a step (default: `step` beside an
    `init_state`, else `forward`). The module is not touched: copies of it run, in eval mode and float32.

    Raises UnsupportedError with everything that cannot be lowered, ReplayError when graph and module differ, ModelError
    when the module cannot be run or copied.
    """
    example = _example(module) if example_input is None else example_input
    with one_thread():  # for a few streams a second one only waits, and on a busy machine it waits for long
        found = discover(module, example, method)
        traced = trace(found, decomposer(ROWS.keys() | COMPLEX_ROWS.keys()))
        graph = Lowering(identifier(name), dt, ROWS, COMPLEX_ROWS).run(traced, found)
        original = TorchOriginal(found)
        graph, report = finished(graph, original, [x.numpy() for x in found.examples()])
    return Imported(
        graph=graph,
        report=report,
        notes=(*found.notes, *traced.notes, *_forgetful(found, graph)),
        original=original,
        io=_io(module),
        family=getattr(module, "family", None),
        provenance={
            "module": f"{type(module).__module__}.{type(module).__qualname__}",
            "method": found.step.form.method,
            "torch": torch.__version__,
            "parameters": sum(p.numel() for p in module.parameters()),
            "footprint_bytes": sum(t.numel() * t.element_size() for t in (*module.parameters(), *module.buffers())),
        },
    )


def _forgetful(found: Discovered, graph: Graph) -> tuple[str, ...]:
    """A note where a module writes state and never reads it, so that every step is the first."""
    if graph.states or not found.states:
        return ()
    names = ", ".join(found.states[:4])
    return (f"{names}: written in every step, but no output depends on what was there: the graph has no state",)


def _io(module: nn.Module) -> dict[str, Any] | None:
    """What a module says of its input and decision; the read-out of an edgekit model decides unless its io does."""
    io, decision = getattr(module, "io", None), getattr(module, "decision", None)
    return {"decision": decision, **(io or {})} if isinstance(decision, str) else io


def _example(module: nn.Module) -> torch.Tensor:
    """A silent input for a model of edgekit.models, whose configuration tells how wide it is."""
    config = getattr(module, "config", None)
    if getattr(module, "family", None) not in FAMILIES or not isinstance(config, Mapping):
        raise UsageError(f"module {type(module).__name__}", "needs an example input", "give the input of one step")
    width = config["inputs"] if "inputs" in config else config["sizes"][0]
    return torch.zeros(1, int(width))
