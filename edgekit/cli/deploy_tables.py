"""What `edgekit deploy` tells people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from edgekit.cli.output import kilobytes, table

if TYPE_CHECKING:
    from edgekit.deploy import Change, Installed, Outcome, Result


def print_outcomes(console: Console, results: list[Result[Outcome]]) -> None:
    """What became of each board, and what there is to know beside it."""
    rows = table("board", "arch", "state", "version", "self-test", "copied", right=(5,))
    for one in results:
        if (o := one.found) is None:
            rows.add_row(str(one.to), "", "failed", "", "", "")
            continue
        test = f"{o.selftest.steps} steps, error {o.selftest.worst_error:.1g}" if o.selftest else ""
        copied = kilobytes(o.copied_bytes) if o.copied_bytes else ""
        rows.add_row(str(one.to), o.board.arch, o.state, o.version, test, copied)
    console.print(rows)
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


def print_changes(console: Console, results: list[Result[Change]]) -> None:
    """What became of an artifact and its service on each board."""
    for one in results:
        if (change := one.found) is not None:
            name = f"{one.to}: {change.name} {change.was or 'without a current version'}"
            if change.was is None or change.now != change.was:
                console.print(f"{name}: {f'back at {change.now}' if change.now else 'removed'}")
            if change.service is not None:
                console.print(f"{name}: service {change.service}")


def print_list(console: Console, results: list[Result[tuple[Installed, ...]]]) -> None:
    """What is deployed on each board; what boards say of it is made printable."""
    from edgekit.profile.ssh_said import printable

    rows = table("board", "artifact", "version", "target", "precision", "deployed", "before")
    for one in results:
        for item in one.found or ():
            said = item.current.document if item.current else {}
            current, before = item.current, item.before
            texts = [printable(str(said.get(key, ""))) for key in ("target", "precision", "deployed")]
            rows.add_row(
                str(one.to), item.name, current.name if current else "none", *texts, before.name if before else ""
            )
        if one.found == ():
            rows.add_row(str(one.to), "nothing is deployed", "", "", "", "", "")
    console.print(rows)
