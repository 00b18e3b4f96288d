"""One deploy to one board: asked, staged, tried there, and put in its place in one rename, or nothing has happened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from edgekit.artifact import Artifact
from edgekit.deploy.asking import SWITCH, request
from edgekit.deploy.destination import Destination
from edgekit.deploy.installed import hold
from edgekit.deploy.probe import BoardFacts, check, probe
from edgekit.deploy.service import follow_service, start_service, unit_name
from edgekit.deploy.staging import stage
from edgekit.deploy.there import There, Wish, is_same, look_around
from edgekit.deploy.trusting import release_there, trust_there
from edgekit.deploy.undo import open_question, undo
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
    TensorRT engine's first step, `engine_dropped` whether the version before had an engine that this one has not,
    `left` what could not be cleared up behind it.
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
    left: str | None = None

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
    fails, what was current before is current still; where nobody is left to go back, because the connection was cut
    after the rename, the new version is current, whole, and not accepted until the same deploy is done again.

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
        has_edgekit = facts.edgekit is not None
        if here.current is not None and is_same(there, wish):
            if has_edgekit:  # unless that was cut off the last time, or is there only since
                trust_there(board, there.base, here.name, edge, artifact.sha256)
            said = _start(there)
            left = None if here.current.is_accepted else _accept(there, here.current.name)
            return replace(found, version=here.current.name, trusted=has_edgekit, service=said, left=left)
        version = f"{here.next_number:04d}-{artifact.sha256[:12]}"
        staged = stage(there, wish, progress)
        progress(SWITCH, 0, None)
        request(board, f"commit {here.name} {version}", open_question(version, to.address))
        try:
            if has_edgekit:
                trust_there(board, there.base, here.name, edge, artifact.sha256)
            said = _start(there)
        except BaseException as error:
            before = f"{here.current.name} is current again" if here.current else f"{here.name} is not there, as before"
            undo(
                error,
                lambda: _switch_back(there, version),
                lambda: _rest_back(there, has_edgekit=has_edgekit),
                before,
                f"{version} is current",
            )
            raise
        try:
            left = _accept(there, version)
        except TargetError as error:
            items = [*error.items, f"{version} is current, and the same command goes on"]
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
            left=left,
        )


def _start(there: There) -> str | None:
    """Let the service, if there is one, run the current version."""
    return start_service(there.board, there.base, there.here.name, there.service) if there.service else None


def _accept(there: There, version: str) -> str | None:
    """Accept the current version, and remove all others but the one that a rollback goes back to, and trust them no
    more: what was left of that.
    """
    board, here, good = there.board, there.here, there.good
    kept = [version, *([good.name] if good else [])]
    request(board, f"accept {here.name} {version} {kept[-1]}", "whether older versions have gone is not known")
    if there.facts.edgekit is None:
        gone = [one for one in here.versions if one.name not in kept and one.document.get("trusted")]
        return "older versions may be on a trust list there still: it has no edgekit any more" if gone else None
    try:
        release_there(board, there.base, here.name, kept)
    except TargetError as error:
        return f"older versions may be on the trust list there still: {error.cause}"
    return None


def _switch_back(there: There, version: str) -> None:
    """Make the version before current again, or none where there was none; the new one goes."""
    name, current = there.here.name, there.here.current
    line = f"back {name} {current.name if current else '-'} {version}"
    request(there.board, line, open_question(version, there.address))


def _rest_back(there: There, *, has_edgekit: bool) -> None:
    """The service as it was, and the trust list."""
    here = there.here
    follow_service(there.board, there.base, here.name, to=there.was, of=there.service)
    if has_edgekit:
        release_there(there.board, there.base, here.name, [one.name for one in here.versions])
