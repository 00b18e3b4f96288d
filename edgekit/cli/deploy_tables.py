"""What `edgekit deploy` tells people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from edgekit.cli.output import kilobytes, table

if TYPE_CHECKING:
    from edgekit.deploy import Change, Installed, Outcome, Result


_NO_END = 10_000  # columns


def _table(*columns: str, right: tuple[int, ...] = ()) -> Table:
    """A table that folds what is too long: a name that was cut could not be copied."""
    rows = table(*columns, right=right)
    for column in rows.columns:
        column.overflow = "fold"
    return rows


def _print_table(console: Console, rows: Table) -> None:
    """A row is a line where no person looks, however long its address is."""
    if not console.is_terminal:
        console.width = _NO_END
    console.print(rows)


def print_outcomes(console: Console, results: list[Result[Outcome]]) -> None:
    """What became of each board, and what there is to know beside it."""
    rows = _table("board", "arch", "state", "version", "self-test", "copied", right=(5,))
    for one in results:
        if (o := one.found) is None:
            rows.add_row(str(one.to), "", "failed", "", "", "")
            continue
        test = f"{o.selftest.steps} steps, error {o.selftest.worst_error:.1g}" if o.selftest else ""
        copied = kilobytes(o.copied_bytes) if o.copied_bytes else ""
        rows.add_row(str(one.to), o.board.arch, o.state, o.version, test, copied)
    _print_table(console, rows)
    for one in results:
        if (o := one.found) is None:
            continue
        if not o.path:
            said = {key: value for key, value in o.board.to_dict().items() if value is not None}
            console.print(f"{one.to}: {', '.join(f'{key} {value}' for key, value in said.items())}")
        else:
            console.print(f"{one.to}: {o.path}/{'run reads samples, and prints decisions' if o.can_stream else ''}")
            if not o.can_stream:
                console.print(f"{one.to}: decides about no stream there: {o.no_stream}")
            if o.engine_dropped:
                console.print(f"{one.to}: its TensorRT engine stays behind with the version before; give --tensorrt")
            if o.engine_error is not None:
                console.print(f"{one.to}: TensorRT engine, first step's error {o.engine_error:.1g}; untested on device")
            if o.service is not None:
                console.print(f"{one.to}: service {o.unit}: {o.service}")
            if o.left is not None:
                console.print(f"{one.to}: {o.left}")


def print_changes(console: Console, results: list[Result[Change]]) -> None:
    """What became of an artifact and its service on each board."""
    for one in results:
        if (change := one.found) is not None:
            name = f"{one.to}: {change.name} {change.was or 'without a current version'}"
            if change.was is None or change.now != change.was:
                console.print(f"{name}: {f'back at {change.now}' if change.now else 'removed'}")
            if change.service is not None:
                console.print(f"{name}: service {change.unit}: {change.service}")
            if change.left is not None:
                console.print(f"{name}: {change.left}")


def print_list(console: Console, results: list[Result[tuple[Installed, ...]]]) -> None:
    """What is deployed on each board; what boards say of it is made printable."""
    from edgekit.profile.ssh_said import printable

    rows = _table("board", "artifact", "version", "target", "precision", "deployed", "before", "unit")
    for one in results:
        for item in one.found or ():
            said = item.current.document if item.current else {}
            current, before = item.current, item.before
            texts = [printable(str(said.get(key, ""))) for key in ("target", "precision", "deployed")]
            state = "" if current is None or current.state == "accepted" else f" ({current.state})"
            version = f"{current.name}{state}" if current else "none"
            rows.add_row(str(one.to), item.name, version, *texts, before.name if before else "", item.unit or "")
        if one.found == ():
            rows.add_row(str(one.to), "nothing is deployed", *[""] * 6)
    _print_table(console, rows)
