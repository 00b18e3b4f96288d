"""Tasks learned one after another, with a checkpoint that carries the run over an interruption."""

from __future__ import annotations

import hashlib
import io
import pickle
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from edgekit.artifact.atomic import write_atomic
from edgekit.errors import UsageError
from edgekit.learn.torch.metrics import AccuracyMatrix
from edgekit.learn.torch.network import SpikingMLP
from edgekit.learn.torch.progress import Report, Silent
from edgekit.learn.torch.train import Schedule, Task, evaluate, train_task

FORMAT = 1
MAX_BYTES = 2**30
START_OVER = "delete it to start over"


@dataclass
class _Position:
    """Where a run stands: the task it is in, whether that has its rows, the batches behind it, and all rows so far."""

    task: int = 0
    begun: bool = False
    batches: int = 0
    rows: list[list[float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    spent: float = 0.0


@dataclass(frozen=True, eq=False)
class Outcome:
    """The accuracy matrix of a run, and the seconds that each task's training took."""

    matrix: AccuracyMatrix
    seconds: tuple[float, ...]


def train_continual(
    net: SpikingMLP,
    tasks: Sequence[Task],
    schedule: Schedule,
    *,
    checkpoint: Path | None = None,
    every: int = 100,
    report: Report | None = None,
) -> Outcome:
    """Train `net` on each task in turn and evaluate it on all tasks so far after each.

    With a `checkpoint`, the run is written there every `every` batches and goes on from there when called again with
    the same network, tasks and schedule: the result is the same, byte for byte. It is left there when the run is done.
    Raises UsageError for a checkpoint that is damaged or of another run.
    """
    if not tasks:
        raise UsageError("tasks", "are none")
    at = _Position()
    kept = _Checkpoint(checkpoint, _identity(net, tasks, schedule)) if checkpoint else None
    if kept is not None and kept.path.exists():
        at = kept.restore(net)
    run = _Run(net, tasks, schedule, at, kept, every, report or Silent())
    while at.task < len(tasks):
        run.task()
    return Outcome(AccuracyMatrix.of(at.rows), tuple(at.seconds))


@dataclass(frozen=True, eq=False)
class _Run:
    net: SpikingMLP
    tasks: Sequence[Task]
    schedule: Schedule
    at: _Position
    kept: _Checkpoint | None
    every: int
    report: Report

    def task(self) -> None:
        """Train on the task that the run stands in, from there on, and evaluate."""
        at, task = self.at, self.tasks[self.at.task]
        total, before, started = self.schedule.count(len(task.x)), at.spent, time.monotonic()
        if not at.begun:
            self.schedule.begin(self.net, at.task)
            at.begun = True

        def after(done: int, loss: float) -> None:
            at.batches, at.spent = done, before + time.monotonic() - started
            self.report.batch(at.task, done, total, loss)
            if done % self.every == 0 and done < total:
                self._keep()

        train_task(self.net, task, self.schedule, at.task, done=at.batches, after=after)
        self.net.end_task()
        row = [evaluate(self.net, earlier) for earlier in self.tasks[: at.task + 1]]
        at.rows.append(row)
        at.seconds.append(at.spent)
        ended, at.task, at.begun, at.batches, at.spent = at.task, at.task + 1, False, 0, 0.0
        self._keep()
        self.report.task(ended, row, at.seconds[-1])

    def _keep(self) -> None:
        if self.kept is not None:
            self.kept.save(self.net, self.at)


def _identity(net: SpikingMLP, tasks: Sequence[Task], schedule: Schedule) -> dict[str, Any]:
    """What a run's result depends on, in plain values."""
    lateral = net.laterals[0].settings
    return {
        **{"sizes": list(net.sizes), "variant": net.variant, "settings": asdict(net.coding.settings)},
        **{"lateral": asdict(lateral), "rates": [each.settings.rate for each in net.laterals]},
        **{"schedule": {**asdict(schedule), "subspaces": [list(rows) for rows in schedule.subspaces]}},
        **{"tasks": [_fingerprint(task) for task in tasks], "weights": _digest(net.layers.parameters())},
        **{"threads": torch.get_num_threads(), "torch": str(torch.__version__)},
    }


def _fingerprint(task: Task) -> list[Any]:
    order = "" if task.order is None else _digest([task.order])
    return [task.name, len(task.x), len(task.test_x), _digest([task.y, task.test_y, task.x[:1], task.x[-1:]]), order]


def _digest(tensors: Any) -> str:
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(tensor.detach().contiguous().numpy().tobytes())
    return total.hexdigest()


@dataclass(frozen=True)
class _Checkpoint:
    path: Path
    identity: dict[str, Any]

    def save(self, net: SpikingMLP, at: _Position) -> None:
        """Write the run to the file, whole or not at all."""
        buffer = io.BytesIO()
        trains = [parameter.requires_grad for parameter in net.parameters()]
        content = {"format": FORMAT, "identity": self.identity, "position": asdict(at), "trains": trains}
        torch.save({**content, "net": net.state_dict()}, buffer)
        write_atomic(self.path, buffer.getvalue())

    def restore(self, net: SpikingMLP) -> _Position:
        """Bring the network to where the run stood."""
        thing = str(self.path)
        if not self.path.is_file() or self.path.stat().st_size > MAX_BYTES:
            raise UsageError(thing, "is no checkpoint of a training run", START_OVER)
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            identity, position = content["identity"], _Position(**content["position"])
            state, trains = content["net"], content["trains"]
        # The reader of a damaged file has no error of its own.
        except (RuntimeError, EOFError, KeyError, TypeError, ValueError, OSError, pickle.UnpicklingError) as error:
            raise UsageError(thing, "is damaged, or no checkpoint of a training run", START_OVER) from error
        if content.get("format") != FORMAT:
            raise UsageError(thing, f"is of format {content.get('format')!r}, not {FORMAT}", START_OVER)
        if differing := [name for name, value in self.identity.items() if identity.get(name) != value]:
            raise UsageError(thing, "is of a run with other settings", START_OVER, items=differing)
        try:
            net.load_state_dict(state)
        except RuntimeError as error:
            raise UsageError(thing, "is damaged: its weights do not fit the network", START_OVER) from error
        for parameter, whether in zip(net.parameters(), trains, strict=True):
            parameter.requires_grad_(whether)
        return position
