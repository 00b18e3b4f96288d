"""What every verb shares: the two ways to answer (tables for people, JSON for machines), progress, and the one exit."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from edgekit.cli.exits import SCHEMA_VERSION

if TYPE_CHECKING:
    from edgekit.convert.progress import Progress as Stages

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Print more.")]


class Output:
    """Prints either tables or one JSON object with `schema_version`, never both."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json, self.quiet = as_json, quiet
        width = None if sys.stdout.isatty() else 140  # a file or a pipe has no width to fit
        # no markup: names of files, classes and ops may hold brackets
        self.console = Console(highlight=False, markup=False, width=width, soft_wrap=True)

    def answer(self, document: Mapping[str, Any], human: Callable[[Console], None]) -> None:
        """Give the answer of a verb; in JSON, which has no others, numbers that are not finite become null."""
        if self.as_json:
            print(json.dumps(_finite({"schema_version": SCHEMA_VERSION, **document}), indent=1, default=str))
        elif not self.quiet:
            human(self.console)

    @property
    def is_bare(self) -> bool:
        """Whether no progress is shown: without a terminal, under CI, for JSON, or when asked to be quiet."""
        return self.as_json or self.quiet or not sys.stderr.isatty() or bool(os.environ.get("CI"))

    @contextmanager
    def stages(self) -> Iterator[Stages]:
        """The current stage, with a bar where its extent is known; silent without a terminal, under CI, or for JSON."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True, disable=self.is_bare) as progress:
            task = progress.add_task("start", total=None)

            def show(stage: str, done: int = 0, total: int | None = None) -> None:
                progress.update(task, description=stage, completed=done, total=total)

            yield show


def _finite(value: Any) -> Any:
    """The same document without NaN and Inf."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table(*columns: str, title: str | None = None, right: tuple[int, ...] = ()) -> Table:
    """An empty table with these columns; `right` are the numbers of those aligned to the right."""
    made = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for at, column in enumerate(columns):
        made.add_column(column, justify="right" if at in right else "left", no_wrap=at in right)
    return made


def kilobytes(count: int) -> str:
    """A size for people: bytes below 10 kB, kB (1000 bytes) above."""
    return f"{count} B" if count < 10_000 else f"{count / 1000:,.1f} kB"
