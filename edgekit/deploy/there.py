"""A board before a deploy: what is wished, what is there already, and whether that is the same."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from edgekit.artifact import Artifact
from edgekit.deploy.contents import Stream
from edgekit.deploy.installed import Installed, Version, base_of, installed, whole
from edgekit.deploy.probe import BoardFacts
from edgekit.deploy.service import SYSTEM, USER, Service, check_board, service_of
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
    """A board in the middle of a deploy: what is there, which version there is whole and can be gone back to (the
    current one, unless it is damaged), and the service as it was and as it shall be.
    """

    board: Ssh
    facts: BoardFacts
    here: Installed
    base: str
    good: Version | None
    was: Service | None
    service: Service | None

    @property
    def path(self) -> str:
        """Where the current version is found, whichever that is."""
        return f"{self.base}/{self.here.name}/current"


def look_around(board: Ssh, facts: BoardFacts, wish: Wish, address: str) -> There:
    """Ask what is there. UsageError for a service without a stream, TargetError for a service that could not go on."""
    base, name = base_of(board), wish.artifact.name
    here = installed(board, base).get(name, Installed(name, None, ()))
    was = service_of(here.current.document) if here.current else None
    service = was
    if wish.source is not None:
        service = Service(wish.source, SYSTEM if facts.is_root else USER)
        if wish.stream.job is None:
            raise UsageError(f"--service {wish.source}", f"has nothing to run: {wish.stream.why_not}")
        check_board(board, service)
    elif was is not None and wish.stream.job is None:
        quoted = shlex.quote(address)
        remedy = f"or take the service away first: edgekit deploy --no-service {name} {quoted}"
        raise TargetError(f"service of {name} on {board.name}", f"could not go on: {wish.stream.why_not}", remedy)
    good = next((version for version in here.newest_first if whole(board, base, name, version)), None)
    return There(board, facts, here, base, good, was, service)


def is_same(there: There, wish: Wish) -> bool:
    """Whether the current version is what is to be deployed, and whole. It may have an engine that nobody asks for."""
    current = there.here.current
    if wish.again or current is None or current is not there.good or there.service != there.was:
        return False
    said, step = current.document, wish.step
    return (
        current.sha256 == wish.artifact.sha256
        and said.get("stream") == wish.stream.sha256
        and (step is None or said.get("onnx") == step.sha256)
    )
