"""`edgekit learn`: let a program learn from labelled windows, and look after what it has learned."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console

from edgekit.cli.arrays import check_output, read_data
from edgekit.cli.exits import ANSWER_IS_NO
from edgekit.cli.learned import export_to, look_after, print_status, replay_log, status_document
from edgekit.cli.output import JsonOption, Output, QuietOption
from edgekit.cli.run import PLACES
from edgekit.errors import DataError, StateError, UsageError

if TYPE_CHECKING:
    from edgekit.runtime import Session
    from edgekit.runtime.learned import Verdict

ACTIONS = ("status", "rollback", "export", "reset", "forget", "replay")
MOST_LOST = 1.0  # points of accuracy on the canary


def learn(
    words: Annotated[
        list[str],
        typer.Argument(metavar="[ACTION] FILE", help=f"The .edge file; an action before it: {', '.join(ACTIONS)}."),
    ],
    input_file: Annotated[
        Path | None, typer.Option("--input", "-i", help="Windows in raw units: .npy, or .npz with x, and perhaps y.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Their classes, .npy, where the input has no y.")] = None,
    passes: Annotated[int, typer.Option(help="How often the windows are gone through.")] = 1,
    end_task: Annotated[
        bool, typer.Option("--end-task", help="A task ends after these windows: protect what was learned (hlop).")
    ] = False,
    canary: Annotated[
        Path | None, typer.Option(help="Labelled windows of what was known before (.npz): looked at before a commit.")
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(help=f"Points of accuracy that the canary may lose; {MOST_LOST:g}. More: no commit.")
    ] = None,
    history: Annotated[
        int | None, typer.Option(help="Earlier commits that a new journal keeps; 1.", show_default=False)
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="Also write what was learned from (.npz), windows included, to replay it.")
    ] = None,
    on: Annotated[str, typer.Option(help="host, or emulator: the target's own machine code.")] = "host",
    status: Annotated[bool, typer.Option("--status", help="Say what was learned.")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Take back the newest commit.")] = False,
    to: Annotated[int | None, typer.Option(help="With rollback: the commit to go back to; 0: as it came.")] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Go back to the weights it came with; can be rolled back.")
    ] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Erase all that was learned, the history too.")] = False,
    export: Annotated[Path | None, typer.Option(help="Write an artifact with what was learned built in.")] = None,
    replay: Annotated[Path | None, typer.Option(help="Learn a log again from the start, and compare.")] = None,
    switch: Annotated[str | None, typer.Option(help="off: refuse to learn; on: allow it again.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="With the action export: the file.")] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Learn from labelled windows, in the journal MODEL.edge.journal beside the artifact, which never changes.

    Nothing of the windows is kept, unless --log asks for it. A commit is whole or not there, whenever power is lost.
    """
    action, path = _words(words)
    flags = {"status": status, "rollback": rollback, "reset": reset, "forget": forget}
    flags |= {"export": export is not None, "replay": replay is not None, "switch": switch is not None}
    asked = [name for name, given in flags.items() if given]
    if action is not None and action not in asked:
        asked.insert(0, action)
    if len(asked) > 1:
        raise UsageError(" and ".join(asked), "cannot be done at once", "one after the other")
    verb = asked[0] if asked else "learn" if input_file is not None else "status"
    _check_uses(
        verb,
        {
            "--input": input_file,
            "--labels": labels,
            "--end-task": end_task or None,
            "--canary": canary,
            "--log": log,
            "--history": history,
            "--passes": passes if passes != 1 else None,
            "--max-drop": max_drop,
            "--to": to,
            "--output": output,
        },
    )
    from edgekit.runtime import load

    if on not in PLACES:
        raise UsageError(f"--on {on}", "is not known", f"known are {', '.join(PLACES)}")
    if max_drop is not None and canary is None:
        raise UsageError("--max-drop", "is not used without --canary", "name windows of what was known before")
    session = load(path, engine=PLACES[on])
    if not session.facts.learned:
        raise UsageError(str(path), "does not learn", "convert the model with --learn delta, or --learn hlop")
    out = Output(as_json=json, quiet=quiet)
    if verb == "learn":
        x, y = _windows(session, input_file, labels)
        _learn(
            session,
            path,
            out,
            x=x,
            y=y,
            passes=passes,
            end_task=end_task,
            canary=_canary(session, canary, MOST_LOST if max_drop is None else max_drop),
            history=history,
            log=log,
        )
    elif verb == "export":
        export_to(session, path, out, export or output)
    elif verb == "replay":
        replay_log(session, path, out, replay)
    else:
        look_after(session, path, out, verb, to=to, switch=switch)


def _words(words: list[str]) -> tuple[str | None, Path]:
    """The action, if there is one, and the file."""
    if len(words) == 1:
        return None, Path(words[0])
    action, *files = words
    if action not in ACTIONS:
        raise UsageError(f"action {action!r}", "is not known", f"known are {', '.join(ACTIONS)}")
    if len(files) != 1:
        raise UsageError(f"edgekit learn {action}", f"takes one file, got {len(files)}")
    return action, Path(files[0])


_USES = {
    "learn": {"--input", "--labels", "--end-task", "--canary", "--log", "--history", "--passes", "--max-drop"},
    "rollback": {"--to"},
    "export": {"--output"},
}


def _check_uses(verb: str, given: dict[str, Any]) -> None:
    unused = [name for name, value in given.items() if value is not None and name not in _USES.get(verb, set())]
    if unused:
        what = "learning" if verb == "learn" else verb
        raise UsageError(", ".join(unused), f"is not used with {what}", "leave it out")


def _windows(session: Session, path: Path | None, labels: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Windows [N, T, channels], or [N, features] of a program that learns from single steps, and their classes."""
    if path is None:
        raise UsageError("edgekit learn", "needs windows to learn from", "--input windows.npz")
    data = read_data(path, tuple(session.facts.inputs))
    if len(data.inputs) > 1:
        raise UsageError(str(path), "holds several inputs", "learning over several inputs is for Python: session.learn")
    y = data.y
    if labels is not None:
        y = np.load(labels, allow_pickle=False) if labels.suffix == ".npy" else read_data(labels).y
    if y is None:
        raise DataError(str(path), "has no labels y", "give them with --labels classes.npy")
    x = session.arrange(data.x)
    y = np.asarray(y)
    if y.dtype.kind not in "iu" or y.shape != x.shape[:1]:
        raise DataError(str(labels or path), f"has labels {y.dtype}{y.shape} for {len(x)} windows", "one class each")
    return x, y


def _canary(session: Session, path: Path | None, most_lost: float) -> Any:
    from edgekit.runtime.learned import Canary

    if path is None:
        return None
    x, y = _windows(session, path, None)
    return Canary(x, y, most_lost)


def _learn(
    session: Session,
    path: Path,
    out: Output,
    *,
    x: np.ndarray,
    y: np.ndarray,
    passes: int,
    end_task: bool,
    canary: Any,
    history: int | None,
    log: Path | None,
) -> None:
    from edgekit.runtime.learned import EventLog, journal_of, judge, learn_windows, save_log

    if log is not None:
        check_output(log)
    if passes < 1:
        raise UsageError(f"--passes {passes}", "is not 1 or more")
    started = time.perf_counter()
    with journal_of(session, path, history) as journal:
        before = journal.status()
        if not before.learning:
            raise StateError(str(path), "learning is switched off", "edgekit learn FILE --switch on")
        kept, right = session.learned(), None
        with out.stages() as progress:
            for turn in range(passes):
                first = turn * len(x)
                found = learn_windows(session, x, y, partial(_show, progress, first, passes * len(x)))
                right = right if turn else found
            if end_task:
                session.merge()
            progress("look at what was known before")
            verdict = judge(session, kept, canary)
        if verdict.stays:
            journal.commit(session.learned(), mark=min(before.mark + passes * len(x), 2**32 - 1))
        after = journal.status()
    if log is not None and verdict.stays:
        merges = (passes * len(x),) if end_task else ()
        logged = EventLog(
            session.artifact.sha256, np.tile(x, (passes, *[1] * (x.ndim - 1))), np.tile(y, passes), merges
        )
        save_log(logged, log)
    seconds = time.perf_counter() - started

    def human(console: Console) -> None:
        console.print(f"engine: {session.engine}")
        each = 1000 * seconds / (passes * len(x))
        console.print(f"{len(x):,} windows, {passes} times, {seconds:.2f} s ({each:.2f} ms each)")
        if right is not None:
            console.print(f"decided rightly before each was learned: {100 * right / len(x):.2f} %")
        _print_verdict(console, verdict)
        print_status(console, session, after)
        if log is not None and verdict.stays:
            console.print(f"wrote {log}: it holds the windows themselves")

    document = {
        "artifact": str(path),
        "engine": session.engine,
        "windows": len(x),
        "passes": passes,
        "right_before_learning": None if right is None else right / len(x),
        "committed": verdict.stays,
        "canary_before": verdict.before,
        "canary_after": verdict.after,
        "selftest_changed": verdict.selftest_changed,
        "saturated_weights": verdict.saturated,
        "seconds": round(seconds, 4),
        "status": status_document(session, after),
    }
    out.answer(document, human)
    if not verdict.stays:
        raise typer.Exit(ANSWER_IS_NO)


def _show(progress: Any, first: int, total: int, at: int) -> None:
    progress("learn", first + at, total)


def _print_verdict(console: Console, verdict: Verdict) -> None:
    if verdict.before is not None and verdict.after is not None:
        console.print(f"canary: {verdict.before:.2f} % -> {verdict.after:.2f} %")
    console.print(f"decisions on the self-test that changed: {100 * verdict.selftest_changed:.1f} %")
    if verdict.saturated:
        console.print(f"warning: {verdict.saturated:,} weights are at the end of their range: what they learn is lost")
    if not verdict.stays:
        console.print("no commit: the canary lost more than it may; everything is as it was before")
