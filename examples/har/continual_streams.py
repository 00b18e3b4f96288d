"""All 18 activities of the watch, and what a wearer shows it: the windows to learn from, and those that come later."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.demo.har import wisdm
from edgekit.demo.har.windows import Indices, Windows
from edgekit.demo.har.wisdm import REST
from edgekit.errors import DataError

TAKE, GAP = 8, 5
"""Windows of an activity that are learned from (16 s), and those left out after them (10 s)."""

GESTURE_AT, GESTURE_REST = (5, 17, 29, 41, 53), 62
"""Where in its recording the windows of a new gesture lie, over two minutes, and where those to recognise begin."""


@dataclass(frozen=True)
class Lesson:
    """What is learned from, in the order in which a device meets it, and what comes after it: indices of windows."""

    learn: Indices
    test: Indices


def load_all(hand: str | os.PathLike[str] | None = None, rest: str | os.PathLike[str] | None = None) -> Windows:
    """The seven hand-oriented activities and, with labels from 7 on, the other eleven.

    `hand` is as in `wisdm.load`, `rest` an .npz of the same form; None means REST in the folder of `hand`.
    """
    hand = Path(wisdm.default_path() if hand is None else hand)
    first, second = wisdm.load(hand), wisdm.load(hand.parent / REST if rest is None else rest)
    shared = sorted(set(first.class_names) & set(second.class_names))
    if shared:
        raise DataError("windows of the other activities", "hold some of the hand-oriented ones too", items=shared)
    return Windows(
        x=np.concatenate([first.x, second.x]),
        y=np.concatenate([first.y, second.y + len(first.class_names)]),
        subject=np.concatenate([first.subject, second.subject]),
        recording=np.concatenate([first.recording, second.recording + first.recording.max() + 1]),
        position=np.concatenate([first.position, second.position]),
        class_names=(*first.class_names, *second.class_names),
        source=first.source,
    )


def in_time(windows: Windows, subject: int, activity: int) -> Indices:
    """The windows of one wearer and one activity, earliest first."""
    chosen = np.flatnonzero((windows.subject == subject) & (windows.y == activity))
    order = np.lexsort((windows.position[chosen], windows.recording[chosen]))
    return chosen[order].astype(np.int64)


def user_lesson(windows: Windows, subject: int, activities: Iterable[int], take: int = TAKE, gap: int = GAP) -> Lesson:
    """The first `take` windows of each activity, one of each in turn, and all that follow them but `gap` windows.

    Activities that the wearer did not do are left out; DataError where there is nothing to learn or nothing to test.
    """
    runs = [in_time(windows, subject, activity) for activity in activities]
    learn = [run[at] for at in range(take) for run in runs if at < len(run)]
    test = [index for run in runs for index in run[take + gap :]]
    return _lesson(f"windows of subject {subject}", learn, test)


def gesture_lesson(
    windows: Windows, subject: int, activity: int, at: Sequence[int] = GESTURE_AT, rest: int = GESTURE_REST
) -> Lesson:
    """The windows number `at` of one activity of one wearer, and those from number `rest` on.

    DataError where the recording is too short for both.
    """
    run = in_time(windows, subject, activity)
    named = f"{windows.class_names[activity]} of subject {subject}"
    if len(run) <= max(*at, rest):
        raise DataError(named, f"has {len(run)} windows, {max(*at, rest) + 1} are needed")
    return _lesson(named, [run[i] for i in at], list(run[rest:]))


def _lesson(named: str, learn: list[np.int64], test: list[np.int64]) -> Lesson:
    if not learn or not test:
        raise DataError(named, f"are {len(learn)} to learn from and {len(test)} to test: both are needed")
    return Lesson(np.array(learn, dtype=np.int64), np.array(test, dtype=np.int64))
