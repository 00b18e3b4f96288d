"""What is on a board already: list it, go back to the version before, remove an artifact."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from edgekit.deploy.destination import Destination
from edgekit.deploy.installed import Installed, base_of, hold, installed, only, whole
from edgekit.deploy.service import service_of, start_service, stop_service
from edgekit.errors import TargetError
from edgekit.profile.ssh import Ssh

SYNC_S = 300.0
_UNTRUST = "import sys; from edgekit.artifact import untrust; untrust(sys.argv[1])"


@dataclass(frozen=True)
class Change:
    """What became of an artifact on a board: its current version before and after, None where there is none."""

    address: str
    name: str
    was: str | None
    now: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(vars(self))


def list_installed(to: Destination, *, config: str | None = None) -> tuple[Installed, ...]:
    """What is in an install folder of a board; TargetError when the board cannot be reached."""
    with Ssh(to.board, config=config) as board:
        return tuple(sorted(installed(board, to.folder).values(), key=lambda one: one.name))


def roll_back(to: Destination, name: str, *, config: str | None = None) -> Change:
    """Make the version before the current one of an artifact current again, in one rename, and its service.

    UsageError for an artifact that is not there, TargetError where there is no version before, or it is damaged.
    """
    with hold(to, config) as board:
        board.ask("lock")
        base = base_of(board)
        here = only(board, installed(board, base), name)
        was, before = here.current, here.before
        if was is None or before is None:
            raise TargetError(f"{name} on {board.name}", "has no version before the current one", "deploy another one")
        if not whole(board, base, name, before):
            raise TargetError(f"{name} {before.name} on {board.name}", "is damaged", "deploy it again")
        board.ask(f"rollback {name} {before.name}", SYNC_S)
        path = f"{base}/{name}/current"
        service, gone = service_of(before.document), service_of(was.document)
        if service is not None:
            start_service(board, name, path, service)
        elif gone is not None:
            stop_service(board, name, path, gone)
        return Change(to.address, name, was.name, before.name)


def remove(to: Destination, name: str, *, config: str | None = None) -> Change:
    """Remove an artifact with all its versions: gone in one rename, and off the trust list of the board's own edgekit.

    UsageError for an artifact that is not there.
    """
    with hold(to, config) as board:
        board.ask("lock")
        base = base_of(board)
        here = only(board, installed(board, base), name)
        if here.current is not None and (service := service_of(here.current.document)) is not None:
            stop_service(board, name, f"{base}/{name}/current", service)
        for version in here.versions:
            if version.document.get("trusted") is True:
                _untrust(board, version.sha256)
        board.ask(f"take_away {name}", SYNC_S)
        return Change(to.address, name, here.current.name if here.current else None, None)


def _untrust(board: Ssh, sha256: str) -> None:
    code, _, messages = board.do(f"python3 -c {shlex.quote(_UNTRUST)} {shlex.quote(sha256)}")
    if code:
        lines = messages.splitlines()[-2:]
        raise TargetError(board.name, "could not take an artifact off its trust list", "see its messages:", lines)
