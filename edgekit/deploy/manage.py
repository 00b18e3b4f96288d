"""What is on a board already: list it, go back to the version before, take a service or an artifact away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgekit.deploy.asking import SWITCH, request
from edgekit.deploy.contents import document_bytes
from edgekit.deploy.destination import Destination
from edgekit.deploy.installed import DOCUMENT, Installed, Version, base_of, hold, installed, only, whole
from edgekit.deploy.service import Service, follow_service, service_now, service_of, stop_service, unit_name
from edgekit.deploy.trusting import release_there
from edgekit.deploy.undo import undo
from edgekit.errors import TargetError
from edgekit.profile.counts import Progress, silent
from edgekit.profile.ssh import Ssh
from edgekit.profile.ssh_stop import Stop


@dataclass(frozen=True)
class Change:
    """What became of an artifact on a board: its current version before and after, None where there is none; what
    became of its service and that one's `unit`, None where it has none; what is `left` behind.
    """

    address: str
    name: str
    was: str | None
    now: str | None
    service: str | None = None
    unit: str | None = None
    left: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(vars(self))


def list_installed(to: Destination, *, config: str | None = None, stop: Stop | None = None) -> tuple[Installed, ...]:
    """What is in an install folder of a board; TargetError when the board cannot be reached."""
    with Ssh(to.board, config=config, stop=stop) as board:
        return tuple(sorted(installed(board, to.folder).values(), key=lambda one: one.name))


def roll_back(
    to: Destination, name: str, progress: Progress = silent, *, config: str | None = None, stop: Stop | None = None
) -> Change:
    """Make the version before the current one of an artifact current again, in one rename, and its service.

    UsageError for an artifact that is not there, TargetError where there is no version before, or it is damaged, or its
    service does not start: what was current is current again then.
    """
    with hold(to, config, stop) as board:
        board.ask("lock")
        base = base_of(board)
        here = only(board, installed(board, base), name)
        was, before = here.current, here.before
        if was is None or before is None:
            raise TargetError(f"{name} on {board.name}", "has no version before the current one", "deploy another one")
        if not whole(board, base, name, before):
            raise TargetError(f"{name} {before.name} on {board.name}", "is damaged", "deploy it again")
        there, gone = service_of(before.document), service_now(board, base, name, was.document)

        def switch(version: Version) -> None:
            request(board, f"rollback {name} {version.name}", f"{version.name} may be current: --list tells")

        def follow(service: Service | None, instead_of: Service | None) -> str | None:
            return follow_service(board, base, name, to=service, of=instead_of)

        progress(SWITCH, 0, None)
        switch(before)
        try:
            said = follow(there, gone)
        except BaseException as error:
            words = f"{was.name} is current again", f"{before.name} is current"
            undo(error, lambda: switch(was), lambda: follow(gone, there), *words)
            raise
        unit = unit_name(base, name) if said is not None else None
        return Change(to.address, name, was.name, before.name, said, unit)


def end_service(
    to: Destination, name: str, progress: Progress = silent, *, config: str | None = None, stop: Stop | None = None
) -> Change:
    """Stop the service of an artifact and remove its unit; the artifact stays. A later deploy does not bring it back.

    UsageError for an artifact that is not there, TargetError for one without a service.
    """
    with hold(to, config, stop) as board:
        board.ask("lock")
        base = base_of(board)
        current = only(board, installed(board, base), name).current
        service = service_of(current.document) if current else None
        progress(SWITCH, 0, None)
        said = stop_service(board, base, name, service)
        if said is None and service is None:
            raise TargetError(f"{name} on {board.name}", "has no service", "nothing is to be done")
        now = current.name if current else None
        if current is not None and current.document:
            # What the version says of itself last: until then the same command can be given again.
            board.put({DOCUMENT: document_bytes({**current.document, "service": None})})
            request(board, f"describe {name} {now}", "the same command goes on")
        return Change(to.address, name, now, now, said or "removed", unit_name(base, name))


def remove(
    to: Destination, name: str, progress: Progress = silent, *, config: str | None = None, stop: Stop | None = None
) -> Change:
    """Remove an artifact with all its versions, its unit, and its entries of the trust list of the board's own edgekit.

    UsageError for an artifact that is not there, TargetError where its unit cannot be stopped.
    """
    with hold(to, config, stop) as board:
        board.ask("lock")
        base = base_of(board)
        here = only(board, installed(board, base), name)
        progress(SWITCH, 0, None)
        said = stop_service(board, base, name, service_of(here.current.document) if here.current else None)
        left = None
        try:
            release_there(board, base, name, ())
        except TargetError as error:  # of a board that has no edgekit any more, or never had one
            if any(one.document.get("trusted") or not one.document for one in here.versions):
                left = f"it may be on the trust list there still: {error.cause}"
        request(board, f"take_away {name}", "the same command goes on")
        was, unit = here.current.name if here.current else None, unit_name(base, name) if said else None
        return Change(to.address, name, was, None, said, unit, left)
