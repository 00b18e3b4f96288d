"""Teaching by showing: a few seconds of a gesture become rows of the learning model, and can be taken back.

The artifact never changes: what is learned lies in the memory of its session, and goes with the demo.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from edgekit.demo.har.frames import IDLE, RECORDING, UNAVAILABLE, Lesson, ModelFrame, TeachState, plain_name
from edgekit.demo.har.material import Array, Material
from edgekit.demo.har.models import SPARE, Prepared
from edgekit.demo.har.runner import Runner
from edgekit.errors import EdgekitError, StateError, UsageError
from edgekit.runtime import Session, load
from edgekit.runtime.streams import MachineStream
from edgekit.streaming import Decision, Event, Options, Sample
from edgekit.target import Target

NAME_LENGTH = 32
MOST_SECONDS = 60
HOP = 10  # steps between the windows of a recording
KEPT = 256  # lessons that can be taken back
HELD_OUT = 20  # windows of each old activity
SPARE_NAMES = tuple(f"new {at + 1}" for at in range(SPARE))


class Teacher:
    """The learning model on the stream, and what it is taught: `begin`, `end`, `undo`.

    `prepared` is None where there is none to teach, for the reason `why_not`; every request is then a UsageError.
    """

    def __init__(
        self,
        prepared: Prepared | None,
        material: Material,
        target: Target,
        options: Options,
        *,
        emulated: bool,
        why_not: str = "",
    ) -> None:
        self._state = TeachState(IDLE, left=SPARE) if prepared else TeachState(UNAVAILABLE, about=why_not)
        self._rows: list[Array] = []
        self._heard: set[str | None] = set()
        self._names_of: dict[str, str] = {}
        self._waiting, self._decided_at = False, 0
        self._early = 0  # samples from before a recording that are no steps yet
        if prepared is None or material.windows is None:
            self.runner: Runner | None = None
            return
        self._old = material.windows.class_names
        self._names = [*self._old, *SPARE_NAMES]
        self._rate = float(prepared.artifact.manifest["io"]["inputs"][0]["rate_hz"])
        self.runner = Runner(prepared, target, options, self._names, emulated=emulated)
        held_out = material.held_out(HELD_OUT)
        self._x, self._y = material.windows.x[held_out], material.windows.y[held_out]
        # Accuracy is told by the same integers on this computer: an emulated watch would take minutes.
        self._twin = load(prepared.artifact) if emulated else self.runner.session.stream()
        # What was known before each lesson: the names that were taught, and the weights.
        self._lessons: deque[tuple[tuple[str, ...], bytes]] = deque(maxlen=KEPT)

    @property
    def state(self) -> TeachState:
        """Where teaching stands, without the learning model's own frame."""
        return self._state

    def called(self, truth: str | None) -> str | None:
        """What the learning model should call what the source calls `truth`: a gesture by the name it was taught by."""
        return truth if truth is None else self._names_of.get(truth, truth)

    def feed(self, sample: Sample, truth: str | None) -> list[Decision | Event]:
        """Let the learning model take a sample; while a gesture is recorded, its steps are kept."""
        if self.runner is None:
            return []
        held = self.runner.door.held
        found, given = self.runner.feed(sample), self.runner.given
        if any(isinstance(item, Decision) for item in found):
            self._decided_at = self.runner.door.counters.steps
            if self._waiting:
                self._take_over(self.runner)
        if self._state.phase == RECORDING:
            if event := next((item for item in found if isinstance(item, Event)), None):
                self._forget()
                self._state = replace(self._state, about=f"the recording began anew: {event.text}")
            elif given:
                self._rows += given[round(len(given) * self._early / (held + 1)) :]
                self._early = 0
                self._heard.add(truth)
            seconds = len(self._rows) / self._rate
            self._state = replace(self._state, seconds=seconds)
            if seconds >= MOST_SECONDS:
                self._end_alone()
        return found

    def shown(self, frame: ModelFrame | None) -> TeachState:
        """The state with what the learning model says now."""
        return replace(self._state, model=frame)

    def begin(self, name: str) -> None:
        """Record what comes from now on as a gesture of this name; UsageError for a name or a moment that will not do.

        The name of an old activity means the wearer's own way of doing it.
        """
        runner = self._check_available()
        name = self._known(" ".join(name.split()))
        if not name or len(name) > NAME_LENGTH or not name.isprintable():
            raise UsageError("name", "is none", f"1 to {NAME_LENGTH} letters")
        if self._state.phase == RECORDING:
            raise UsageError("teach", f"{self._state.name!r} is being recorded", "end that first")
        if name not in self._names and self._state.left == 0:
            raise UsageError("teach", f"all {SPARE} gestures are taken", "undo one, or teach one of them again")
        if name in SPARE_NAMES:
            raise UsageError("name", f"{name!r} is what a gesture without a name is called", "give another")
        self._forget()
        self._early = runner.door.held
        self._state = replace(self._state, phase=RECORDING, name=name, seconds=0.0, about="")

    def cancel(self) -> None:
        """Stop recording and learn nothing."""
        self._check_available()
        self._forget()
        self._state = replace(self._state, phase=IDLE, name=None, seconds=0.0)

    def end(self) -> Lesson:
        """Stop recording and learn its windows; UsageError where nothing is recorded, or less than a window."""
        runner, name = self._check_available(), self._state.name
        if self._state.phase != RECORDING or name is None:
            raise UsageError("teach", "nothing is being recorded", "begin first")
        windows, heard = _windows(self._rows, runner.session.learning_window), set(self._heard)
        self._forget()
        self._state = replace(self._state, phase=IDLE, name=None, seconds=0.0)
        if not len(windows):
            seconds = runner.session.learning_window / self._rate
            self._state = replace(self._state, about=f"{name!r} was too short")
            raise UsageError("teach", f"{name!r} was shorter than a window of {seconds:g} s", "record some seconds")
        lesson = self._learn(runner, name, windows)
        if len(heard) == 1 and (truth := heard.pop()) is not None and truth not in self._old:
            self._names_of[truth] = name
        self._state = replace(self._state, lesson=lesson, about="")
        return lesson

    def undo(self) -> None:
        """Take back the last lesson: the weights are those before, to the byte. UsageError where there is none."""
        runner = self._check_available()
        if not self._lessons:
            raise UsageError("undo", "nothing was taught", "teach something first")
        taught, weights = self._lessons.pop()
        runner.session.restore_learned(weights)
        self._rename(taught)
        about, undoable = "the last lesson was taken back", len(self._lessons)
        self._state = replace(self._state, lesson=None, about=about, undoable=undoable)
        self._take_over(runner)

    def _end_alone(self) -> None:
        try:
            self.end()
        except EdgekitError as error:  # nobody asked for it just now: whoever looks is told
            self._state = replace(self._state, about=str(error).splitlines()[0])

    def _known(self, name: str) -> str:
        """The class that is meant by a name as people read and type it; the name itself where there is none."""
        known = {plain_name(each).casefold(): each for each in (*self._old, *self._state.taught)}
        return known.get(plain_name(name).casefold(), name)

    def _take_over(self, runner: Runner) -> None:
        """Let the stream go on with what the session knows now, between two windows, so that none is lost."""
        self._waiting = runner.door.counters.steps != self._decided_at
        if not self._waiting:
            runner.door.relearned()

    def _forget(self) -> None:
        self._early = 0
        self._rows.clear()
        self._heard.clear()

    def _check_available(self) -> Runner:
        if self.runner is None:
            raise UsageError("teach", self._state.about)
        return self.runner

    def _learn(self, runner: Runner, name: str, windows: Array) -> Lesson:
        session, taught = runner.session, self._state.taught
        before, weights = self._accuracy(session), session.learned()
        if name not in self._names:
            self._rename((*taught, name))
        label, begun = self._names.index(name), time.perf_counter()
        with _uncounted(session):
            for window in windows:
                session.learn(window, label)
        milliseconds = 1e3 * (time.perf_counter() - begun)
        self._lessons.append((taught, weights))
        self._state = replace(self._state, undoable=len(self._lessons))
        self._take_over(runner)
        after = self._accuracy(session)
        recalled = int(np.sum(self._twin.decide(self._twin.run(windows)) == label))
        return Lesson(name, len(windows), recalled, milliseconds, len(self._y), before, after)

    def _accuracy(self, session: Session) -> float:
        """Share of held-out windows of old activities that are called right by what a session has learned."""
        try:
            self._twin.restore_learned(session.learned())
        except StateError as error:
            raise StateError("teach", f"what was learned cannot be used: {error.cause}", "undo it") from error
        return float(np.mean(self._twin.decide(self._twin.run(self._x)) == self._y))

    def _rename(self, taught: Sequence[str]) -> None:
        """Let the outputs in reserve be called by what was taught; a runner's names are this very list."""
        left = SPARE - len(taught)
        self._names[len(self._old) :] = [*taught, *SPARE_NAMES[len(taught) :]]
        self._names_of = {truth: name for truth, name in self._names_of.items() if name in taught}
        self._state = replace(self._state, taught=tuple(taught), left=left)


@contextmanager
def _uncounted(session: Session) -> Iterator[None]:
    """An emulated watch learns faster while nobody counts its instructions."""
    stream = session.engine_stream
    if not isinstance(stream, MachineStream):
        yield
        return
    before, stream.counting = stream.counting, False
    try:
        yield
    finally:
        stream.counting = before


def _windows(rows: Sequence[Array], length: int) -> Array:
    """The windows [N, length, channels] of a recording, one every HOP steps."""
    starts = range(0, len(rows) - length + 1, HOP)
    if not starts:
        return np.zeros((0, 0, 0), np.float32)
    return np.stack([np.stack(rows[at : at + length]) for at in starts])
