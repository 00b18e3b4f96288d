"""What `edgekit learn` says of what was learned, and what it does with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from edgekit.cli.arrays import check_output
from edgekit.cli.exits import ANSWER_IS_NO
from edgekit.cli.output import Output, kilobytes, table
from edgekit.errors import StateError, UsageError
from edgekit.learn.journal_file import PAGE_BYTES
from edgekit.learn.journal_format import slot_bytes

if TYPE_CHECKING:
    from edgekit.artifact import Artifact
    from edgekit.learn.journal import Journal, Status
    from edgekit.runtime import Session
    from edgekit.runtime.facts import Facts

SWITCH = ("on", "off")


def look_after(artifact: Artifact, path: Path, out: Output, verb: str, *, to: int | None, switch: str | None) -> None:
    """Print what was learned, after it was changed as asked; no code of the program is run."""
    from edgekit.learn.journal_file import journal_path
    from edgekit.runtime.facts import artifact_facts
    from edgekit.runtime.learned import journal_of

    if switch is not None and switch not in SWITCH:
        raise UsageError(f"--switch {switch}", "is neither on nor off")
    if verb in ("rollback", "reset", "forget") and not journal_path(path).exists():
        raise StateError(str(path), "has learned nothing yet", "there is nothing to take back")
    with journal_of(artifact, path, writable=verb != "status") as journal:
        _change(journal, verb, to, switch)
        after, now = journal.status(), journal.load()
    status = status_document(artifact_facts(artifact), after, now)
    out.answer({"artifact": str(path), "status": status}, lambda console: print_status(console, status))


def _change(journal: Journal, verb: str, to: int | None, switch: str | None) -> None:
    if verb == "rollback":
        journal.rollback(to)
    elif verb == "reset":
        journal.reset()
    elif verb == "forget":
        journal.forget()
    elif verb == "switch":
        journal.switch(switch == "on")


def export_to(path: Path, out: Output, target: Path | None) -> None:
    """Write an artifact with what was learned built in."""
    from edgekit.convert.learned import export_learned
    from edgekit.learn.journal_file import journal_path
    from edgekit.runtime import load

    if target is None:
        raise UsageError("export", "needs a file to write", "--export learned.edge")
    check_output(target)
    if target.exists() and target.samefile(path):
        raise UsageError(str(target), "is the artifact itself, which never changes", "name another file")
    if journal_path(target).exists():
        cause = f"has a journal, {journal_path(target).name}, which would not be that of the new artifact"
        raise UsageError(str(target), cause, "name another file, or remove the journal")
    session = load(path, engine="reference")  # nothing is run but what is made
    with out.stages() as progress:
        made = export_learned(session, progress)
        made.save(target)
    commit = session.commit.source if session.commit else 0

    def human(console: Console) -> None:
        what = f"commit {commit} built in" if commit else "nothing was learned: the weights it came with"
        console.print(f"wrote {target}: {kilobytes(len(made.packed))}, {what}")

    document = {"artifact": str(path), "exported": str(target), "sha256": made.sha256, "commit": commit}
    out.answer(document, human)


def replay_log(session: Session, path: Path, out: Output, log: Path | None) -> None:
    """Learn a log again and compare; the exit code is 1 where something else is learned than it says."""
    from edgekit.runtime.event_log import digest, read_log
    from edgekit.runtime.learned import replay

    if log is None:
        raise UsageError("replay", "needs a log", "--replay events.npz")
    held = None if session.commit is None else digest(session.learned())
    events = read_log(log, session)
    with out.stages() as progress:
        found = digest(replay(session, events, lambda at: progress("learn it again", at, len(events.course))))
    same = found == events.after

    def human(console: Console) -> None:
        console.print(f"engine: {session.engine}")
        console.print(f"{len(events.course):,} updates made again; SHA-256 of what was learned {found}")
        differs = f"other bytes than when it was learned, on {events.engine}"
        console.print("the same bytes as when it was learned" if same else differs)
        if held is not None:
            console.print("the same bytes as in the journal" if held == found else "not what the journal holds")

    document = {
        "artifact": str(path),
        "engine": session.engine,
        "learned_on": events.engine,
        "updates": len(events.course),
        "sha256": found,
        "same_as_logged": same,
        "same_as_journal": None if held is None else held == found,
    }
    out.answer(document, human)
    if not same or held not in (None, found):
        raise typer.Exit(ANSWER_IS_NO)


def status_document(facts: Facts, status: Status, learned: bytes | None) -> dict[str, Any]:
    """What a journal holds, for machines; `learned` is its newest payload, None for the weights it came with."""
    from edgekit.runtime.kept import saturated, tasks_of

    kept = facts.layout.first_learned() if learned is None else learned
    tasks = tasks_of(facts, kept)
    return {
        "commit": status.commit,
        "source": status.source,
        "windows": status.mark,
        "factory": status.factory,
        "learning": status.learning,
        "history": list(status.history),
        "damaged": list(status.damaged),
        "slots": status.slots,
        "slot_bytes": status.slot_bytes,
        "page_bytes": status.page_bytes,
        "erases": list(status.erases),
        "learned_bytes": facts.layout.learned_bytes,
        "rule": facts.learning.get("rule"),
        "tasks_ended": None if tasks is None else tasks.done,
        "tasks": None if tasks is None else tasks.most,
        "saturated_weights": saturated(facts, kept),
    }


def print_status(console: Console, status: Mapping[str, Any]) -> None:
    """What a journal holds, for people."""
    rows = table("", "")
    rows.show_header = False
    used = f"commit {status['source']}, {status['windows']:,} windows learned"
    rows.add_row("in use", "the weights it came with" if status["factory"] else used)
    rows.add_row("newest commit", str(status["commit"] or "none"))
    rows.add_row("can go back to", ", ".join(map(str, (*status["history"], 0))))
    rows.add_row("learning", "on" if status["learning"] else "off")
    rows.add_row("rule", str(status["rule"] or "?"))
    if status["tasks_ended"] is not None:
        of = "" if status["tasks"] is None else f" of {status['tasks']}"
        rows.add_row("tasks ended", f"{status['tasks_ended']}{of}")
    rows.add_row("learned", kilobytes(status["learned_bytes"]))
    rows.add_row("journal", f"{status['slots']} slots of {kilobytes(status['slot_bytes'])}")
    rows.add_row("erases of a page", str(max(status["erases"])))
    if status["saturated_weights"]:
        rows.add_row("at the end of their range", f"{status['saturated_weights']:,} weights")
    for text in status["damaged"]:
        rows.add_row("passed over", text)
    console.print(rows)


def learning_lines(manifest: Mapping[str, Any]) -> list[str]:
    """What learning costs and how it goes, before it is used; nothing for a program that does not learn."""
    found = manifest.get("learning")
    if found is None:
        return []
    plastic, window = ", ".join(found["plastic"]), found.get("window", 1)
    lines = [
        f"learning: {found['rule']}, plastic {plastic}, from {'a step' if window == 1 else f'{window} steps'} at once"
    ]
    if "subspace" in found:
        rows, turns = ", ".join(map(str, found["subspace"])), found["iterations"]
        lines.append(f"  lateral rows of each task: {rows}; {turns} Hebbian iterations in an update")
    slot = slot_bytes(found["journal_bytes"], PAGE_BYTES)
    lines.append(
        f"  RAM: {kilobytes(found['ram_bytes'])} of the program's; journal: {kilobytes(slot)} of flash a commit"
    )
    if counts := found.get("instructions"):
        update = counts["learn"] + window * counts.get("gather", 0)
        inference = window * counts["step"]
        of_inference = f"{update / inference:.2f} times the {inference:,} of inference"
        lines.append(f"  an update: {update:,} instructions (emulated), {of_inference}")
        return [*lines, *_estimates(update, str(manifest["target"]))]
    return [*lines, "  an update: instructions, time and energy unavailable, the target is not emulated"]


def _estimates(instructions: int, target: str) -> list[str]:
    """Time and energy of an update where the target's figures have sources."""
    from edgekit.profile.estimate import estimates
    from edgekit.profile.numbers import quantity
    from edgekit.target import load_target

    lines = []
    for found in estimates(instructions, load_target(target)):
        what = found.name.replace("per step", "of an update")
        value = found.grade
        if found.value is not None:
            low, high = (found.value if end is None else end for end in (found.low, found.high))
            between = f"{quantity(low, found.unit)} to {quantity(high, found.unit)}"
            value = f"{quantity(found.value, found.unit)} ({found.grade}, {between})"
        assumed = "".join(f"; assumed: {text.partition(':')[0]}" for text in found.assumptions)
        lines.append(f"  {what}: {value}, {found.formula}{assumed}")
    return lines
