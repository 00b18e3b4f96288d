"""What the demo shows: all that a terminal or a page draws, as plain values.

`Scene` is told once, a `Frame` comes with every sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edgekit.profile.grades import MEASURED
from edgekit.profile.grades import UNAVAILABLE as NO_GRADE

IDLE, RECORDING, UNAVAILABLE = "idle", "recording", "unavailable"
"""Phases of teaching."""

LEARNER = "learner"
"""What the learning model is called among scenes."""


def plain_name(name: str) -> str:
    """A class as people read it, beside words that say what is made up."""
    return name.removeprefix("synthetic_").replace("_", " ")


def counted(count: int, name: str) -> str:
    """So many of what has this name, which is in the singular."""
    return f"{count:,} {name}{'' if count == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its unit and how it came about: `grade` is one of `edgekit.profile.grades`.

    `low` and `high` bound an estimate. `value` is None where the grade is unavailable; `about` says why, or of what
    and from what it is.
    """

    value: float | None
    unit: str
    grade: str
    about: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Called:
    """What a model called the newest window: its index among the model's windows, when it was called in seconds
    of the stream, the class, and the true one where the source knows it and all of the window was of it.
    """

    index: int
    time: float
    name: str
    confidence: float
    truth: str | None


@dataclass(frozen=True, slots=True)
class ModelFrame:
    """One model after a sample.

    `decision` is there only in the frame in which a window ended. `label` is the class to show now, None before the
    first; `confidence` of each class, of the newest window. `spikes` are the neurons of each population that fired in
    this step. `latency` and `energy` are of this step, in µs and µJ; `instructions` are exact where the step ran on an
    emulated core, else their mean there, None where nobody has counted. Of the `known` windows so far whose true class
    is one of the model's, `right` were called by it.
    """

    decision: Called | None
    label: str | None
    confidence: Mapping[str, float]
    spikes: Mapping[str, tuple[int, ...]]
    latency: Figure
    instructions: float | None
    energy: Figure
    right: int
    known: int
    instructions_grade: str = NO_GRADE


@dataclass(frozen=True, slots=True)
class Lesson:
    """What teaching brought: so many windows of one gesture learned in so many ms of this computer (of the emulator,
    where that learned), and of held-out windows of the old activities the share called right before and after.
    `recalled` of the recorded windows are called by the new name. `grade` is that of all of these.
    """

    name: str
    windows: int
    recalled: int
    milliseconds: float
    held_out: int
    before: float
    after: float
    grade: str = MEASURED


@dataclass(frozen=True, slots=True)
class TeachState:
    """Where teaching stands: a phase, the name that is being recorded and for how many seconds, the gestures that were
    taught, how many more can be, how many lessons can be taken back, the last lesson, and what the learning model calls
    the newest window.

    `about` says why it is unavailable, or what became of the last request.
    """

    phase: str
    name: str | None = None
    seconds: float = 0.0
    taught: tuple[str, ...] = ()
    left: int = 0
    undoable: int = 0
    lesson: Lesson | None = None
    model: ModelFrame | None = None
    about: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """One sample, [channels] in raw units (NaN: missing), `t` in seconds of the stream, and what became of it.

    `truth` is what the wearer is doing, where the source knows. `events` say in words what befell the stream. `steps`
    are those that the models have done so far: a sensor may be faster than they are, or slower.
    """

    t: float
    sample: tuple[float, ...]
    truth: str | None
    models: Mapping[str, ModelFrame]
    teach: TeachState
    events: tuple[str, ...] = ()
    steps: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: a missing value is None."""
        plain = asdict(self)
        plain["sample"] = [value if math.isfinite(value) else None for value in self.sample]
        return plain


@dataclass(frozen=True, slots=True)
class ModelScene:
    """A model that takes part: its precision, what executes it, how many steps a window takes (1: it is eaten at once),
    the populations that fire with their sizes, and what it takes of the target, in bytes, with how these came about;
    the stack counts as RAM where it was seen on an emulated core. `notes` say what was not as wished.
    """

    family: str
    precision: str
    engine: str
    steps: int
    populations: Mapping[str, int]
    flash_bytes: int
    ram_bytes: int
    flash_grade: str = NO_GRADE
    ram_grade: str = NO_GRADE
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """What stays the same: classes, channels with their unit, rate and window in steps, where samples are from and
    whether they come by themselves (`live`), the target that instructions and energy are of, whether it is emulated in
    the loop. `models` has the learning model too, as `learner`. `activities` are what the source can be asked to play,
    `notes` what was not as wished, of any model.
    """

    classes: tuple[str, ...]
    channels: tuple[str, ...]
    unit: str
    rate_hz: float
    window: int
    source: str
    live: bool
    synthetic: bool
    target: str
    emulated: bool
    models: Mapping[str, ModelScene]
    activities: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tally: Mapping[str, list[list[int]]] = field(default_factory=dict)
    """Of each model the windows so far by true class (rows) and called class (columns)."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)
