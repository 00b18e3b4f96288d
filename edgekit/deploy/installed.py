"""What is deployed on a board: artifacts by name, their versions, and which of these is current."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.deploy.destination import Destination
from edgekit.errors import UsageError
from edgekit.profile.ssh import Ssh
from edgekit.profile.ssh_stop import Stop

DOCUMENT, SUMS, SCHEMA_VERSION = "deployed.json", "SHA256SUMS", 1
SYNC_S = 300.0  # a card that is slow to flush what was written
NAME, VERSION = r"[A-Za-z0-9_]{1,100}", r"[0-9]{4,9}-[0-9a-f]{12}"
_LIST = r"""
case $base in '~/'*) base=$HOME/${base#??} ;; esac
cd "$base" 2>/dev/null || exit 0
for folder in */versions/; do
  test -d "$folder" || continue
  name=${folder%/versions/}
  printf 'artifact %s %s\n' "$name" "$(readlink "$name/current")"
  for version in "$folder"*/; do
    test -d "$version" || continue
    version=${version%/}
    printf 'version %s %s\n' "${version##*/}" "$(head -c 65536 "$version/deployed.json" 2>/dev/null)"
  done
done
"""


@dataclass(frozen=True)
class Version:
    """One version of an artifact on a board; `document` says what it is, empty where that cannot be read."""

    name: str
    document: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """That of the .edge file."""
        return str(self.document.get("sha256", ""))

    @property
    def replaced(self) -> str | None:
        """The version that was current before it."""
        found = self.document.get("replaced")
        return found if isinstance(found, str) and re.fullmatch(VERSION, found) else None


@dataclass(frozen=True)
class Installed:
    """An artifact on a board: all its versions, oldest first, and the current one, None where there is none."""

    name: str
    current: Version | None
    versions: tuple[Version, ...]

    @property
    def before(self) -> Version | None:
        """The version that a rollback goes back to: the one that the current one replaced."""
        replaced = self.current.replaced if self.current else None
        return next((version for version in self.versions if version.name == replaced), None)

    @property
    def newest_first(self) -> tuple[Version, ...]:
        """All versions: the current one, the one before, and the others."""
        first = [version for version in (self.current, self.before) if version is not None]
        return (*first, *(version for version in reversed(self.versions) if version not in first))

    @property
    def next_number(self) -> int:
        """The number of the next version."""
        return 1 + max((int(version.name.partition("-")[0]) for version in self.versions), default=0)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        current, before = self.current, self.before
        return {
            "name": self.name,
            "current": None if current is None else {"version": current.name, **current.document},
            "before": None if before is None else {"version": before.name, **before.document},
        }


def hold(to: Destination, config: str | None = None, stop: Stop | None = None) -> Ssh:
    """A connection to a board that holds the install folder; nothing is locked yet. UsageError for a bad address."""
    script = (Path(__file__).parent / "board.sh").read_text(encoding="utf-8")
    return Ssh(to.board, config=config, hold=f"base={shlex.quote(to.folder)}\n{script}", stop=stop)


def installed(board: Ssh, folder: str) -> dict[str, Installed]:
    """What is in an install folder of a board that has been entered; nothing where there is no such folder.

    Folders with a link to a current version, and versions that say what they are; others are not edgekit's.
    """
    code, answer, messages = board.do(f"base={shlex.quote(folder)}\n{_LIST}")
    if code:
        raise board.failed(code, messages)
    found, current, versions = dict[str, Installed](), "", list[Version]()
    linked, name = set[str](), ""
    for line in answer.decode("utf-8", "replace").splitlines():
        if match := re.fullmatch(rf"artifact ({NAME}) (?:versions/({VERSION}))?", line):
            current, versions = match[2] or "", []
            found[match[1]] = Installed(match[1], None, ())
            name = match[1]
            linked |= {name} if current else set()
        elif line.startswith("artifact "):
            current, versions, name = "", [], ""
        elif (match := re.fullmatch(rf"version ({VERSION}) ?(.*)", line)) and name:
            versions.append(Version(match[1], _document(match[2])))
            chosen = next((version for version in versions if version.name == current), None)
            found[name] = Installed(name, chosen, tuple(sorted(versions, key=lambda v: v.name)))
    # No version at all: a removal was cut off before the link's turn.
    return {n: one for n, one in found.items() if n in linked and (not one.versions or any(map(_speaks, one.versions)))}


def _speaks(version: Version) -> bool:
    return bool(version.document)


def _document(text: str) -> dict[str, Any]:
    """What a version says of itself; a board may say anything."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    fits = isinstance(document, dict) and document.get("schema_version") == SCHEMA_VERSION
    return document if fits else {}


def only(board: Ssh, found: Mapping[str, Installed], name: str) -> Installed:
    """The artifact of a name; UsageError that lists those that are there when there is none."""
    if name not in found:
        raise UsageError(f"artifact {name!r}", f"is not on {board.name}", "there are:" if found else "", sorted(found))
    return found[name]


def whole(board: Ssh, base: str, name: str, version: Version) -> bool:
    """Whether every file of a version still has the SHA-256 that it was deployed with."""
    folder = f"{base}/{name}/versions/{version.name}"
    code, _, _ = board.do(f"cd {shlex.quote(folder)} && sha256sum -c {SUMS} >/dev/null")
    if code != 127:
        return code == 0
    _, sums, _ = board.do(f"cat {shlex.quote(f'{folder}/{SUMS}')}")  # a board without sha256sum
    rows = re.findall(r"^([0-9a-f]{64})  ([A-Za-z0-9_.]+)$", sums.decode("utf-8", "replace"), re.MULTILINE)
    wanted, names = [digest for digest, _ in rows], [file for _, file in rows]
    return bool(rows) and board.sha256([f"{folder}/{file}" for file in names]) == wanted


def base_of(board: Ssh) -> str:
    """The install folder that a connection made by `hold` holds, absolute."""
    return board.folder.rsplit("/", 2)[0]
