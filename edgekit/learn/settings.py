"""What learning was asked for, and what is refused before any work is done."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from edgekit.errors import UsageError
from edgekit.ir.dtypes import SPIKE
from edgekit.ir.graph import Graph
from edgekit.learn.arithmetic import Array
from edgekit.learn.basis import Basis
from edgekit.learn.plastic import READOUT

TARGET, TASK = "target", "task"
DELTA, HLOP, OJA, SANGER = "delta", "hlop", "oja", "sanger"
THREE_FACTOR, PROTOTYPES, STORE = "three-factor", "prototypes", "store"
USES: dict[str, tuple[str, ...]] = {
    DELTA: ("rate", "trace", "budget"),
    HLOP: (
        "rate",
        "subspace",
        "subspace_rate",
        "iterations",
        "momentum",
        "lateral_steps",
        "trace",
        "gain",
        "budget",
        "detect",
    ),
    **dict.fromkeys((OJA, SANGER), ("subspace", "subspace_rate", "iterations", "trace")),
    THREE_FACTOR: ("rate", "trace", "gain", "modulation", "eligibility", "baseline"),
    STORE: (),
    PROTOTYPES: (
        "rows",
        "tasks",
        "classes",
        "tau",
        "gate",
        "margin",
        "decision",
        "known",
        "used",
        "basis",
        "labels",
        "groups",
    ),
}
"""The fields of `Learning` that each rule uses; all use `plastic`, `window` and `ram`."""

RULES = tuple(USES)

UNTOLD = ("decision", "known", "used", "basis", "labels", "groups")
"""Fields that a manifest does not hold: the graph does."""

OPTIONS = {
    "rate": "--learning-rate",
    "window": "--learn-window",
    "ram": "--learn-budget-ram",
    "budget": "--synapse-budget",
}
"""Options of the command line that are not named like their field."""

SUM, MEAN, LAST = "sum", "mean", "last"
ERROR, REWARD = MODULATIONS = ("error", "reward")
MOST_ROWS = 4096
MOST_RATE = 1000.0
MOST_ITERATIONS = 100  # each of them is code of its own


@dataclass(frozen=True)
class Learning:
    """A rule and its numbers.

    `plastic`: the layers that learn, by name or `readout`. `subspace`: lateral rows for each task in turn. `window`:
    steps that are learned from at once, whose traces are averaged. `trace`: what a presynaptic trace keeps from step to
    step. `gain`: what a mean output is multiplied by before softmax, None for the window where its sum decides, else 1.
    `budget`: how far a weight may move from its first value. `ram`: bytes that learning may take, None for as much as
    it needs.

    `detect`: hlop gives the novelty of each window, from which a drift can be found.
    Of three factors: `modulation` by an error or a reward, `eligibility` what a trace keeps from window to window,
    `baseline` the rate at which rewards are expected.
    Of prototypes: `rows` for each class and task, `tasks` that have rows of their own, `classes` with those in reserve,
    `tau` how much nearness counts beside the model's own outputs, `gate` by how much a learned row must be nearer than
    all known ones, `margin` by how much further away one of a new class may be, `decision` whether the mean over a
    window counts or the last step, `basis` the space.
    Without one it is made from the calibration windows, whose `labels` [N] and `groups` [N] (wearers) may be told:
    `known` rows of each class, 0 for one of each group, over the elements [D] of the signal that are `used`.
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
    gain: float | None = None
    budget: float | None = None
    ram: int | None = None
    detect: bool = False
    modulation: str = REWARD
    eligibility: float = 0.0
    baseline: float = 0.1
    rows: int = 1
    tasks: int = 1
    classes: int | None = None
    tau: float = 1.0
    gate: float = 0.5
    margin: float = 3.0
    decision: str = MEAN
    basis: Basis | None = field(default=None, compare=False, repr=False)
    known: int = 0
    used: Array | None = field(default=None, compare=False, repr=False)
    labels: Array | None = field(default=None, compare=False, repr=False)
    groups: Array | None = field(default=None, compare=False, repr=False)

    @property
    def logits(self) -> float:
        """What makes the logits of a mean output: a decision by the sum over the window takes as many times of it."""
        return 1.0 if self.gain is None else self.gain

    @property
    def projects(self) -> bool:
        """Whether weights learn only what is orthogonal to the subspaces of earlier tasks."""
        return self.rule == HLOP


def check_learning(asked: Learning) -> None:
    """UsageError for numbers that make no sense, or that the rule does not use."""
    if asked.rule not in RULES:
        raise UsageError(f"learning rule {asked.rule!r}", "is not known", f"known are {', '.join(RULES)}")
    for thing, value in (("learning rate", asked.rate), ("subspace rate", asked.subspace_rate)):
        if not 0 < value <= MOST_RATE:
            raise UsageError(thing, f"{value!r} is not a number above 0, up to {MOST_RATE:g}")
    if unused := unused_fields(asked):
        named = ", ".join(OPTIONS.get(name, f"--{name.replace('_', '-')}") for name in unused)
        raise UsageError(
            named, f"is not used with learning rule {asked.rule!r}", "leave it out, or choose another rule"
        )
    if "subspace" in USES[asked.rule] and not asked.subspace:
        raise UsageError(f"learning rule {asked.rule!r}", "needs rows for its subspaces", "--subspace 16, for example")
    if asked.rule in (OJA, SANGER) and len(asked.subspace) != 1:
        raise UsageError(
            "--subspace", f"{asked.subspace} is for {len(asked.subspace)} tasks", f"{asked.rule} knows one"
        )
    if any(rows < 1 for rows in asked.subspace) or sum(asked.subspace) > MOST_ROWS:
        raise UsageError("--subspace", f"{asked.subspace} are no row counts from 1 to {MOST_ROWS} together")
    if not 1 <= asked.iterations <= MOST_ITERATIONS:
        raise UsageError("--iterations", f"{asked.iterations} is not from 1 to {MOST_ITERATIONS}")
    if not 0 <= asked.trace < 1:
        raise UsageError("--trace", f"{asked.trace!r} is not from 0 up to, but not including, 1")
    if asked.budget is not None and not (np.isfinite(asked.budget) and asked.budget > 0):
        raise UsageError("--synapse-budget", f"{asked.budget!r} is not a positive number")
    if asked.momentum is not None and not 0 <= asked.momentum < 1:
        raise UsageError("--momentum", f"{asked.momentum!r} is not from 0 up to, but not including, 1")
    if asked.rule == THREE_FACTOR:
        _check_three_factor(asked)
    if asked.rule == PROTOTYPES:
        _check_prototypes(asked)


def unused_fields(asked: Learning) -> list[str]:
    """Which numbers were given that the rule does not use."""
    used = {"rule", "plastic", "window", "ram", *USES[asked.rule]}
    given = []
    for f in fields(asked):
        value = getattr(asked, f.name)
        if f.name not in used and (value is not None if f.default is None else value != f.default):
            given.append(f.name)
    return given


def _check_three_factor(asked: Learning) -> None:
    if asked.plastic != (READOUT,):
        raise UsageError("--plastic", "names other layers than the read-out", f"{THREE_FACTOR} changes that alone")
    if asked.modulation not in MODULATIONS:
        raise UsageError("--modulation", f"{asked.modulation!r} is not {ERROR} or {REWARD}")
    if not 0 <= asked.eligibility < 1:
        raise UsageError("--eligibility", f"{asked.eligibility!r} is not from 0 up to, but not including, 1")
    if not 0 <= asked.baseline <= 1:
        raise UsageError("--baseline", f"{asked.baseline!r} is not from 0 to 1")


def _check_prototypes(asked: Learning) -> None:
    if len(asked.plastic) != 1:
        raise UsageError("--plastic", f"names {len(asked.plastic)} layers", "prototypes listen to one")
    classes = 1 if asked.classes is None else asked.classes
    if min(asked.rows, asked.tasks, classes) < 1 or asked.rows * asked.tasks * classes > MOST_ROWS:
        cause = f"{asked.rows} rows, {asked.tasks} tasks, {classes} classes: not 1 to {MOST_ROWS} multiplied"
        raise UsageError("--rows, --tasks, --classes", cause)
    if not (np.isfinite(asked.tau) and asked.tau > 0):
        raise UsageError("--tau", f"{asked.tau!r} is not a positive number")
    if not (np.isfinite(asked.gate) and asked.gate >= 0):
        raise UsageError("--gate", f"{asked.gate!r} is not a number from 0 on")
    if not np.isfinite(asked.margin):
        raise UsageError("--margin", f"{asked.margin!r} is not a number")
    if asked.known < 0:
        raise UsageError("--known", f"{asked.known} is not 0 or more")
    if asked.decision not in (MEAN, LAST):
        raise UsageError("decision", f"{asked.decision!r} is not {MEAN} or {LAST}")


def learned_bytes(graph: Graph) -> int:
    """Bytes of all that is learned, as a journal stores it: every state that a reset keeps."""
    kept = {s.tensor for s in graph.states if s.reset == "keep"}
    return sum(
        graph.tensors[n].size * (1 if graph.tensors[n].dtype is SPIKE else graph.tensors[n].dtype.bits // 8)
        for n in kept
    )


def learning_section(asked: Learning, graph: Graph) -> dict[str, Any]:
    """The section `learning` of the manifest: the numbers that the rule uses, but for the space of prototypes."""
    numbers = ("rule", "plastic", "window", *USES[asked.rule])
    section = {name: getattr(asked, name) for name in numbers if name not in UNTOLD}
    if asked.budget is None:
        section.pop("budget", None)
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in section.items()}
    return plain | {"journal_bytes": learned_bytes(graph)}
