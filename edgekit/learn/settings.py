"""What learning was asked for, and what is refused before any work is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.errors import UsageError
from edgekit.ir.dtypes import SPIKE
from edgekit.ir.graph import Graph
from edgekit.learn.plastic import READOUT

TARGET, TASK = "target", "task"
DELTA, HLOP = "delta", "hlop"
RULES = (DELTA, HLOP)
MOST_ROWS = 4096


@dataclass(frozen=True)
class Learning:
    """A rule and its numbers.

    `plastic`: the layers that learn, by name or `readout`. `subspace`: lateral rows for each task in turn. `window`:
    steps that are learned from at once, whose traces are averaged. `trace`: what a presynaptic trace keeps from step to
    step. `gain`: what a mean output is multiplied by before softmax. `budget`: how far a weight may move from its first
    value. `ram`: bytes that learning may take, None for as much as it needs.
    """

    rule: str = DELTA
    plastic: tuple[str, ...] = (READOUT,)
    rate: float = 0.01
    subspace: tuple[int, ...] = ()
    subspace_rate: float = 0.01
    iterations: int = 5
    momentum: float | None = None
    lateral_steps: int | None = None
    window: int = 1
    trace: float = 0.0
    gain: float = 1.0
    budget: float | None = None
    ram: int | None = None

    @property
    def projects(self) -> bool:
        """Whether weights learn only what is orthogonal to the subspaces of earlier tasks."""
        return self.rule == HLOP


def check_learning(asked: Learning) -> None:
    """UsageError for numbers that make no sense, or that the rule does not use."""
    if asked.rule not in RULES:
        raise UsageError(f"learning rule {asked.rule!r}", "is not known", f"known are {', '.join(RULES)}")
    for thing, value in (("learning rate", asked.rate), ("subspace rate", asked.subspace_rate)):
        if not (np.isfinite(value) and value > 0):
            raise UsageError(thing, f"{value!r} is not a positive number")
    if asked.projects and not asked.subspace:
        raise UsageError(f"learning rule {HLOP!r}", "needs rows for its subspaces", "--subspace 16, for example")
    if not asked.projects and asked.subspace:
        raise UsageError("--subspace", f"is not used with learning rule {asked.rule!r}", f"it is for {HLOP}")
    if any(rows < 1 for rows in asked.subspace) or sum(asked.subspace) > MOST_ROWS:
        raise UsageError("--subspace", f"{asked.subspace} are no row counts from 1 to {MOST_ROWS} together")
    if asked.iterations < 1:
        raise UsageError("--iterations", f"{asked.iterations} is not 1 or more")
    if not 0 <= asked.trace < 1:
        raise UsageError("--trace", f"{asked.trace!r} is not from 0 up to, but not including, 1")
    if asked.momentum is not None and not 0 <= asked.momentum < 1:
        raise UsageError("--momentum", f"{asked.momentum!r} is not from 0 up to, but not including, 1")


def learned_bytes(graph: Graph) -> int:
    """Bytes of all that is learned, as a journal stores it: every state that a reset keeps."""
    kept = {s.tensor for s in graph.states if s.reset == "keep"}
    return sum(
        graph.tensors[n].size * (1 if graph.tensors[n].dtype is SPIKE else graph.tensors[n].dtype.bits // 8)
        for n in kept
    )


def learning_section(asked: Learning, graph: Graph) -> dict[str, Any]:
    """The section `learning` of the manifest."""
    section: dict[str, Any] = {
        "rule": asked.rule,
        "plastic": list(asked.plastic),
        "rate": asked.rate,
        "window": asked.window,
        "trace": asked.trace,
        "journal_bytes": learned_bytes(graph),
    }
    if asked.projects:
        section |= {
            "subspace": list(asked.subspace),
            "subspace_rate": asked.subspace_rate,
            "iterations": asked.iterations,
            "momentum": asked.momentum,
            "lateral_steps": asked.lateral_steps,
            "gain": asked.gain,
        }
    return section | ({} if asked.budget is None else {"budget": asked.budget})
