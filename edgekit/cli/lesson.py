"""What `edgekit learn --input` does: read labelled examples, learn them, and commit what passes the guards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from edgekit.cli.arrays import check_output, read_array, read_data
from edgekit.cli.exits import ANSWER_IS_NO
from edgekit.cli.learned import print_status, status_document
from edgekit.cli.output import Output
from edgekit.errors import DataError, StateError, UsageError

if TYPE_CHECKING:
    from edgekit.learn.drift import DriftDetector
    from edgekit.runtime import Session
    from edgekit.runtime.event_log import EventLog
    from edgekit.runtime.examples import Course, Examples
    from edgekit.runtime.guards import Limits, Verdict
    from edgekit.runtime.learned import Lesson

MOST_LOST = 1.0  # points of accuracy on the canary
MOST_MARK = 2**32 - 1


@dataclass(frozen=True)
class Asked:
    """The options of a lesson, None for those that were not given."""

    input_file: Path
    labels: Path | None = None
    passes: int | None = None
    end_task: bool = False
    detect: bool = False
    canary: Path | None = None
    max_drop: float | None = None
    max_change: float | None = None
    history: int | None = None
    log: Path | None = None

    def check(self) -> None:
        """UsageError for numbers that make no sense, DataError for a log that cannot be written."""
        if self.passes is not None and not 1 <= self.passes <= 1_000_000:
            raise UsageError(f"--passes {self.passes}", "is not from 1 to 1,000,000")
        if self.detect and self.passes not in (None, 1):
            raise UsageError(
                "--passes", "is not used with --detect: windows that come again are not new", "leave it out"
            )
        if self.max_drop is not None and self.canary is None:
            raise UsageError("--max-drop", "is not used without --canary", "name windows of what was known before")
        for option, value in (("--max-drop", self.max_drop), ("--max-change", self.max_change)):
            if value is not None and not 0 <= value <= 100:
                raise UsageError(f"{option} {value:g}", "is not from 0 to 100")
        if self.log is not None:
            check_output(self.log)
            for other in (self.input_file, self.labels, self.canary):
                if other is not None and self.log.exists() and other.exists() and self.log.samefile(other):
                    raise UsageError(f"--log {self.log}", "is what is to be read", "name another file")


@dataclass(frozen=True)
class Outcome:
    """How a lesson went."""

    lesson: Lesson
    verdict: Verdict
    seconds: float
    instructions: int | None = None  # of the lesson, steps and all, where they can be counted


def give_lesson(session: Session, path: Path, out: Output, asked: Asked) -> None:
    """Learn, judge, commit and answer; the exit code is 1 where a guard refuses what was learned."""
    from edgekit.learn.drift import DriftDetector
    from edgekit.runtime.examples import Course, check_detects, check_ends, check_examples, plan_course
    from edgekit.runtime.learned import journal_of, take_over

    thing = str(asked.input_file)
    examples = check_examples(session, _read(session, asked.input_file, asked.labels, tasks=True), thing)
    passes = 1 if asked.passes is None else asked.passes
    limits, notes = _limits(session, asked), list[str]()
    if session.tasks is None and examples.task is not None and not asked.end_task:
        notes.append("the tasks in the data are not used: this rule has none to end")
        examples = type(examples)(examples.inputs, examples.y)
    if asked.detect:
        check_detects(session)
        if examples.task is not None:
            raise UsageError("--detect", f"{thing} says itself where tasks end", "leave it out, or the array task")
    course = plan_course(examples, passes, end_task=asked.end_task)
    check_ends(session, course.merges)  # before a journal is made; what it holds may leave fewer
    with journal_of(session.artifact, path, asked.history) as journal:
        before = journal.status()
        if not before.learning:
            raise StateError(str(path), "learning is switched off", f"edgekit learn {path} --switch on")
        kept = take_over(session, journal, path)
        check_ends(session, course.merges)
        earlier = _earlier_log(session, asked.log, kept)
        outcome = _learn(session, out, examples, course, kept, limits, DriftDetector() if asked.detect else None)
        course = Course(course.order, outcome.lesson.merges)
        if outcome.verdict.stays:
            learned = session.learned()
            with _logged(session, asked.log, earlier, examples, course, kept, learned):
                journal.commit(learned, mark=min(before.mark + len(course), MOST_MARK))
        after = journal.status()
        now = journal.load()
    status = status_document(session.facts, after, now)
    verdict, lesson = outcome.verdict, outcome.lesson
    told = examples.y is not None and lesson.overflow is None
    document = {
        "artifact": str(path),
        "engine": session.engine,
        "windows": len(examples),
        "passes": passes,
        "updates": lesson.events,
        "tasks_ended_after": list(lesson.merges),
        "drifts_found_after": list(lesson.drifts),
        "instructions": outcome.instructions,
        "right_before_learning": lesson.right_at_first / len(examples) if told else None,
        "committed": verdict.stays,
        "reasons": list(verdict.reasons),
        "canary_before": verdict.before,
        "canary_after": verdict.after,
        "selftest_steps": verdict.steps,
        "selftest_changed": verdict.changed,
        "saturated_weights": verdict.saturated,
        "notes": notes,
        "log": str(asked.log) if asked.log is not None and verdict.stays else None,
        "seconds": round(outcome.seconds, 4),
        "status": status,
    }

    def human(console: Console) -> None:
        console.print(f"engine: {session.engine}")
        _print_outcome(console, examples, passes, outcome)
        for note in notes:
            console.print(f"note: {note}")
        print_status(console, status)
        if document["log"] is not None:
            console.print(f"wrote {asked.log}: it holds the windows themselves")

    out.answer(document, human)
    if not verdict.stays:
        raise typer.Exit(ANSWER_IS_NO)


def _read(session: Session, path: Path, labels: Path | None = None, *, tasks: bool = False) -> Examples:
    """Labelled examples from a file, and if asked for the task of each where the file has that."""
    from edgekit.runtime.examples import Examples, check_labels

    names = tuple(session.facts.inputs)
    data = read_data(path, names)
    if labels is not None and data.y is not None:
        raise UsageError("--labels", f"{path} has labels y itself", "leave one of them out")
    y = data.y
    if labels is not None:
        if (y := read_array(labels, "y")) is None:
            raise DataError(str(labels), "has no array 'y'")
        check_labels(y, len(data.x), session.classes, str(labels))
    named = tasks and path.suffix == ".npz" and "task" not in names
    return Examples(data.inputs, y, read_array(path, "task") if named else None)


def _limits(session: Session, asked: Asked) -> Limits:
    from edgekit.runtime.examples import check_canary
    from edgekit.runtime.guards import Limits

    canary = None
    if asked.canary is not None:
        canary = check_canary(session, _read(session, asked.canary), str(asked.canary))
    return Limits(canary, MOST_LOST if asked.max_drop is None else asked.max_drop, asked.max_change)


def _learn(
    session: Session,
    out: Output,
    examples: Examples,
    course: Course,
    kept: bytes,
    limits: Limits,
    detector: DriftDetector | None,
) -> Outcome:
    """Learn and judge; where the answer is no the session is as it was before."""
    from edgekit.runtime.guards import TOO_FAST, Verdict, judge
    from edgekit.runtime.learned import learn_course

    started = time.perf_counter()
    with out.stages() as progress, _counted(session) as count:
        lesson = learn_course(session, examples, course, lambda at: progress("learn", at, len(course)), detector)
        instructions = count()
    with out.stages() as progress:
        if lesson.overflow is not None:
            session.restore_learned(kept)
            why = f"the outputs became NaN or Inf after {lesson.overflow:,} updates: {TOO_FAST}"
            return Outcome(lesson, Verdict(reasons=(why,)), time.perf_counter() - started, instructions)
        progress("look at what was known before")
        verdict = judge(session, kept, limits)
    return Outcome(lesson, verdict, time.perf_counter() - started, instructions)


@contextmanager
def _counted(session: Session) -> Iterator[Callable[[], int | None]]:
    """Count instructions as long as this lasts, where the engine can; what is given says how many there were."""
    from edgekit.runtime.streams import MachineStream

    stream = session.engine_stream
    if not isinstance(stream, MachineStream) or not stream.counts:
        yield lambda: None
        return
    before, stream.counting = stream.total_instructions(), True
    try:
        yield lambda: stream.total_instructions() - before
    finally:
        stream.counting = False


def _earlier_log(session: Session, path: Path | None, kept: bytes) -> EventLog | None:
    """The log that is there already, which is then gone on with; UsageError where it does not end where this begins."""
    from edgekit.runtime.event_log import digest, read_log

    if path is None or not path.exists():
        return None
    try:
        log = read_log(path, session)
    except (DataError, StateError) as error:
        raise UsageError(f"--log {path}", f"is there already, and {error.cause}", "name another file") from error
    if log.after != digest(kept):
        cause = "is there already, and does not end with what the journal holds now"
        raise UsageError(f"--log {path}", cause, "name another file")
    return log


@contextmanager
def _logged(
    session: Session,
    path: Path | None,
    earlier: EventLog | None,
    examples: Examples,
    course: Course,
    kept: bytes,
    learned: bytes,
) -> Iterator[None]:
    """Write what was learned from when the commit is made: a log without its commit would be wrong."""
    from edgekit.artifact.atomic import staged
    from edgekit.runtime.event_log import EventLog, digest

    if path is None:
        yield
        return
    began = b"" if kept == session.facts.layout.first_learned() else kept
    log = EventLog(session.artifact.sha256, examples, course, began, digest(learned), session.engine)
    whole = log if earlier is None else earlier.continued(log)
    with staged(path, whole.packed(), mode=0o600):
        yield


def _print_outcome(console: Console, examples: Examples, passes: int, outcome: Outcome) -> None:
    lesson, verdict, count = outcome.lesson, outcome.verdict, len(examples)
    each = 1000 * outcome.seconds / max(lesson.events, 1)
    times = "once" if passes == 1 else f"{passes} times"
    console.print(f"{count:,} windows {times}, {outcome.seconds:.2f} s ({each:.2f} ms for each update)")
    if outcome.instructions is not None:
        once = f"{outcome.instructions / max(lesson.events, 1):,.0f} for each update and its steps (emulated, exact)"
        console.print(f"instructions: {outcome.instructions:,}, {once}")
    if examples.y is not None and lesson.overflow is None:
        console.print(f"decided rightly before each was learned: {100 * lesson.right_at_first / count:.2f} %")
    for at in lesson.drifts:
        ended = "a task ended there" if at in lesson.merges else "no task is left to end"
        console.print(f"a drift was found after window {at:,}: {ended}")
    if verdict.before is not None and verdict.after is not None:
        console.print(f"canary: {verdict.before:.2f} % -> {verdict.after:.2f} %")
    if verdict.steps:
        share = f"{verdict.changed} of {verdict.steps} ({verdict.share_changed:.1f} %)"
        console.print(f"decisions on the self-test that changed: {share}")
    if verdict.saturated:
        what = "weight is at the end of its" if verdict.saturated == 1 else "weights are at the end of their"
        console.print(f"warning: {verdict.saturated:,} {what} range: what they learn beyond it is lost")
    for reason in verdict.reasons:
        console.print(f"no commit: {reason}; everything is as it was before")
