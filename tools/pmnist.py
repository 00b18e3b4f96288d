"""Permuted MNIST, ten tasks, the network and schedule of the HLOP paper: 784-800-800-10, one epoch a task.

python -m tools.pmnist [--setting hlop] [--variant dsr] [--seed 2022] [--fresh] [--json]

The run is written to a checkpoint every hundred batches; the same command goes on after Ctrl-C or a power cut, with the
result of an uninterrupted run. --fresh starts over. Progress of the run is logged in docs/logs/.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from edgekit.errors import DataError, EdgekitError
from edgekit.learn.torch import (
    VARIANTS,
    Outcome,
    Report,
    Schedule,
    SpikingMLP,
    Task,
    growing_subspaces,
    progress,
    train_continual,
)
from edgekit.learn.torch.progress import accuracies
from tools.permuted import PIXELS, SETTINGS, Images, lateral_of, permutation, pixels, summary, versions

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("EDGEKIT_SHARED", ROOT / ".." / "shared")).resolve() / "data" / "mnist.npz"
TASKS, HIDDEN, SEED = 10, 800, 2022
SIDES = ("train", "test")
TARGET = {"acc": 95.0, "bwt": -1.5}
INTERRUPTED = 130
"""Exit code of a program that Ctrl-C ended."""


def mnist(path: Path) -> Images:
    """The images of an .npz file with x_train, y_train, x_test and y_test, pixels 0 … 255."""
    if not path.is_file():
        raise DataError(str(path), "no such file", "set EDGEKIT_SHARED, or give --data")
    with np.load(path, allow_pickle=False) as z:
        if missing := [name for name in ("x_train", "y_train", "x_test", "y_test") if name not in z]:
            raise DataError(str(path), "is no MNIST file: arrays are missing", items=missing)
        sides = [(pixels(z[f"x_{side}"] / 255), torch.from_numpy(z[f"y_{side}"].astype(np.int64))) for side in SIDES]
    return Images(*sides[0], *sides[1])


def tasks_of(images: Images, count: int = TASKS) -> list[Task]:
    """Permutations as published: task i by seed 100 r_i + i, with r the numbers 0 … 9 shuffled by seed 2022."""
    drawn = permutation(SEED, TASKS)
    return images.tasks([permutation(100 * int(drawn[at]) + at) for at in range(count)])


@dataclass(frozen=True)
class Logged:
    """A report that also appends what it hears of tasks to a file."""

    inner: Report
    log: Path

    def batch(self, task: int, done: int, total: int, loss: float) -> None:
        """Pass it on."""
        self.inner.batch(task, done, total, loss)

    def task(self, task: int, row: Sequence[float], seconds: float) -> None:
        """Pass it on, and write it down."""
        self.inner.task(task, row, seconds)
        append(self.log, accuracies(task, row, seconds))


def append(log: Path, *lines: str) -> None:
    """Write lines at the end of a file."""
    with log.open("a", encoding="utf-8") as stream:
        stream.writelines(f"{line}\n" for line in lines)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.pmnist", description=(__doc__ or "").splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--setting", default="hlop", choices=SETTINGS)
    parser.add_argument("--variant", default="dsr", choices=list(VARIANTS))
    parser.add_argument("--seed", type=int, default=SEED, help="of weights, rows and the order of samples")
    parser.add_argument("--tasks", type=int, default=TASKS)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--threads", type=int, default=1, help="results depend on it in the last bits")
    parser.add_argument("--every", type=int, default=100, help="batches between two checkpoints")
    parser.add_argument("--checkpoint", type=Path, help="default: runs/<name>.training.pt")
    parser.add_argument("--log", type=Path, help="default: docs/logs/<name>.txt")
    parser.add_argument("--fresh", action="store_true", help="start over instead of going on")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args(arguments)
    if not 1 <= options.tasks <= TASKS:
        parser.error(f"--tasks is 1 … {TASKS}")
    if options.threads < 1 or options.every < 1 or options.seed < 0:
        parser.error("--threads and --every are at least 1, --seed at least 0")
    name = run_name(options)
    options.checkpoint = options.checkpoint or ROOT / "runs" / f"{name}.training.pt"
    options.log = options.log or ROOT / "docs" / "logs" / f"{name}.txt"
    return options


def run_name(options: argparse.Namespace) -> str:
    """pmnist, and what differs from the published run."""
    usual = {"variant": "dsr", "setting": "hlop", "seed": SEED, "tasks": TASKS}
    return "-".join(["pmnist", *(str(getattr(options, key)) for key in usual if getattr(options, key) != usual[key])])


def run(options: argparse.Namespace) -> Outcome:
    """Train, from where the checkpoint stands."""
    torch.set_num_threads(options.threads)
    tasks = tasks_of(mnist(options.data), options.tasks)
    net = SpikingMLP(
        (PIXELS, HIDDEN, HIDDEN, 10), options.variant, lateral=lateral_of(options.setting), seed=options.seed
    )
    subspaces = () if options.setting == "sequential" else growing_subspaces(options.tasks)
    schedule = Schedule(subspaces=subspaces, seed=options.seed)
    for folder in (options.checkpoint.parent, options.log.parent):
        folder.mkdir(parents=True, exist_ok=True)
    if options.fresh:
        options.checkpoint.unlink(missing_ok=True)
    if not options.checkpoint.exists():
        options.log.write_text("", encoding="utf-8")
        append(options.log, *head(options))
    elif not options.json:
        print(f"goes on from {options.checkpoint}", flush=True)
    with progress(options.tasks, "pmnist") as report:
        logged = Logged(report, options.log)
        return train_continual(net, tasks, schedule, checkpoint=options.checkpoint, every=options.every, report=logged)


def head(options: argparse.Namespace) -> list[str]:
    """What a log begins with."""
    return [
        f"permuted MNIST, {options.tasks} tasks, 784-{HIDDEN}-{HIDDEN}-10, {options.variant}, {options.setting},"
        f" seed {options.seed}, begun {time.strftime('%Y-%m-%d %H:%M')}",
        versions(),
        "accuracies in per cent on tasks 0, 1, … after each task; seconds of training",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run or go on; exit code 1 when the published setting misses its figures, 2 bad usage, 130 interrupted."""
    options = parse(arguments)
    try:
        outcome = run(options)
    except EdgekitError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted; the same command goes on from {options.checkpoint}", file=sys.stderr)
        return INTERRUPTED
    figures = summary(outcome.matrix)
    line = f"ACC {figures['acc']:.2f} %  BWT {figures['bwt']:.2f}  forgetting {figures['forgetting']:.2f}"
    if not options.log.read_text(encoding="utf-8").rstrip().endswith(line):
        append(options.log, "", *outcome.matrix.lines(), f"{sum(outcome.seconds):.0f} s of training", line)
    if options.json:
        rows = [row[: at + 1] for at, row in enumerate(outcome.matrix.values.tolist())]
        print(json.dumps({"schema_version": 1, **figures, "matrix": rows, "seconds": list(outcome.seconds)}))
    else:
        print("\n".join([*outcome.matrix.lines(), line]))
    judged = (options.setting, options.variant, options.tasks) == ("hlop", "dsr", TASKS)
    return 1 if judged and any(figures[name] < least for name, least in TARGET.items()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
