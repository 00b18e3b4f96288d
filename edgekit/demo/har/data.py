"""Windows and splits by name: A and B are real data, `synthetic` is made up; they never meet."""

from __future__ import annotations

import os

import numpy as np

from edgekit.demo.har import synthetic, wisdm
from edgekit.demo.har.windows import Split, Windows
from edgekit.errors import DataError, UsageError

SPLITS = ("A", "B", "synthetic")

TEST_SUBJECTS = (1601, 1602, 1604, 1611, 1618, 1619, 1620, 1647, 1648)
VALIDATION_SUBJECTS = (1606, 1621, 1623, 1627, 1636)


def load_windows(split: str, path: str | os.PathLike[str] | None = None) -> tuple[Windows, Split]:
    """The windows and sides behind one of SPLITS.

    A and B read WISDM (`path` as in `wisdm.load`), split at random by window or by subject; `synthetic` takes no path
    and is split by its made-up wearers.
    """
    if split not in SPLITS:
        raise UsageError(f"split {split!r}", "unknown", "known splits: " + ", ".join(SPLITS))
    if split == "synthetic":
        if path is not None:
            raise UsageError("--data", "does not go with the split synthetic", "leave it out")
        windows = synthetic.generate()
        return windows, split_by_subject(windows, test=tuple(range(4)), validation=tuple(range(4, 8)))
    windows = wisdm.load(path)
    return windows, split_random(windows) if split == "A" else split_by_subject(windows)


def split_random(windows: Windows, seed: int = 0) -> Split:
    """Split A: 60/20/20 by window, so that every subject is on all sides."""
    order = np.random.default_rng(seed).permutation(len(windows.y))
    first, second = int(0.6 * len(order)), int(0.8 * len(order))
    return Split(np.sort(order[:first]), np.sort(order[first:second]), np.sort(order[second:]))


def split_by_subject(
    windows: Windows,
    test: tuple[int, ...] = TEST_SUBJECTS,
    validation: tuple[int, ...] = VALIDATION_SUBJECTS,
) -> Split:
    """Split B: no subject is on two sides."""
    in_test, in_validation = np.isin(windows.subject, test), np.isin(windows.subject, validation)
    sides = (~in_test & ~in_validation, in_validation, in_test)
    split = Split(*(np.flatnonzero(side).astype(np.int64) for side in sides))
    if not (len(split.train) and len(split.validation) and len(split.test)):
        raise DataError(windows.source, "has no window for one side of the subject split", "use split A")
    return split
