"""One deploy to one board: asked, staged, tried there, and put in its place in one rename, or nothing has happened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from edgekit.artifact import Artifact
from edgekit.deploy.destination import Destination
from edgekit.deploy.installed import SYNC_S, hold
from edgekit.deploy.probe import BoardFacts, check, probe
from edgekit.deploy.service import follow_service, start_service, unit_name
from edgekit.deploy.staging import stage
from edgekit.deploy.there import There, Wish, is_same, look_around
from edgekit.deploy.trusting import trust_there, untrust_there
from edgekit.deploy.undo import undo
from edgekit.errors import TargetError
from edgekit.profile.counts import Progress, silent
from edgekit.profile.ssh import Ssh
from edgekit.profile.ssh_stop import Stop
from edgekit.runtime.selftest import SelfTestReport

DEPLOYED, ALREADY, FITS = "deployed", "already there", "fits"


@dataclass(frozen=True)
class Outcome:
    """What became of a deploy to one board: `state` is deployed, already there, or fits (when that alone was asked).

    `path` is where the current version is found, whichever that is, `replaced` what a rollback goes back to. `selftest`
    is the replay there, `trusted` whether the board's own edgekit may run its code. `service` says what became of
    `unit`, None where none was asked for, `no_stream` why there is no streamer, `engine_error` the worst error of a
    TensorRT engine's first step, `engine_dropped` whether the version before had an engine that this one has not.
    """

    address: str
    state: str
    board: BoardFacts
    path: str = ""
    version: str = ""
    replaced: str | None = None
    engine: str = ""
    selftest: SelfTestReport | None = None
    copied_bytes: int = 0
    trusted: bool = False
    can_stream: bool = False
    no_stream: str = ""
    service: str | None = None
    unit: str | None = None
    engine_error: float | None = None
    engine_dropped: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        test = self.selftest
        replay = None if test is None else {"steps": test.steps, "worst_error": test.worst_error, "grade": "measured"}
        return {**vars(self), "board": self.board.to_dict(), "selftest": replay}


def look(to: Destination, artifact: Artifact, *, config: str | None = None, stop: Stop | None = None) -> Outcome:
    """Ask a board whether an artifact's program fits it; nothing is copied. Raises what `deploy` raises for that."""
    with Ssh(to.board, config=config, stop=stop) as board:
        facts = probe(board, to.folder)
        check(board.name, facts, artifact)
        return Outcome(to.address, FITS, facts)


def deploy(
    to: Destination,
    wish: Wish,
    progress: Progress = silent,
    *,
    config: str | None = None,
    stop: Stop | None = None,
) -> Outcome:
    """Deploy an artifact to a board.

    The board is asked first; files are copied to a folder beside the others and their SHA-256 compared there; the
    self-test is replayed there; then one rename puts the new version in its place, and the one before is kept. Whatever
    fails, and wherever the connection is cut, what was current before is current still.

    Raises UsageError, TargetError, CapacityError or ToolchainError that says what is in the way, ReplayError when the
    self-test fails there, StoppedError when somebody asks `stop`.
    """
    artifact = wish.artifact
    progress("connect", 0, None)
    with hold(to, config, stop) as board:
        facts = probe(board, to.folder)
        check(board.name, facts, artifact)
        board.ask(f"lock {artifact.name}")
        there = look_around(board, facts, wish, to.address)
        here, edge = there.here, f"{there.path}/{artifact.name}.edge"
        found = Outcome(
            to.address,
            ALREADY,
            facts,
            there.path,
            can_stream=wish.stream.job is not None,
            no_stream=wish.stream.why_not,
            unit=unit_name(there.base, here.name) if there.service else None,
        )
        if here.current is not None and is_same(there, wish):
            trusted = here.current.document.get("trusted") is True
            if trusted and facts.edgekit is not None:  # unless that was cut off the last time
                trust_there(board, edge, artifact.sha256)
            return replace(found, version=here.current.name, trusted=trusted, service=_start(there))
        version = f"{here.next_number:04d}-{artifact.sha256[:12]}"
        staged = stage(there, wish, progress)
        progress("switch", 0, None)
        board.ask(f"commit {here.name} {version}", SYNC_S)
        has_edgekit = facts.edgekit is not None
        is_new = has_edgekit and all(one.sha256 != artifact.sha256 for one in here.versions)  # if that is cut off
        try:
            if has_edgekit:
                is_new = trust_there(board, edge, artifact.sha256)
            said = _start(there)
        except BaseException as error:
            before = f"{here.current.name} is current again" if here.current else f"{here.name} is not there, as before"
            untrusted = [artifact.sha256] if is_new else []
            undo(
                error,
                lambda: _switch_back(there),
                lambda: _rest_back(there, untrusted),
                before,
                f"{version} is current",
            )
            raise
        try:
            _clear(there, version, artifact.sha256)
        except TargetError as error:
            items = [*error.items, f"{version} is current, and was not cleared up behind"]
            raise TargetError(error.thing, error.cause, error.remedy, items) from error
        return replace(
            found,
            state=DEPLOYED,
            version=version,
            replaced=there.good.name if there.good else None,
            engine=staged.engine,
            selftest=staged.selftest,
            copied_bytes=staged.copied_bytes,
            trusted=has_edgekit,
            service=said,
            engine_error=staged.engine_error,
            engine_dropped=here.current is not None and bool(here.current.document.get("onnx")) and wish.step is None,
        )


def _start(there: There) -> str | None:
    """Let the service, if there is one, run the current version."""
    return start_service(there.board, there.base, there.here.name, there.service) if there.service else None


def _clear(there: There, version: str, sha256: str) -> None:
    """Remove all versions but the new one and the one that a rollback goes back to, and trust them no more."""
    board, here, good = there.board, there.here, there.good
    gone = [one for one in here.versions if good is None or one.name != good.name]
    kept = {sha256, good.sha256 if good else ""}
    untrust_there(board, (one.sha256 for one in gone if one.document.get("trusted") is True and one.sha256 not in kept))
    board.ask(f"keep {here.name} {version} {good.name if good else version}")


def _switch_back(there: There) -> None:
    """Make the version before current again; remove an artifact that had none."""
    name, current = there.here.name, there.here.current
    there.board.ask(f"rollback {name} {current.name}" if current else f"take_away {name}", SYNC_S)


def _rest_back(there: There, untrusted: list[str]) -> None:
    """The service as it was, and the trust list."""
    follow_service(there.board, there.base, there.here.name, to=there.was, of=there.service)
    untrust_there(there.board, untrusted)
