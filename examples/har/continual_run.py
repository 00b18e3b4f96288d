"""The three streams of lessons, each learned by a session of an artifact and tested after every lesson."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.demo.har.windows import Indices, Windows
from edgekit.runtime import Session
from examples.har.continual_metrics import Record
from examples.har.continual_streams import gesture_lesson, in_time, user_lesson

GESTURE_LEAST = 80
"""Windows that a recording has at least whose gesture is learned and tested."""

POPULATION = 400
"""Training windows whose subspace is extracted before the first lesson."""

Progress = Callable[[], None]


@dataclass(frozen=True)
class Stream:
    """One order of wearers: what was kept of their lessons, and how others fared, in per cent: before and after all."""

    record: Record
    others: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Gesture:
    """A gesture that a wearer showed: its recall in per cent, and the points by which the wearer's old classes rose."""

    activity: int
    subject: int
    recall: float
    old: float


@dataclass(frozen=True)
class Course:
    """Windows to learn and test with, of which the model knows the classes below `known`, seen `passes` times."""

    windows: Windows
    known: int
    passes: int = 1
    progress: Progress = lambda: None

    def accuracy(self, session: Session, indices: Indices, labels: NDArray[Any] | None = None) -> float:
        """Per cent of windows that are decided right."""
        found = session.decide(session.run(self.windows.x[indices]))
        return float(100 * np.mean(found == (self.windows.y[indices] if labels is None else labels)))

    def learn(self, session: Session, indices: Indices, label: Callable[[int], int] = int) -> None:
        """Learn windows in turn, as often as the course says."""
        for _ in range(self.passes):
            for at in indices.tolist():
                session.learn(self.windows.x[at], label(self.windows.y[at]))

    def extract(self, session: Session, side: Indices) -> None:
        """Let lateral neurons see some windows of the population once, as a task of their own."""
        chosen = np.random.default_rng(0).choice(side, min(POPULATION, len(side)), replace=False)
        for at in chosen.tolist():
            session.learn(self.windows.x[at], int(self.windows.y[at]))
        session.merge()

    def users(
        self, session: Session, order: Sequence[int], others: dict[str, Indices], first_task: Indices | None = None
    ) -> Stream:
        """Part (b): the lessons of wearers, one after another, each a task of the session.

        What is extracted from the windows of a first task counts as learned: `before` is the session as it was given.
        """
        lessons = [user_lesson(self.windows, s, range(self.known)) for s in order]

        def tested() -> list[float]:
            return [self.accuracy(session, lesson.test) for lesson in lessons]

        before, first = tested(), {name: self.accuracy(session, side) for name, side in others.items()}
        if first_task is not None:
            self.extract(session, first_task)
        after = []
        for lesson in lessons:
            self.learn(session, lesson.learn)
            after.append(tested())
            _end_task(session)
            self.progress()
        record = Record(tuple(map(str, order)), np.array(before), np.array(after))
        return Stream(record, {name: (first[name], self.accuracy(session, side)) for name, side in others.items()})

    def gestures(
        self, session: Session, subjects: Sequence[int], old: Sequence[int], new: Sequence[int]
    ) -> list[Gesture]:
        """Part (c): each wearer shows its old classes, then a gesture; of several gestures each is learned alone."""
        found, number = [], {c: at for at, c in enumerate(old)}
        for s in subjects:
            session.restore_learned(None)
            lesson = user_lesson(self.windows, s, old)
            self.learn(session, lesson.learn, lambda y: number[int(y)])
            kept, labels = session.learned(), np.array([number[int(c)] for c in self.windows.y[lesson.test]])
            before = self.accuracy(session, lesson.test, labels)
            for activity in new:
                if len(in_time(self.windows, s, activity)) >= GESTURE_LEAST:
                    shown = gesture_lesson(self.windows, s, activity)
                    session.restore_learned(kept)
                    self.learn(session, shown.learn, lambda _: len(old))
                    recall = self.accuracy(session, shown.test, np.full(len(shown.test), len(old)))
                    found.append(Gesture(activity, s, recall, self.accuracy(session, lesson.test, labels) - before))
            self.progress()
        return found

    def classes(self, session: Session, groups: Sequence[Sequence[int]], teachers: Indices, tests: Indices) -> Record:
        """Part (a): the first group is known as delivered, each later one is learned from the windows of teachers."""
        sides = [tests[np.isin(self.windows.y[tests], group)] for group in groups]
        rows = [[self.accuracy(session, side) for side in sides]]
        for group in groups[1:]:
            shown = teachers[np.isin(self.windows.y[teachers], group)]
            self.learn(session, np.random.default_rng(0).permutation(shown))
            rows.append([self.accuracy(session, side) for side in sides])
            _end_task(session)
            self.progress()
        a = np.array(rows)
        a[np.triu_indices(len(groups), 1)] = np.nan
        before = np.where(np.arange(len(groups)) == 0, a[0, 0], np.nan)
        return Record(("delivered", *(f"step {t}" for t in range(1, len(groups)))), before, a)


def _end_task(session: Session) -> None:
    """What comes is another task, if the session has one."""
    if session.tasks is not None and (session.tasks.left or 0) > 1:
        session.merge()
