"""What a program has learned: its journal beside the artifact, and how it learns more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.artifact import Artifact
from edgekit.errors import StateError
from edgekit.learn.drift import DriftDetector
from edgekit.learn.journal import Journal, Status
from edgekit.learn.journal_file import journal_path, open_journal
from edgekit.runtime.event_log import EventLog
from edgekit.runtime.examples import Course, Examples, check_detects, check_ends
from edgekit.runtime.facts import artifact_facts
from edgekit.runtime.guards import UNDECIDED, decided
from edgekit.runtime.session import Session


@dataclass(frozen=True)
class Lesson:
    """How often the program decided rightly before it learned the answer, of all examples and of each one's first time.

    `merges` are the numbers of events after which tasks ended, `drifts` those after which a drift was found.
    `overflow` is the event at which its outputs became NaN or Inf, where it stopped; None where they never did.
    """

    right: int
    events: int
    right_at_first: int
    merges: tuple[int, ...] = ()
    drifts: tuple[int, ...] = ()
    overflow: int | None = None


def learned_of(session: Session, path: Path) -> Status | None:
    """Let a session take over what its artifact has learned; None where there is no journal."""
    if not session.facts.learned or not journal_path(path).exists():
        return None
    with journal_of(session.artifact, path, writable=False) as journal:
        take_over(session, journal, path)
        return journal.status()


@contextmanager
def journal_of(
    artifact: Artifact, path: Path, history: int | None = None, *, writable: bool = True
) -> Iterator[Journal]:
    """The journal beside an artifact that learns."""
    nbytes = artifact_facts(artifact).layout.learned_bytes
    digest = bytes.fromhex(artifact.sha256)
    with open_journal(journal_path(path), digest, nbytes, history, writable=writable) as journal:
        yield journal


def take_over(session: Session, journal: Journal, path: Path) -> bytes:
    """Let a session go on from what a journal holds; returns that. StateError where the program cannot."""
    try:
        session.restore_learned(journal.load())
    except StateError as error:
        cause = f"commit {journal.status().commit} cannot be used ({error.cause})"
        remedy = f"edgekit learn {path} --rollback, or --reset"
        raise StateError(str(journal_path(path)), cause, remedy) from error
    return session.learned()


def learn_course(
    session: Session,
    examples: Examples,
    course: Course,
    progress: Callable[[int], None] = lambda _: None,
    detector: DriftDetector | None = None,
) -> Lesson:
    """Learn examples in turn, and end tasks where the course says so; UsageError for more ends than the program has.

    With a detector a task also ends where the novelty that the program tells drifts, as long as there are tasks left
    beside those that the course ends. It stops where the outputs overflow: what comes after would be learned from
    nothing.
    """
    check_ends(session, course.merges)
    if detector is not None:
        check_detects(session)
    right, right_at_first, seen = 0, 0, set[int]()
    merges, drifts = list[int](), list[int]()
    for at, number in enumerate(course.order.tolist()):
        progress(at)
        y = None if examples.y is None else int(examples.y[number])
        outputs = session.learn(*(array[number] for array in examples.inputs), *_told(session, y))
        found = decided(session, outputs)
        if found == UNDECIDED:
            return Lesson(right, at, right_at_first, tuple(merges), tuple(drifts), overflow=at)
        right += found == y
        right_at_first += found == y and number not in seen
        seen.add(number)
        if detector is not None and detector.see(float(session.told[1].reshape(-1)[0])):
            drifts.append(at + 1)
        planned = sum(place > at for place in course.merges)
        if at + 1 in course.merges or (at + 1 in drifts and _tasks_left(session) > planned):
            session.merge()
            merges.append(at + 1)
    return Lesson(right, len(course), right_at_first, tuple(merges), tuple(drifts))


def _tasks_left(session: Session) -> int:
    """How many more tasks can end."""
    tasks = session.tasks
    return 0 if tasks is None or tasks.left is None else tasks.left


def _told(session: Session, y: int | None) -> tuple[Any, ...]:
    """What a rule is told: the class; a reward of 1 where the class was decided, else of -1; or nothing."""
    if session.target_shape is None or y is None:
        return ()
    return (y,) if session.target_shape else (lambda outputs: 1.0 if decided(session, outputs) == y else -1.0,)


def replay(session: Session, log: EventLog, progress: Callable[[int], None] = lambda _: None) -> bytes:
    """Learn a log again from where it began; returns what was learned."""
    session.restore_learned(log.before or None)
    learn_course(session, log.examples, log.course, progress)
    return session.learned()
