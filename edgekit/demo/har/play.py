"""Recordings played as a stream: whole windows joined again into runs, one activity after the other, with the truth."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.demo.har import synthetic, wisdm
from edgekit.demo.har.material import REAL, Array, Material
from edgekit.demo.har.windows import Indices, Windows
from edgekit.errors import DataError, UsageError
from edgekit.streaming import Counters, Sample

CLIP = 6  # windows of one activity in a row: 12 s
NEW = "drinking"
"""The one of the other eleven activities that may be taught."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A sample, and what the wearer is doing, where the source knows."""

    sample: Sample
    truth: str | None


@dataclass(frozen=True, eq=False)
class Clip:
    """Windows [N, T, channels] of one activity that follow one another in time."""

    name: str
    windows: Array


class Recorded:
    """Clips played in turn, without an end unless `once`; `play` asks for one activity instead, from the next clip on.

    `live` is false: samples are there as fast as they are taken, and whoever shows them sets the pace.
    """

    live = False

    def __init__(self, name: str, clips: Sequence[Clip], extra: Sequence[Clip] = (), *, once: bool = False) -> None:
        self.name, self._clips, self._once = name, tuple(clips), once
        self._by_name: dict[str, list[Clip]] = {}
        for clip in (*clips, *extra):
            self._by_name.setdefault(clip.name, []).append(clip)
        self._asked: str | None = None
        self._turns: dict[str, int] = {}
        self._cut = False

    @property
    def activities(self) -> tuple[str, ...]:
        """What can be asked for."""
        return tuple(self._by_name)

    @property
    def clips(self) -> tuple[Clip, ...]:
        """What is played in turn."""
        return self._clips

    def play(self, name: str | None) -> None:
        """Play one activity from the next window on, over and over; None: all in turn again. UsageError when it is not
        there.
        """
        if name is not None and name not in self._by_name:
            raise UsageError(f"activity {name!r}", "is not in the recordings", "there are:", self.activities)
        self._asked, self._cut = name, True

    def notes(self, counters: Counters) -> tuple[str, ...]:  # noqa: ARG002 (a sensor needs them)
        """Nothing: recordings are whole."""
        return ()

    def __iter__(self) -> Iterator[Heard]:
        for clip in self._order():
            for window in clip.windows:
                for row in window.tolist():
                    yield Heard(Sample(None, tuple(row)), clip.name)
                if self._cut:
                    break
            self._cut = False

    def _order(self) -> Iterator[Clip]:
        at = 0
        while True:
            if self._asked is None:
                if self._once and at == len(self._clips):
                    return
                yield self._clips[at % len(self._clips)]
                at += 1
            else:
                clips = self._by_name[self._asked]
                turn = self._turns.get(self._asked, 0)
                self._turns[self._asked] = turn + 1
                yield clips[turn % len(clips)]


def play_material(material: Material, *, data: str | os.PathLike[str] | None = None, once: bool = False) -> Recorded:
    """Held-out wearers in turn, each doing every activity for some seconds, then again; and an activity to teach, where
    the recordings hold one. DataError without recordings.
    """
    windows, sides = material.windows, material.sides
    if windows is None or sides is None:
        raise DataError("recordings", material.why_not, "give --data, or --source synthetic")
    clips = list(_rounds(windows, sides.test))
    return Recorded(windows.source, clips, _to_teach(material, data), once=once)


def _rounds(windows: Windows, side: Indices) -> Iterator[Clip]:
    """A clip of every activity by one wearer after the other, and again from where each ended, while there are some."""
    runs = {
        wearer: _runs(windows, side[windows.subject[side] == wearer]) for wearer in sorted(set(windows.subject[side]))
    }
    while any(clips for by_label in runs.values() for clips in by_label.values()):
        for by_label in runs.values():
            yield from (clips.pop(0) for _, clips in sorted(by_label.items()) if clips)


def _runs(windows: Windows, side: Indices) -> Mapping[int, list[Clip]]:
    """Clips of at most CLIP windows by class, of windows of a recording that follow one another; the first comes last:
    people are still getting ready in it.
    """
    runs: dict[int, list[Clip]] = {}
    order = side[np.lexsort((windows.position[side], windows.recording[side]))]
    breaks = np.diff(windows.recording[order]) != 0
    breaks |= np.diff(windows.position[order]) != 1
    for run in np.split(order, np.flatnonzero(breaks) + 1):
        for start in range(0, len(run), CLIP):
            chosen = run[start : start + CLIP]
            label = int(windows.y[chosen[0]])
            runs.setdefault(label, []).append(Clip(windows.class_names[label], windows.x[chosen]))
    return {label: [*clips[1:], *clips[:1]] for label, clips in runs.items()}


def _to_teach(material: Material, data: str | os.PathLike[str] | None) -> list[Clip]:
    if material.split != REAL:
        return [Clip(synthetic.GESTURE, synthetic.gesture(at, CLIP)) for at in range(4)]
    path = (wisdm.default_path() if data is None else Path(data)).parent / wisdm.REST
    if not path.is_file():
        return []
    rest = wisdm.load(path)
    if NEW not in rest.class_names or material.windows is None or material.sides is None:
        return []
    testers = set(material.windows.subject[material.sides.test].tolist())
    chosen = np.flatnonzero((rest.y == rest.class_names.index(NEW)) & np.isin(rest.subject, sorted(testers)))
    return [clip for clips in _runs(rest, chosen.astype(np.int64)).values() for clip in clips]
