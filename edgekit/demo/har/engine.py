"""The demo's engine: samples in, frames out. It keeps no time and starts no thread: same samples, same frames."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from edgekit.demo.har.frames import LEARNER, Called, Frame, Lesson, ModelFrame, ModelScene, Scene, TeachState
from edgekit.demo.har.material import SYNTHETIC, Material
from edgekit.demo.har.models import Prepared
from edgekit.demo.har.play import Heard
from edgekit.demo.har.runner import Runner
from edgekit.demo.har.teach import Teacher
from edgekit.demo.har.windows import CHANNELS, RATE_HZ, UNIT, WINDOW
from edgekit.errors import UsageError
from edgekit.streaming import Counters, Decision, Event, Options
from edgekit.streaming.missing import LARGEST
from edgekit.target import Target

LATE, SILENCE = 1.0, 600.0
"""Seconds by which a sample may be late, and after which nobody waits to see how long nothing came."""


class Source(Protocol):
    """Where samples come from. `live` ones come when they come; the others as fast as they are taken."""

    name: str
    live: bool

    @property
    def activities(self) -> tuple[str, ...]:
        """What `play` can be asked for; empty where nothing can."""

    def play(self, name: str | None) -> None:
        """Play one activity from the next window on; None: all in turn."""

    def notes(self, counters: Counters) -> tuple[str, ...]:
        """What was left out or mended of the stream, in words; `counters` are those of a model that hears it."""

    def __iter__(self) -> Iterator[Heard | None]:
        """The samples; None each time there was none for a moment."""


class Engine:
    """Models side by side on one source, and one of them that can be taught.

    `models` and `learner` come from `models.prepare`, `target` is what their instructions and energy are of, and
    `emulated` runs them on its emulated core. Call everything from one thread: between two frames models may be
    taught, and the source asked to play something. `rate_hz` is at how many Hz samples without times come.
    """

    def __init__(
        self,
        models: Sequence[Prepared],
        learner: Prepared | None,
        source: Source,
        material: Material,
        target: Target,
        *,
        emulated: bool = False,
        options: Options | None = None,
        why_not: str = "",
    ) -> None:
        if not models:
            raise UsageError("--models", "names none", "give at least one")
        options = options or Options()
        self._source, self._material, self._target, self._emulated = source, material, target, emulated
        classes = tuple(models[0].artifact.manifest["io"]["classes"])
        self.runners = {m.family: Runner(m, target, options, classes, emulated=emulated) for m in models}
        self.teacher = Teacher(learner, material, target, options, emulated=emulated, why_not=why_not)
        self._classes, self.rate_hz = classes, options.source_rate or RATE_HZ
        self._truths: deque[str | None] = deque(maxlen=4 * WINDOW)
        self._samples = 0
        self._time, self._told, self._began = 0.0, math.nan, (0.0, 0.0)
        self._counted = 1, 0.0  # a sample and its time, from which those without times are counted

    def scene(self) -> Scene:
        """What stays the same, and the tally so far."""
        return Scene(
            classes=self._classes,
            channels=CHANNELS,
            unit=UNIT,
            rate_hz=RATE_HZ,
            window=WINDOW,
            source=self._source.name,
            live=self._source.live,
            synthetic=self._material.split == SYNTHETIC,
            target=self._target.name,
            emulated=self._emulated,
            models=self._scenes(),
            activities=self._source.activities,
            notes=self._notes(),
            tally={name: runner.tally.tolist() for name, runner in self.runners.items()},
        )

    def frames(self) -> Iterator[Frame | None]:
        """A frame for every sample, as long as the source lasts, and None each time it is silent for a moment.

        DataError and UsageError as the source raises them.
        """
        for heard in self._source:
            yield None if heard is None else self._frame(heard)

    @property
    def samples(self) -> int:
        """How many have come."""
        return self._samples

    @property
    def teaching(self) -> TeachState:
        """Where teaching stands, without the learning model's own frame."""
        return self.teacher.state

    def shown(self, frame: Frame) -> Frame:
        """A frame with teaching as it stands now, after what was asked for since."""
        return replace(frame, teach=self.teacher.shown(frame.teach.model))

    def begin(self, name: str) -> None:
        """Record what comes as a gesture of this name (see `Teacher`)."""
        self.teacher.begin(name)

    def end(self) -> Lesson:
        """Learn what was recorded."""
        return self.teacher.end()

    def cancel(self) -> None:
        """Record no further, and learn nothing."""
        self.teacher.cancel()

    def undo(self) -> None:
        """Take back the last lesson."""
        self.teacher.undo()

    def play(self, name: str | None) -> None:
        """Let the source play one activity, None: all in turn; UsageError where it cannot."""
        if not self._source.activities:
            raise UsageError("play", f"{self._source.name} plays nothing on request")
        self._source.play(name)

    def _frame(self, heard: Heard) -> Frame:
        self._truths.append(heard.truth)
        self._samples += 1
        time = self._time = self._now(heard.sample.time)
        events = list[str]()
        models = dict[str, ModelFrame]()
        for name, runner in self.runners.items():
            found = runner.feed(heard.sample)
            if not models:  # the same for all: they hear the same samples
                events = [item.text for item in found if isinstance(item, Event)] + runner.doubts
            runner.doubts.clear()
            models[name] = runner.frame(self._called(runner, found, time))
        found = self.teacher.feed(heard.sample, heard.truth)
        learner = self.teacher.runner
        taught = None if learner is None else learner.frame(self._called(learner, found, time, self.teacher.called))
        return Frame(
            t=time,
            sample=tuple(value if abs(value) <= LARGEST else math.nan for value in heard.sample.values),
            truth=heard.truth,
            models=models,
            teach=self.teacher.shown(taught),
            events=tuple(events),
            steps=next(iter(self.runners.values())).door.counters.steps,
        )

    def _now(self, told: float | None) -> float:
        """Seconds since the stream began, by the samples' own clock if they carry one; they never go back.

        A clock that was set anew, or was silent for more than SILENCE, goes on from where it was.
        """
        if told is None:
            if not math.isnan(self._told):
                self._told, self._counted = math.nan, (self._samples, self._time + 1 / self.rate_hz)
            number, at = self._counted
            return at + (self._samples - number) / self.rate_hz
        if not math.isfinite(told):
            return self._time
        step = told - self._told
        if -LATE <= step <= 0:
            return self._time
        if not 0 < step <= SILENCE:  # also the first one
            self._began = told, self._time + 1 / self.rate_hz if self._samples > 1 else 0.0
        self._told = told
        first, at = self._began
        return at + (told - first)

    def _called(
        self,
        runner: Runner,
        found: Sequence[Decision | Event],
        time: float,
        name_of: Callable[[str | None], str | None] = lambda truth: truth,
    ) -> Called | None:
        called = None
        for item in found:
            if isinstance(item, Decision):
                called = runner.note(item, time, name_of(self._truth(item)))
        return called

    def _truth(self, decision: Decision) -> str | None:
        """What the wearer did all through a window; None where that is not known or not one thing."""
        first = self._samples - len(self._truths)
        truths = {
            self._truths[at - first] if 0 <= at - first < len(self._truths) else None
            for at in range(decision.start, decision.end)
        }
        return truths.pop() if len(truths) == 1 else None

    def _notes(self) -> tuple[str, ...]:
        runners = tuple(self.runners.values())
        notes = dict.fromkeys(note for runner in runners for note in runner.scene().notes)
        return *notes, *self._source.notes(runners[0].door.counters)

    def _scenes(self) -> Mapping[str, ModelScene]:
        scenes = {name: runner.scene() for name, runner in self.runners.items()}
        if self.teacher.runner is not None:
            scenes[LEARNER] = self.teacher.runner.scene()
        return scenes
