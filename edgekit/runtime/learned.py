"""What a program has learned: its journal beside the artifact, guards before a commit, a log that replays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.errors import DataError, StateError
from edgekit.learn.journal import Journal, Status
from edgekit.learn.journal_file import journal_path, open_journal
from edgekit.runtime.session import Session
from edgekit.runtime.streams import Array

LARGEST = 2**15 - 1  # of an int16 weight
FEWEST = 1e-9


@dataclass(frozen=True, eq=False)
class Canary:
    """Windows of what was known before, and how many points of accuracy on them may be lost by what is learned."""

    x: Array
    y: Array
    most_lost: float

    def accuracy(self, session: Session) -> float:
        """Per cent of the windows that are decided rightly."""
        decided = session.decide(session.run(session.arrange(self.x)))
        return float(100 * np.mean(np.asarray(decided) == self.y))


@dataclass(frozen=True)
class Verdict:
    """Whether what was learned may stay: accuracies on the canary before and after, in per cent, None without one."""

    stays: bool
    before: float | None = None
    after: float | None = None
    selftest_changed: float = 0.0
    saturated: int = 0


@dataclass(frozen=True, eq=False)
class EventLog:
    """What was learned, in order: windows and labels, with `merges` the number of windows after which tasks ended."""

    artifact_sha256: str
    x: Array
    y: Array
    merges: tuple[int, ...]

    def replay(self, session: Session) -> bytes:
        """Learn it all again, from the weights that the artifact came with; returns what was learned."""
        session.restore_learned(None)
        for at in range(len(self.x) + 1):
            for _ in range(self.merges.count(at)):
                session.merge()
            if at < len(self.x):
                session.learn(self.x[at], self.y[at])
        return session.learned()


def learned_of(session: Session, path: Path) -> Status | None:
    """Let a session take over what its artifact has learned; None where there is no journal."""
    if not session.facts.learned or not journal_path(path).exists():
        return None
    with journal_of(session, path, writable=False) as journal:
        session.restore_learned(journal.load())
        return journal.status()


@contextmanager
def journal_of(session: Session, path: Path, history: int | None = None, *, writable: bool = True) -> Iterator[Journal]:
    """The journal beside an artifact."""
    layout = session.facts.layout
    digest = bytes.fromhex(session.artifact.sha256)
    with open_journal(journal_path(path), digest, layout.learned_bytes, history, writable=writable) as journal:
        yield journal


def learn_windows(session: Session, x: Array, y: Array, progress: Callable[[int], None]) -> int | None:
    """Learn from windows one after the other; returns how many were decided rightly before they were learned.

    None where the program declares no decision over what it learns from at once.
    """
    windowed = int(session.facts.learning.get("window", 1)) > 1
    decides = not session.stateful or (windowed and session.facts.io.get("decision") is not None)
    right = 0
    for at in range(len(x)):
        progress(at)
        given = np.asarray(session.learn(x[at], int(y[at])))
        right += int(session.decide(given if session.stateful else given[None]).reshape(()) == y[at]) if decides else 0
    return right if decides else None


def judge(session: Session, before: bytes, canary: Canary | None) -> Verdict:
    """Compare what a session has learned with what it had `before`, which is put back unless it may stay.

    The canary must not lose more than it may; no weight may have become NaN or Inf. `selftest_changed` is the share of
    the steps of the artifact's self-test whose decision is another one now: that needs no data of anybody's.
    """
    learned = session.learned()
    after_steps, saturated = _selftest_decisions(session), saturated_weights(session)
    after = None if canary is None else canary.accuracy(session)
    session.restore_learned(before)
    first_steps, first = _selftest_decisions(session), None if canary is None else canary.accuracy(session)
    changed = float(np.mean(first_steps != after_steps))
    stays = canary is None or first is None or after is None or first - after <= canary.most_lost + FEWEST
    if stays:
        session.restore_learned(learned)
    return Verdict(stays, first, after, changed, saturated)


def _selftest_decisions(session: Session) -> Array:
    """What the first output of each step of the self-test decides."""
    inputs = session.artifact.selftest.inputs
    scratch = session.stream()
    scratch.restore_learned(session.learned())
    names = list(session.facts.inputs)
    y = scratch.run(*(inputs[n] for n in names), stored=session.codec is not None)
    first = np.asarray(y[0] if isinstance(y, tuple) else y)
    return np.asarray(np.argmax(first.reshape(len(first), -1), axis=1))


def saturated_weights(session: Session) -> int:
    """How many learned integers have come to the end of their range: what they learn beyond it is lost."""
    layout, blob = session.facts.layout, session.save_state()
    states = layout.unpack(blob)
    whole = [row for row in layout.rows if row.reset == "keep" and row.dtype.is_integer]
    return sum(int((np.abs(states[row.name].astype(np.int64)) >= row.dtype.limits[1]).sum()) for row in whole)


def save_log(log: EventLog, path: Path) -> None:
    """Write an event log (.npz): it holds the windows themselves."""
    from io import BytesIO

    from edgekit.artifact.atomic import write_atomic

    made = BytesIO()
    np.savez_compressed(
        made, artifact=np.array(log.artifact_sha256), x=log.x, y=log.y, merges=np.array(log.merges, np.int64)
    )
    write_atomic(path, made.getvalue(), mode=0o600)


def read_log(path: Path, session: Session) -> EventLog:
    """Read an event log of this artifact; DataError where it is none, StateError where it is another artifact's."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as z:
            log = EventLog(str(z["artifact"]), z["x"], z["y"], tuple(int(n) for n in z["merges"].reshape(-1)))
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise DataError(str(path), f"is no event log ({error})", "give what `edgekit learn --log` wrote") from error
    if log.artifact_sha256 != session.artifact.sha256:
        raise StateError(str(path), "is the log of another artifact", "replay it with the artifact it belongs to")
    if len(log.x) != len(log.y):
        raise DataError(str(path), f"has {len(log.x)} windows and {len(log.y)} labels")
    return log
