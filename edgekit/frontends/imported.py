"""The import as a whole: discover, trace, lower, clean up, replay."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from edgekit.errors import UsageError
from edgekit.frontends.aten import ROWS, decomposed
from edgekit.frontends.discover import discover
from edgekit.frontends.lower import Lowering
from edgekit.frontends.replay import ReplayReport, replay
from edgekit.frontends.trace import trace
from edgekit.ir import Graph
from edgekit.models import FAMILIES
from edgekit.passes.rewrite import sweep
from edgekit.passes.spike_states import narrow_spike_states
from edgekit.passes.state_cleanup import clean_states


@dataclass(frozen=True, eq=False)
class Imported:
    """A model as a graph that was replayed against its module, and what a reader of the result should know.

    `notes` are facts about the import, `assumed` is what a checkpoint did not tell, `io` the normalisation, window and
    classes that came with a file (None: it had none), `family` that of an edgekit model, `module` the original for
    later comparison, `provenance` where the graph came from, in plain words.
    """

    graph: Graph
    report: ReplayReport
    notes: tuple[str, ...]
    module: nn.Module
    io: Mapping[str, Any] | None = None
    family: str | None = None
    assumed: Mapping[str, object] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)


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
    with _one_thread():
        found = discover(module, example, method)
        graph = Lowering(identifier(name), dt, ROWS).run(trace(found, decomposed), found)
        # spike states before the replay, which compares them exactly
        graph = narrow_spike_states(clean_states(sweep(graph)))
        report = replay(found, graph)
    return Imported(
        graph=graph,
        report=report,
        notes=found.notes,
        module=module,
        io=_io(module),
        family=getattr(module, "family", None),
        provenance={
            "module": f"{type(module).__module__}.{type(module).__qualname__}",
            "method": found.step.form.method,
            "torch": torch.__version__,
        },
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run torch on one thread: for a few streams a second one only waits, and on a busy machine it waits for long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


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


def identifier(name: str) -> str:
    """A C identifier of at most 41 characters from any name: other characters become `_`."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)[:40] or "model"
    return plain if re.match(r"[A-Za-z_]", plain) else f"_{plain}"
