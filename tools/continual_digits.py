"""Five permuted tasks of the 8 x 8 digits of scikit-learn, learned one after another (the reduced protocol of HLOP).

python -m tools.continual_digits [--seeds 3] [--variant dsr ottt bptt] [--setting hlop spiking sequential] [--json]

A 784-400-400-10 spiking network, 8 epochs a task, plain gradient descent at 0.1, batches of 64. A fifth of the digits,
drawn once, are for testing: those of the golden file, whose first task is met exactly with the authors' own draws of
weights and order. `sequential` is the same network without lateral neurons.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from edgekit.errors import EdgekitError, UsageError
from edgekit.learn.torch import (
    VARIANTS,
    AccuracyMatrix,
    Schedule,
    SpikingMLP,
    Task,
    growing_subspaces,
    progress,
    train_continual,
)
from tools.permuted import PIXELS, SETTINGS, Images, lateral_of, mean_of, permutation, pixels, summary, versions

TASKS, EPOCHS, HIDDEN = 5, 8, 400
FIRST_SEED = 2022
SPLIT_SEED = 0
TARGET = {"acc": 96.5, "bwt": -1.0}
"""What the mean over three seeds of DSR with linear lateral neurons is to reach."""


def digits(split_seed: int = SPLIT_SEED) -> Images:
    """1437 training and 360 test digits, each 8 x 8 pixel blown up to 3 x 3 in a border of 2."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UsageError(
            "scikit-learn", "is not installed; its digits are the data", "pip install scikit-learn"
        ) from error
    data = load_digits()
    images = np.pad(np.kron(data.images, np.ones((3, 3))), ((0, 0), (2, 2), (2, 2))) / 16
    order = torch.from_numpy(np.random.default_rng(split_seed).permutation(len(images)))
    train, test = order.split([len(images) * 4 // 5, len(images) - len(images) * 4 // 5])
    x, y = pixels(images), torch.from_numpy(data.target.astype(np.int64))
    return Images(x[train], y[train], x[test], y[test])


def tasks_of(images: Images, count: int = TASKS) -> list[Task]:
    """Task 0 as it is, task i permuted by seed 101 i."""
    return images.tasks([None, *(permutation(101 * at) for at in range(1, count))])


def learn(tasks: Sequence[Task], variant: str, setting: str, seed: int) -> tuple[AccuracyMatrix, float]:
    """The accuracy matrix of one run, and the seconds it trained."""
    net = SpikingMLP((PIXELS, HIDDEN, HIDDEN, 10), variant, lateral=lateral_of(setting), seed=seed)
    subspaces = () if setting == "sequential" else growing_subspaces(len(tasks))
    with progress(len(tasks), f"{variant} {setting} seed {seed}") as report:
        outcome = train_continual(net, tasks, Schedule(epochs=EPOCHS, subspaces=subspaces, seed=seed), report=report)
    return outcome.matrix, sum(outcome.seconds)


def record(variant: str, setting: str, runs: Sequence[tuple[int, AccuracyMatrix, float]]) -> dict[str, Any]:
    """All that is known of one row of the table."""
    each = [
        {"seed": seed, **summary(matrix), "seconds": round(seconds, 1), "matrix": _plain(matrix)}
        for seed, matrix, seconds in runs
    ]
    return {"variant": variant, "setting": setting, "mean": mean_of([summary(m) for _, m, _ in runs]), "runs": each}


def _plain(matrix: AccuracyMatrix) -> list[list[float]]:
    return [row[: at + 1] for at, row in enumerate(matrix.values.tolist())]


def table(records: Sequence[dict[str, Any]]) -> list[str]:
    """A line a setting: means over the seeds, and each seed's ACC and BWT."""
    lines = [f"{'variant':8}{'setting':12}{'ACC %':>8}{'BWT':>8}{'forgetting':>12}   each seed's ACC / BWT"]
    for each in records:
        mean = each["mean"]
        seeds = "  ".join(f"{run['acc']:.2f} / {run['bwt']:.2f}" for run in each["runs"])
        lines.append(
            f"{each['variant']:8}{each['setting']:12}{mean['acc']:8.2f}{mean['bwt']:8.2f}{mean['forgetting']:12.2f}"
            f"   {seeds}"
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the protocol; exit code 1 when DSR with HLOP misses its figures, 2 for bad usage."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.continual_digits", description=(__doc__ or "").splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--seeds", type=int, default=3, help=f"how many, from {FIRST_SEED} on")
    parser.add_argument("--split-seed", type=int, default=SPLIT_SEED, help="draws the test digits")
    parser.add_argument("--variant", nargs="+", default=["dsr"], choices=list(VARIANTS))
    parser.add_argument("--setting", nargs="+", default=list(SETTINGS), choices=SETTINGS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    if options.seeds < 1 or options.threads < 1:
        parser.error("--seeds and --threads are at least 1")
    torch.set_num_threads(options.threads)
    try:
        tasks, records, started = tasks_of(digits(options.split_seed)), [], time.monotonic()
        for variant in options.variant:
            for setting in options.setting:
                seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
                runs = [(seed, *learn(tasks, variant, setting, seed)) for seed in seeds]
                records.append(record(variant, setting, runs))
    except EdgekitError as error:
        print(error, file=sys.stderr)
        return 2
    seconds = round(time.monotonic() - started)
    if options.json:
        print(json.dumps({"schema_version": 1, "versions": versions(), "seconds": seconds, "records": records}))
    else:
        print("\n".join([*table(records), f"{versions()}; {seconds} s"]))
    return 1 if any(_missed(each) for each in records) else 0


def _missed(each: dict[str, Any]) -> bool:
    judged = (each["variant"], each["setting"]) == ("dsr", "hlop")
    return judged and any(each["mean"][name] < least for name, least in TARGET.items())


if __name__ == "__main__":
    raise SystemExit(main())
