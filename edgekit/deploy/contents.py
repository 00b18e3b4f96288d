"""What is copied to a board beside the program: the artifact, the streamer, and what they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from edgekit._version import __version__
from edgekit.artifact import Artifact
from edgekit.deploy.installed import SCHEMA_VERSION
from edgekit.deploy.streamer import STREAM_JOB, STREAMER, build_streamer, stream_job
from edgekit.errors import UsageError
from edgekit.streaming import Options

PROGRAM, RUN = "program.so", "run"
# Links are resolved once, its own too, so that a switch of versions meanwhile does not mix two of them.
_RUN = b"""#!/bin/sh
# Samples on stdin, or from the file, FIFO or device that is named; a decision for each window on stdout.
here=$(readlink -f -- "$0") && here=$(dirname -- "$here") || exit 2
exec "$here/streamer" "$here/stream.job" "$here/program.so" "$@"
"""


@dataclass(frozen=True)
class Stream:
    """How an artifact decides about a stream: the job of the streamer, or why it cannot."""

    job: bytes | None
    why_not: str = ""

    @property
    def sha256(self) -> str | None:
        """That of the job."""
        return None if self.job is None else hashlib.sha256(self.job).hexdigest()


def stream_of(artifact: Artifact, options: Options, *, needed: bool) -> Stream:
    """The stream of an artifact. Where it can have none, UsageError if one is needed."""
    try:
        return Stream(stream_job(artifact, options))
    except UsageError as error:
        if needed:
            raise
        return Stream(None, f"{error.thing} {error.cause}" + (f"; {error.remedy}" if error.remedy else ""))


def stream_files(stream: Stream, arch: str) -> dict[str, bytes]:
    """What decides about a stream on a board of an architecture; nothing for an artifact that cannot."""
    if stream.job is None:
        return {}
    return {STREAMER: build_streamer(arch), STREAM_JOB: stream.job, RUN: _RUN}


def document_of(artifact: Artifact, **more: Any) -> dict[str, Any]:
    """What a version says of itself."""
    return {
        "schema_version": SCHEMA_VERSION,
        "name": artifact.name,
        "sha256": artifact.sha256,
        "target": artifact.manifest["target"],
        "precision": artifact.manifest["precision"],
        "edgekit": __version__,
        "deployed": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **more,
    }


def sums_of(digests: Mapping[str, str]) -> bytes:
    """The SHA-256 of files in the form that `sha256sum -c` reads."""
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode()


def document_bytes(document: Mapping[str, Any]) -> bytes:
    """One line of JSON."""
    return (json.dumps(document, sort_keys=True) + "\n").encode()
