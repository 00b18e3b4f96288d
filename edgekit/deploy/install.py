"""One deploy to one board: asked, staged, tried there, and put in its place in one rename, or nothing has happened."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import Any

from edgekit.artifact import Artifact
from edgekit.deploy.contents import PROGRAM, RUN, Stream, document_bytes, document_of, stream_files, sums_of
from edgekit.deploy.destination import Destination
from edgekit.deploy.installed import DOCUMENT, SUMS, Installed, base_of, hold, installed, whole
from edgekit.deploy.probe import BoardFacts, check, probe
from edgekit.deploy.service import SYSTEM, USER, Service, check_board, service_of, start_service, stop_service
from edgekit.deploy.streamer import STREAM_JOB, STREAMER
from edgekit.deploy.tensorrt import Step, build_engine
from edgekit.errors import EdgekitError, TargetError
from edgekit.profile.counts import Progress, silent
from edgekit.profile.measurer import JOB, MEASURER, Measurer, program_for
from edgekit.profile.ssh import Ssh
from edgekit.runtime.selftest import SelfTestReport

DEPLOYED, ALREADY, FITS = "deployed", "already there", "fits"
SYNC_S = 300.0  # a card that is slow to flush what was written
_TRUST = "import sys; from edgekit.artifact import trust; print(trust(sys.argv[1]))"


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
class Outcome:
    """What became of a deploy to one board: `state` is deployed, already there, or fits (when that alone was asked).

    `path` is where the current version is found, whichever that is. `selftest` is the replay there, `trusted` whether
    the board's own edgekit may run its code. `service` says what became of it, None where none was asked for,
    `engine_error` the worst error of a TensorRT engine's first step.
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
    service: str | None = None
    engine_error: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        test = self.selftest
        replay = None if test is None else {"steps": test.steps, "worst_error": test.worst_error, "grade": "measured"}
        return {**vars(self), "board": self.board.to_dict(), "selftest": replay}


def look(to: Destination, artifact: Artifact, *, config: str | None = None) -> Outcome:
    """Ask a board whether an artifact's program fits it; nothing is copied. Raises what `deploy` raises for that."""
    with Ssh(to.board, config=config) as board:
        facts = probe(board, to.folder)
        check(board.name, facts, artifact)
        return Outcome(to.address, FITS, facts)


def deploy(to: Destination, wish: Wish, progress: Progress = silent, *, config: str | None = None) -> Outcome:
    """Deploy an artifact to a board.

    The board is asked first; files are copied to a folder beside the others and their SHA-256 compared there; the
    self-test is replayed there; then one rename puts the new version in its place, and the one before is kept. Whatever
    fails, and wherever the connection is cut, what was current before is current still.

    Raises UsageError, TargetError, CapacityError or ToolchainError that says what is in the way, ReplayError when the
    self-test fails there.
    """
    artifact = wish.artifact
    progress("connect", 0, None)
    with hold(to, config) as board:
        facts = probe(board, to.folder)
        check(board.name, facts, artifact)
        board.ask(f"lock {artifact.name}")
        there = _look_around(board, facts, wish)
        here, path = there.here, there.path
        found = Outcome(to.address, ALREADY, facts, path, can_stream=wish.stream.job is not None)
        if here.current is not None and _is_same(there, wish):
            said = start_service(board, here.name, path, there.service) if there.service else None
            return replace(found, version=here.current.name, service=said)
        version = f"{here.next_number:04d}-{artifact.sha256[:12]}"
        staged = _stage(there, wish, progress)
        progress("switch", 0, None)
        board.ask(f"commit {here.name} {version}", SYNC_S)
        try:
            said = start_service(board, here.name, path, there.service) if there.service else None
            board.ask(f"keep {here.name} {version} {there.replaced or version}")
        except EdgekitError as error:
            try:
                _go_back(there)
            except EdgekitError as further:
                raise error from further
            raise
        return replace(
            found,
            state=DEPLOYED,
            version=version,
            replaced=there.replaced,
            engine=staged.engine,
            selftest=staged.selftest,
            copied_bytes=staged.copied_bytes,
            trusted=facts.edgekit is not None,
            service=said,
            engine_error=staged.engine_error,
        )


@dataclass(frozen=True)
class _There:
    """A board in the middle of a deploy: what is there, and the service as it was and as it shall be."""

    board: Ssh
    facts: BoardFacts
    here: Installed
    base: str
    was: Service | None
    service: Service | None

    @property
    def path(self) -> str:
        return f"{self.base}/{self.here.name}/current"

    @property
    def replaced(self) -> str | None:
        return self.here.current.name if self.here.current else None


def _look_around(board: Ssh, facts: BoardFacts, wish: Wish) -> _There:
    base, name = base_of(board), wish.artifact.name
    here = installed(board, base).get(name, Installed(name, None, ()))
    was = service_of(here.current.document) if here.current else None
    service = was
    if wish.source is not None:
        check_board(board, wish.source)
        service = Service(wish.source, SYSTEM if facts.is_root else USER)
    return _There(board, facts, here, base, was, service)


def _is_same(there: _There, wish: Wish) -> bool:
    """Whether the current version is what is to be deployed, and undamaged."""
    current = there.here.current
    if wish.again or current is None or current.sha256 != wish.artifact.sha256 or there.service != there.was:
        return False
    wanted = {"stream": wish.stream.sha256, "onnx": wish.step.sha256 if wish.step else None}
    same = all(current.document.get(key) == value for key, value in wanted.items())
    return same and whole(there.board, there.base, there.here.name, current)


def _go_back(there: _There) -> None:
    """Make the version before current again, with its service; remove an artifact that had none."""
    board, name = there.board, there.here.name
    board.ask(f"rollback {name} {there.replaced}" if there.replaced else f"take_away {name}", SYNC_S)
    if there.service is not None and there.was is None:
        stop_service(board, name, there.path, there.service)
    elif there.was is not None:
        start_service(board, name, there.path, there.was)


@dataclass(frozen=True)
class _Staged:
    """What lies in the staging folder, tried and ready."""

    engine: str
    selftest: SelfTestReport
    copied_bytes: int
    engine_error: float | None


def _stage(there: _There, wish: Wish, progress: Progress) -> _Staged:
    """Fill the staging folder, and try what is in it."""
    board, artifact, trusted = there.board, wish.artifact, there.facts.edgekit is not None
    progress("self-test", 0, None)
    program = program_for(board, artifact)
    replay = Measurer(board).selftest(program, artifact)
    error = None
    if wish.step is not None:
        progress("build the engine", 0, None)
        error = build_engine(board, there.facts, wish.step, artifact)
    progress("copy", 0, None)
    document = document_of(
        artifact,
        arch=board.arch,
        engine=program.engine,
        onnx=wish.step.sha256 if wish.step else None,
        replaced=there.replaced,
        selftest={"steps": replay.steps, "worst_error": replay.worst_error},
        service=there.service.to_dict() if there.service else None,
        stream=wish.stream.sha256,
        trusted=trusted,
    )
    new = {f"{artifact.name}.edge": artifact.packed, **stream_files(wish.stream, board.arch)}
    files = {**new, PROGRAM: program.library}  # which is there already, and was run
    new |= {SUMS: sums_of(files), DOCUMENT: document_bytes(document)}
    board.put(new, [name for name in (STREAMER, RUN) if name in new])
    attempt = f" && ./{STREAMER} {STREAM_JOB} {PROGRAM} </dev/null" if STREAMER in new else ""
    _must(board, f"cd {shlex.quote(board.folder)} && rm {MEASURER} {JOB}{attempt}", "does not run the streamer")
    if trusted:
        _trust(board, artifact)
    return _Staged(program.engine, replay, sum(map(len, files.values())), error)


def _trust(board: Ssh, artifact: Artifact) -> None:
    """Put the artifact on the trust list of the board's own edgekit."""
    path = shlex.quote(f"{board.folder}/{artifact.name}.edge")
    code, answer, messages = board.do(f"python3 -c {shlex.quote(_TRUST)} {path}")
    if code or artifact.sha256 not in answer.decode("utf-8", "replace"):
        raise TargetError(board.name, "could not write its trust list", "see its messages:", messages.splitlines()[-2:])


def _must(board: Ssh, script: str, cause: str) -> None:
    code, _, messages = board.do(script)
    if code:
        raise TargetError(board.name, cause, f"exit code {code}", messages.splitlines()[-3:])
