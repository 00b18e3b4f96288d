"""One deploy to one board: asked, staged, tried there, and put in its place in one rename, or nothing has happened."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from edgekit.artifact import Artifact
from edgekit.deploy.contents import PROGRAM, RUN, Stream, document_bytes, document_of, stream_files, sums_of
from edgekit.deploy.destination import Destination
from edgekit.deploy.installed import DOCUMENT, SUMS, Installed, base_of, hold, installed, whole
from edgekit.deploy.probe import BoardFacts, check, probe
from edgekit.deploy.streamer import STREAM_JOB, STREAMER
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
    """What to deploy and how; `again` deploys what is there already too."""

    artifact: Artifact
    stream: Stream
    again: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a deploy to one board: `state` is deployed, already there, or fits (when that alone was asked).

    `path` is where the current version is found, whichever that is. `selftest` is the replay there, `trusted` whether
    the board's own edgekit may run its code.
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
        board.ask("lock")
        base = base_of(board)
        here = installed(board, base).get(artifact.name, Installed(artifact.name, None, ()))
        path = f"{base}/{artifact.name}/current"
        if not wish.again and here.current is not None and _is_same(board, base, here, wish):
            return Outcome(to.address, ALREADY, facts, path, here.current.name, can_stream=wish.stream.job is not None)
        version = f"{here.next_number:04d}-{artifact.sha256[:12]}"
        replaced = here.current.name if here.current else None
        engine, replay, copied = _stage(board, facts, wish, replaced, progress)
        progress("switch", 0, None)
        _commit(board, artifact.name, version, replaced)
        return Outcome(
            to.address, DEPLOYED, facts, path, version, replaced, engine, replay, copied,
            trusted=facts.edgekit is not None, can_stream=wish.stream.job is not None,
        )  # fmt: skip


def _is_same(board: Ssh, base: str, here: Installed, wish: Wish) -> bool:
    """Whether the current version is what is to be deployed, and undamaged."""
    current = here.current
    if current is None or current.sha256 != wish.artifact.sha256:
        return False
    return current.document.get("stream") == wish.stream.sha256 and whole(board, base, here.name, current)


def _stage(
    board: Ssh, facts: BoardFacts, wish: Wish, replaced: str | None, progress: Progress
) -> tuple[str, SelfTestReport, int]:
    """Fill the staging folder and try what is in it: the engine, what the self-test found, and the bytes copied."""
    artifact = wish.artifact
    progress("self-test", 0, None)
    program = program_for(board, artifact)
    measurer = Measurer(board)
    replay = measurer.selftest(program, artifact)
    progress("copy", 0, None)
    trusted = facts.edgekit is not None
    said = {"arch": board.arch, "replaced": replaced, "stream": wish.stream.sha256, "engine": program.engine}
    test = {"steps": replay.steps, "worst_error": replay.worst_error}
    document = document_of(artifact, **said, trusted=trusted, selftest=test)
    new = {f"{artifact.name}.edge": artifact.packed, **stream_files(wish.stream, board.arch)}
    files = {**new, PROGRAM: program.library}  # which is there already, and was run
    new |= {SUMS: sums_of(files), DOCUMENT: document_bytes(document)}
    board.put(new, [name for name in (STREAMER, RUN) if name in new])
    attempt = f" && ./{STREAMER} {STREAM_JOB} {PROGRAM} </dev/null" if STREAMER in new else ""
    _must(board, f"cd {shlex.quote(board.folder)} && rm {MEASURER} {JOB}{attempt}", "does not run the streamer")
    if trusted:
        _trust(board, artifact)
    return program.engine, replay, sum(map(len, files.values()))


def _trust(board: Ssh, artifact: Artifact) -> None:
    """Put the artifact on the trust list of the board's own edgekit."""
    path = shlex.quote(f"{board.folder}/{artifact.name}.edge")
    code, answer, messages = board.do(f"python3 -c {shlex.quote(_TRUST)} {path}")
    if code or artifact.sha256 not in answer.decode("utf-8", "replace"):
        raise TargetError(board.name, "could not write its trust list", "see its messages:", messages.splitlines()[-2:])


def _commit(board: Ssh, name: str, version: str, replaced: str | None) -> None:
    """The switch; should anything after it fail, back again."""
    board.ask(f"commit {name} {version}", SYNC_S)
    try:
        board.ask(f"keep {name} {version} {replaced or version}")
    except EdgekitError:
        go_back(board, name, replaced)
        raise


def go_back(board: Ssh, name: str, replaced: str | None) -> None:
    """Make the version before current again, or remove an artifact that had none."""
    board.ask(f"rollback {name} {replaced}" if replaced else f"take_away {name}", SYNC_S)


def _must(board: Ssh, script: str, cause: str) -> None:
    code, _, messages = board.do(script)
    if code:
        raise TargetError(board.name, cause, f"exit code {code}", messages.splitlines()[-3:])
