"""Fills the staging folder of a board, and tries what is in it, before anything changes."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass

from edgekit.deploy.contents import PROGRAM, RUN, document_bytes, document_of, stream_files, sums_of
from edgekit.deploy.installed import DOCUMENT, SUMS
from edgekit.deploy.streamer import STREAM_JOB, STREAMER
from edgekit.deploy.tensorrt import ENGINE, MODEL, build_engine
from edgekit.deploy.there import There, Wish
from edgekit.errors import TargetError
from edgekit.profile.counts import Progress
from edgekit.profile.measurer import JOB, MEASURER, Measurer, program_for
from edgekit.profile.ssh import Ssh
from edgekit.runtime.selftest import SelfTestReport


@dataclass(frozen=True)
class Staged:
    """What lies in the staging folder, tried and ready."""

    engine: str
    selftest: SelfTestReport
    copied_bytes: int
    engine_error: float | None


def stage(there: There, wish: Wish, progress: Progress) -> Staged:
    """Copy what a version is made of, replay the self-test, build the engine if one is asked for, run the streamer.

    TargetError, CapacityError or ToolchainError that says what is in the way, ReplayError when the self-test fails.
    """
    board, artifact = there.board, wish.artifact
    progress("self-test", 0, None)
    program = program_for(board, artifact)
    replay = Measurer(board).selftest(program, artifact)
    error, built = None, dict[str, str]()
    if wish.step is not None:
        progress("build the engine", 0, None)
        error = build_engine(board, there.facts, wish.step, artifact)
        (engine,) = board.sha256([f"{board.folder}/{ENGINE}"])
        built = {MODEL: wish.step.sha256, ENGINE: engine}
    progress("copy", 0, None)
    document = document_of(
        artifact,
        arch=board.arch,
        engine=program.engine,
        onnx=wish.step.sha256 if wish.step else None,
        replaced=there.good.name if there.good else None,
        selftest={"steps": replay.steps, "worst_error": replay.worst_error},
        service=there.service.to_dict() if there.service else None,
        stream=wish.stream.sha256,
        trusted=there.facts.edgekit is not None,
    )
    new = {f"{artifact.name}.edge": artifact.packed, **stream_files(wish.stream, board.arch)}
    files = {**new, PROGRAM: program.library}  # which is there already, and was run
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()} | built
    new |= {SUMS: sums_of(digests), DOCUMENT: document_bytes(document)}
    board.put(new, [name for name in (STREAMER, RUN) if name in new])
    attempt = f" && ./{STREAMER} {STREAM_JOB} {PROGRAM} </dev/null" if STREAMER in new else ""
    _must(board, f"cd {shlex.quote(board.folder)} && rm {MEASURER} {JOB}{attempt}", "does not run the streamer")
    copied = sum(map(len, files.values())) + (len(wish.step.model) if wish.step else 0)
    return Staged(program.engine, replay, copied, error)


def _must(board: Ssh, script: str, cause: str) -> None:
    code, _, messages = board.do(script)
    if code:
        raise TargetError(board.name, cause, f"exit code {code}", messages.splitlines()[-3:])
