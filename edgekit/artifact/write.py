"""Writing an artifact: the same manifest and members always give the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from edgekit.artifact.atomic import write_atomic
from edgekit.artifact.layout import MANIFEST
from edgekit.artifact.read import ArtifactFile, read_artifact
from edgekit.artifact.strict_json import dump_json
from edgekit.artifact.zipform import pack
from edgekit.errors import ArtifactError


def pack_artifact(manifest: Mapping[str, Any], members: Mapping[str, bytes]) -> bytes:
    """Return the bytes of an artifact.

    `manifest` is without its `members` table, which is filled in here with the size and SHA-256 of every member;
    `members` maps each other name of the layout to its contents. Raises ArtifactError when a name, a size or the
    manifest breaks a rule: what is returned can be read back.
    """
    for key, owner in (("members", manifest), (MANIFEST, members)):
        if key in owner:
            raise ArtifactError(key, "is written by edgekit, not given to it")
    table = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in members.items()}
    packed = pack({MANIFEST: dump_json({**manifest, "members": table}), **members})
    read_artifact(packed)
    return packed


def write_artifact(
    path: str | PathLike[str], manifest: Mapping[str, Any], members: Mapping[str, bytes]
) -> ArtifactFile:
    """Write an artifact to `path`, whole or not at all, and return it as it would be read; see `pack_artifact`."""
    packed = pack_artifact(manifest, members)
    write_atomic(Path(path), packed)
    return read_artifact(packed)
