"""A watch that goes on learning: new activities in steps, wearers in turn, and a gesture from five windows.

python -m examples.har.continual --part b --precision int8 -o report
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.cli.exits import answered
from examples.har.continual_report import HONESTY, plots, show

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS = ("b", "c", "a")
"""What --part all runs, in this order: wearers, gestures, classes."""


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.har.continual", allow_abbrev=False, description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--part", default="all", choices=[*sorted(PARTS), "all"], help="a: classes, b: wearers, c: gestures"
    )
    parser.add_argument("--precision", default="int8", choices=["fp32", "int8"])
    parser.add_argument(
        "--data", help="the .npz of the seven activities, the other eleven beside it (default: EDGEKIT_SHARED)"
    )
    parser.add_argument("--orders", type=int, default=9, help="of wearers, part b: 1 to as many as there are wearers")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("-o", "--output", type=Path, help="folder for plots and figures, made if it is not there")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 2 where data or options do not serve, 130 after Ctrl-C."""
    options = parse(arguments)
    return answered(lambda: _show(options))


def _show(options: argparse.Namespace) -> int:
    figures = _run(options)
    figures["note"] = HONESTY
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "continual.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        for name, text in plots(figures).items():
            (options.output / name).write_text(text, encoding="utf-8")
    if options.json:
        print(json.dumps(figures, indent=1))
    else:
        show(figures)
    return 0


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from edgekit.demo.har.data import split_by_subject
    from examples.har.continual_figures import (
        Setting,
        figures_of,
    )  # torch, and seconds of work, only where data is there
    from examples.har.continual_streams import load_all

    windows = load_all(options.data)
    setting = Setting(windows, split_by_subject(windows), 7, options.precision)
    parts = PARTS if options.part == "all" else (options.part,)
    with _progress() as counted:
        return figures_of(setting, parts, options.orders, counted)


@contextmanager
def _progress() -> Iterator[Callable[[str, int], Callable[[], None]]]:
    """A bar for each task on a terminal, or a line when one begins."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bars:

        def begin(what: str, total: int) -> Callable[[], None]:
            if not console.is_terminal:
                print(f"{what} ({total} lessons)", file=sys.stderr, flush=True)
            task = bars.add_task(what, total=total)
            return lambda: bars.advance(task)

        yield begin


if __name__ == "__main__":
    raise SystemExit(main())
