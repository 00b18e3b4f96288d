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
    from edgekit.learn.journal import Status
    from edgekit.runtime import Session


def look_after(session: Session, path: Path, out: Output, verb: str, *, to: int | None, switch: str | None) -> None:
    """Print what was learned, after it was changed as asked."""
    from edgekit.learn.journal_file import journal_path
    from edgekit.runtime.learned import journal_of

    if switch not in (None, "on", "off"):
        raise UsageError(f"--switch {switch}", "is neither on nor off")
    if verb in ("rollback", "reset", "forget") and not journal_path(path).exists():
        raise StateError(str(path), "has learned nothing yet", "there is nothing to take back")
    with journal_of(session, path, writable=verb != "status") as journal:
        if verb == "rollback":
            journal.rollback(to)
        elif verb == "reset":
            journal.reset()
        elif verb == "forget":
            journal.forget()
        elif verb == "switch":
            journal.switch(switch == "on")
        after = journal.status()
    out.answer(
        {"artifact": str(path), "status": status_document(session, after)}, lambda c: print_status(c, session, after)
    )


def export_to(session: Session, path: Path, out: Output, target: Path | None) -> None:
    """Write an artifact with what was learned built in."""
    from edgekit.convert.learned import export_learned

    if target is None:
        raise UsageError("export", "needs a file to write", "--export learned.edge")
    check_output(target)
    if target.exists() and target.samefile(path):
        raise UsageError(str(target), "is the artifact itself, which never changes", "name another file")
    with out.stages() as progress:
        made = export_learned(session, progress)
        made.save(target)

    def human(console: Console) -> None:
        commit = session.commit
        console.print(
            f"wrote {target}: {kilobytes(len(made.packed))}, commit {commit.commit if commit else 0} built in"
        )

    document = {"artifact": str(path), "exported": str(target), "sha256": made.sha256}
    out.answer({**document, "commit": session.commit.commit if session.commit else 0}, human)


def replay_log(session: Session, path: Path, out: Output, log: Path | None) -> None:
    """Learn a log again and compare."""
    import hashlib

    from edgekit.runtime.learned import read_log

    if log is None:
        raise UsageError("replay", "needs a log", "--replay events.npz")
    now = session.learned()
    events = read_log(log, session)
    with out.stages() as progress:
        progress("learn it again")
        learned = events.replay(session)
    same = learned == now
    digest = hashlib.sha256(learned).hexdigest()

    def human(console: Console) -> None:
        console.print(f"engine: {session.engine}")
        console.print(f"{len(events.x):,} windows learned again; SHA-256 of what was learned {digest}")
        console.print("the same bytes as in the journal" if same else "not what the journal holds")

    document = {"artifact": str(path), "engine": session.engine, "windows": len(events.x), "sha256": digest}
    out.answer({**document, "same_as_journal": same}, human)
    if not same:
        raise typer.Exit(ANSWER_IS_NO)


def status_document(session: Session, status: Status) -> dict[str, Any]:
    """What a journal holds, for machines."""
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
        "learned_bytes": session.facts.layout.learned_bytes,
        "rule": session.facts.learning.get("rule"),
    }


def print_status(console: Console, session: Session, status: Status) -> None:
    """What a journal holds, for people."""
    rows = table("", "")
    rows.show_header = False
    what = "the weights it came with" if status.factory else f"commit {status.source}, {status.mark:,} windows learned"
    rows.add_row("in use", what)
    rows.add_row("newest commit", str(status.commit or "none"))
    rows.add_row("can go back to", ", ".join(map(str, (*status.history, 0))))
    rows.add_row("learning", "on" if status.learning else "off")
    rows.add_row("rule", str(session.facts.learning.get("rule", "?")))
    rows.add_row("learned", kilobytes(session.facts.layout.learned_bytes))
    rows.add_row("journal", f"{status.slots} slots of {kilobytes(status.slot_bytes)}")
    rows.add_row("erases of a page", str(max(status.erases)))
    for text in status.damaged:
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
    else:
        lines.append("  an update: instructions unavailable, the target is not emulated")
    return [*lines, "  energy of an update: unavailable, no sourced power of the target"]
