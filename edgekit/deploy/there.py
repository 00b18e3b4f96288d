"""A board before a deploy: what is wished, what is there already, and whether that is the same."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from edgekit.artifact import Artifact
from edgekit.deploy.contents import Stream
from edgekit.deploy.installed import Installed, Version, base_of, installed, refuse_newer, whole
from edgekit.deploy.probe import BoardFacts
from edgekit.deploy.service import SYSTEM, USER, Service, check_board, check_source, service_now
from edgekit.deploy.tensorrt import Step
from edgekit.errors import TargetError, UsageError
from edgekit.profile.ssh import Ssh


@dataclass(frozen=True)
class Wish:
    """What to deploy and how: `source` makes it a service that reads samples from there (None: as it was), `step` is an
    exported step that a TensorRT engine is built of, `again` deploys what is there already too.
    """

    artifact: Artifact
    stream: Stream
    source: str | None = None
    step: Step | None = None
    again: bool = False


@dataclass(frozen=True)
class There:
    """A board in the middle of a deploy: what is there, whether the current version is whole, which version was
    accepted, is whole and can be gone back to (the current one, if it is), and the service as it was and shall be.
    """

    board: Ssh
    facts: BoardFacts
    here: Installed
    base: str
    address: str
    is_whole: bool
    good: Version | None
    was: Service | None
    service: Service | None

    @property
    def path(self) -> str:
        """Where the current version is found, whichever that is."""
        return f"{self.base}/{self.here.name}/current"


def look_around(board: Ssh, facts: BoardFacts, wish: Wish, address: str) -> There:
    """Ask what is there.

    UsageError for a service without a stream, TargetError for a service that could not go on, and for an artifact that
    a newer edgekit has deployed.
    """
    base, name = base_of(board), wish.artifact.name
    here = installed(board, base).get(name, Installed(base, name, None, ()))
    refuse_newer(board, here)
    was = service_now(board, base, name, here.current.document) if here.current else None
    service = _service(board, facts, wish, address, was)
    is_whole = here.current is not None and whole(board, base, name, here.current)
    good = here.current if is_whole and here.current and here.current.is_accepted else None
    if good is None:
        others = [one for one in here.newest_first if one.is_accepted and one != here.current]
        good = next((one for one in others if whole(board, base, name, one)), None)
    return There(board, facts, here, base, address, is_whole, good, was, service)


def _service(board: Ssh, facts: BoardFacts, wish: Wish, address: str, was: Service | None) -> Service | None:
    """The service as it shall be."""
    scope, name = SYSTEM if facts.is_root else USER, wish.artifact.name
    what, take_away = f"service of {name} on {board.name}", f"edgekit deploy --no-service {name} {shlex.quote(address)}"
    if was is not None and was.scope != scope:
        owner, you = ("the system", "are not root") if was.scope == SYSTEM else ("a user", "are root")
        raise TargetError(what, f"is one of {owner}, and you {you} there", f"as that one, first: {take_away}")
    if wish.source is not None:
        check_source(wish.source)
        service = Service(wish.source, scope)
        if wish.stream.job is None:
            raise UsageError(f"--service {wish.source}", f"has nothing to run: {wish.stream.why_not}")
        check_board(board, service)
        return service
    if was is not None and wish.stream.job is None:
        remedy = f"or take the service away first: {take_away}"
        raise TargetError(what, f"could not go on: {wish.stream.why_not}", remedy)
    return was


def is_same(there: There, wish: Wish) -> bool:
    """Whether the current version is what is to be deployed, and whole. It may have an engine that nobody asks for."""
    current = there.here.current
    if wish.again or current is None or not there.is_whole or there.service != there.was:
        return False
    said, step = current.document, wish.step
    return (
        current.sha256 == wish.artifact.sha256
        and said.get("stream") == wish.stream.sha256
        and (step is None or said.get("onnx") == step.sha256)
    )
