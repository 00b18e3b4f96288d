"""The progress bar of a training: epoch, loss, and what was validated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from edgekit.cli.output import Output

if TYPE_CHECKING:
    from edgekit.convert.progress import Progress as Stages
    from edgekit.tune.fitting import Epoch


@contextmanager
def tuning_bar(out: Output, epochs: int) -> Iterator[tuple[Stages, Callable[[Epoch], None]]]:
    """What tells of stages and what of epochs; silent without a terminal, under CI, or for JSON."""
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), *times)
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=out.is_bare) as bars:
        task = bars.add_task("start", total=None)
        best = 0.0

        def show(stage: str, done: int = 0, total: int | None = None) -> None:
            bars.update(task, description=stage, completed=done, total=total)

        def tell(epoch: Epoch) -> None:
            nonlocal best
            best = max(best, epoch.accuracy)
            text = f"epoch {epoch.number}/{epochs} loss {epoch.loss:.4f} valid {epoch.accuracy:.2f} % (best {best:.2f})"
            bars.update(task, description=text, completed=epoch.number, total=epochs)

        yield show, tell
