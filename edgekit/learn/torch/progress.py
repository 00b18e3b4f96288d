"""How a training run tells where it stands."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Report(Protocol):
    """Hears of every batch and of every task that ends."""

    def batch(self, task: int, done: int, total: int, loss: float) -> None:
        """`done` of `total` batches of a task are trained."""

    def task(self, task: int, row: Sequence[float], seconds: float) -> None:
        """A task ended after that many seconds of training with these accuracies."""


class Silent:
    """Says nothing."""

    def batch(self, task: int, done: int, total: int, loss: float) -> None:
        """Say nothing."""

    def task(self, task: int, row: Sequence[float], seconds: float) -> None:
        """Say nothing."""


class Lines:
    """One line a tenth of a task, and one a task, on stderr: for logs and pipes."""

    def batch(self, task: int, done: int, total: int, loss: float) -> None:
        """Print a line at every tenth."""
        if done * 10 // total != (done - 1) * 10 // total:
            print(f"task {task}  batch {done}/{total}  loss {loss:.4f}", file=sys.stderr, flush=True)

    def task(self, task: int, row: Sequence[float], seconds: float) -> None:
        """Print the task's row of the accuracy matrix."""
        print(accuracies(task, row, seconds), file=sys.stderr, flush=True)


def accuracies(task: int, row: Sequence[float], seconds: float) -> str:
    """A row of the accuracy matrix in words."""
    return f"after task {task} ({seconds:.0f} s)  " + " ".join(f"{value * 100:.2f}" for value in row)


@contextmanager
def progress(tasks: int, title: str = "") -> Iterator[Report]:
    """A bar with the time left on a terminal, lines elsewhere; `NO_COLOR` and `CI` are honoured."""
    if not sys.stderr.isatty() or os.environ.get("CI"):
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn(title or "training"), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        yield _Bar(bars, tasks)


class _Bar:
    """A bar that spans all tasks, each taken to be as long as the one that runs."""

    def __init__(self, bars: Progress, tasks: int) -> None:
        self._bars, self._tasks = bars, tasks
        self._shown: TaskID | None = None

    def batch(self, task: int, done: int, total: int, loss: float) -> None:
        """Move the bar."""
        completed, described = (
            task * total + done,
            f"task {task + 1}/{self._tasks} batch {done}/{total} loss {loss:.3f}",
        )
        if self._shown is None:  # what lies behind a resumed run says nothing of its speed
            self._shown = self._bars.add_task(described, total=self._tasks * total, completed=completed)
        self._bars.update(self._shown, completed=completed, total=self._tasks * total, description=described)

    def task(self, task: int, row: Sequence[float], seconds: float) -> None:
        """Print the task's row of the accuracy matrix above the bar."""
        self._bars.console.print(accuracies(task, row, seconds), highlight=False)
