"""The options of `edgekit convert` that say how a program learns on the device."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli.arrays import Data, read_array
from edgekit.errors import DataError, UsageError

if TYPE_CHECKING:
    from edgekit.learn import Learning

TASKS = 4  # that one number of lateral rows is for
DIGITS = 9  # of a number that anybody means
UNITS = {"": 1, "B": 1, "kB": 1000, "KB": 1000, "KiB": 1024, "MB": 10**6, "MiB": 2**20}

LearnOption = Annotated[
    str | None,
    typer.Option(
        help="Learn on the device: delta (the read-out), hlop (does not forget earlier tasks), prototypes (classes and "
        "wearers from a few windows), three-factor (from rewards or errors), oja or sanger (subspaces, without "
        "labels), store (patterns of an associative memory)."
    ),
]
LearningRateOption = Annotated[float | None, typer.Option(help="Step size of the learning rule; 0.01.")]
PlasticOption = Annotated[
    str | None, typer.Option(metavar="LAYER,…", help="Layers that learn: readout (default), or names of layers too.")
]
SubspaceOption = Annotated[
    str | None,
    typer.Option(
        metavar="K[,K…]",
        help="hlop: lateral rows of each task; one number is for every task (--tasks). oja, sanger: how many.",
    ),
]
TasksOption = Annotated[
    int | None, typer.Option(help=f"How many tasks, or wearers, are kept apart; hlop {TASKS}, prototypes 1.")
]
SubspaceRateOption = Annotated[float | None, typer.Option(help="Step size of the lateral rows; 0.01.")]
IterationsOption = Annotated[int | None, typer.Option(help="Hebbian iterations in an update; 5.")]
MomentumOption = Annotated[float | None, typer.Option(help="hlop: momentum of the lateral rows; none is kept.")]
LearnWindowOption = Annotated[
    int | None, typer.Option(help="Steps of a labelled window, which are learned from at once; 1: each step by itself.")
]
TraceOption = Annotated[
    float | None, typer.Option(help="What a presynaptic trace keeps from step to step, 0 to 1; 0: the signal itself.")
]
DetectOption = Annotated[
    bool, typer.Option("--detect", help="hlop: give the novelty of each window, from which a drift can be found.")
]
ModulationOption = Annotated[
    str | None, typer.Option(help="three-factor: reward (default), or error, which needs labels.")
]
EligibilityOption = Annotated[
    float | None, typer.Option(help="three-factor: what a trace keeps from window to window, for late rewards; 0.")
]
BaselineOption = Annotated[
    float | None, typer.Option(help="three-factor: the rate at which rewards are expected; 0.1.")
]
RowsOption = Annotated[int | None, typer.Option(help="prototypes: rows of each class and task; 1, a running mean.")]
ClassesOption = Annotated[
    int | None, typer.Option(help="prototypes: classes with those in reserve; those of the model.")
]
TauOption = Annotated[float | None, typer.Option(help="prototypes: how much nearness counts beside the model; 1.")]
GateOption = Annotated[
    float | None, typer.Option(help="prototypes: by how much learned rows must be nearer than known ones; 0.5.")
]
MarginOption = Annotated[
    float | None, typer.Option(help="prototypes: by how much further away rows of new classes may be; 3.")
]
KnownOption = Annotated[
    int | None,
    typer.Option(
        help="prototypes: rows of each class that --calib gives from the start; one for each subject. The file's y and "
        "subject tell what windows are, or else the model does."
    ),
]
SynapseOption = Annotated[
    float | None, typer.Option(help="delta, hlop: how far a weight may move from its first value; as far as it will.")
]
BudgetOption = Annotated[
    str | None, typer.Option(metavar="BYTES", help="RAM that learning may take, such as 8kB; more is refused.")
]


def learning_of(rule: str | None, **given: Any) -> Learning | None:
    """How a program learns; None without a rule. UsageError for options that then have no use, or make no sense."""
    from edgekit.learn import PROTOTYPES, Learning

    asked = {name: value for name, value in given.items() if value is not None}
    if rule is None:
        if asked:
            named = ", ".join(sorted(_OPTIONS[name] for name in asked))
            raise UsageError(named, "is not used without a learning rule", "add --learn delta, or --learn hlop")
        return None
    if "plastic" in asked:
        names = (name.strip() for name in asked["plastic"].split(","))
        asked["plastic"] = tuple(dict.fromkeys(name for name in names if name))
    tasks = None if rule == PROTOTYPES else asked.pop("tasks", None)
    if tasks is not None and "subspace" not in asked:
        raise UsageError("--tasks", "is not used without --subspace", "add --subspace 16, for example")
    if "subspace" in asked:
        asked["subspace"] = _rows(asked["subspace"], _tasks(rule, tasks), tasks is not None)
    if "ram" in asked:
        asked["ram"] = _bytes(asked["ram"])
    return Learning(rule, **asked)


_OPTIONS = {
    "rate": "--learning-rate",
    "plastic": "--plastic",
    "subspace": "--subspace",
    "tasks": "--tasks",
    "subspace_rate": "--subspace-rate",
    "iterations": "--iterations",
    "momentum": "--momentum",
    "window": "--learn-window",
    "trace": "--trace",
    **{
        name: f"--{name}"
        for name in (
            *("detect", "modulation", "eligibility", "baseline"),
            *("rows", "classes", "tau", "gate", "margin", "known"),
        )
    },
    "budget": "--synapse-budget",
    "ram": "--learn-budget-ram",
}


def with_labels(learning: Learning | None, path: Path | None, windows: Data | None) -> Learning | None:
    """The rule with what a calibration file says of its windows: their classes, and whose they are.

    DataError where it does not say that of each.
    """
    from edgekit.learn import PROTOTYPES

    if learning is None or learning.rule != PROTOTYPES or path is None or windows is None:
        return learning
    count = len(windows.x)
    groups = read_array(path, "subject") if path.suffix == ".npz" else None
    if groups is not None and groups.shape != (count,):
        cause = f"has subject {groups.dtype}{list(groups.shape)} for {count} windows"
        raise DataError(str(path), cause, "one for each")
    return dataclasses.replace(learning, labels=windows.y, groups=groups)


def _tasks(rule: str, given: int | None) -> int:
    """How many tasks rows are for."""
    from edgekit.learn import HLOP

    return given if given is not None else TASKS if rule == HLOP else 1


def _rows(text: str, tasks: int, given: bool) -> tuple[int, ...]:
    """Rows of each task from `16` or `24,8,8`; `given` says whether the number of tasks was."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() and len(part) <= DIGITS for part in parts):
        text = text if len(text) <= 40 else f"{text[:40]}…"
        raise UsageError(f"--subspace {text}", "is not a number of rows, or one for each task", "16, or 24,8,8")
    rows = tuple(map(int, parts))
    if len(rows) > 1 and given:
        raise UsageError("--tasks", f"is not used with rows for {len(rows)} tasks", "leave one of them out")
    if not 1 <= tasks <= 1000:
        raise UsageError(f"--tasks {tasks}", "is not from 1 to 1000")
    return rows * tasks if len(rows) == 1 else rows


def _bytes(text: str) -> int:
    """Bytes from `8kB`, `8192`, `8 KiB`."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if found is None or found[2] not in UNITS or len(found[1]) > 2 * DIGITS:
        text = text if len(text) <= 40 else f"{text[:40]}…"
        raise UsageError(f"--learn-budget-ram {text}", "is not a number of bytes", "8kB, for example")
    return int(float(found[1]) * UNITS[found[2]])
