"""What is deployed on a board: artifacts by name, their versions, and which of these is current."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.deploy.asking import answer_to
from edgekit.deploy.destination import Destination
from edgekit.deploy.service import service_of, unit_name
from edgekit.errors import TargetError, UsageError
from edgekit.profile.ssh import Ssh
from edgekit.profile.ssh_stop import Stop

DOCUMENT, SUMS, SCHEMA_VERSION = "deployed.json", "SHA256SUMS", 1
NAME, VERSION = r"[A-Za-z0-9_]{1,100}", r"[0-9]{4,9}-[0-9a-f]{12}"
_LIST = r"""
case $base in '~/'*) base=$HOME/${base#??} ;; esac
cd "$base" 2>/dev/null || exit 0
printf 'base %s\n' "$(pwd -P)"
for folder in */versions/; do
  test -d "$folder" || continue
  name=${folder%/versions/}
  printf 'artifact %s %s\n' "$name" "$(readlink "$name/current")"
  for version in "$folder"*/; do
    test -d "$version" || continue
    version=${version%/}
    test -e "$version/unproven" && state=unproven || state=accepted
    said=$(head -c 65536 "$version/deployed.json" 2>/dev/null | tr '\000\n' '  ')
    printf 'version %s %s %s\n' "${version##*/}" "$state" "$said"
  done
done
"""


@dataclass(frozen=True)
class Version:
    """One version of an artifact on a board; `document` says what it is, empty where that cannot be read.

    `is_accepted` once its trust and its service are in order, until when it is no version to go back to; `schema` is
    that of the document where a newer edgekit has written it.
    """

    name: str
    document: Mapping[str, Any]
    is_accepted: bool = True
    schema: int = SCHEMA_VERSION

    @property
    def sha256(self) -> str:
        """That of the .edge file."""
        return str(self.document.get("sha256", ""))

    @property
    def replaced(self) -> str | None:
        """The version that was current before it."""
        found = self.document.get("replaced")
        return found if isinstance(found, str) and re.fullmatch(VERSION, found) else None

    @property
    def state(self) -> str:
        """Whether it is accepted, unproven (its deploy was cut off), unreadable, or of a newer edgekit."""
        if self.schema > SCHEMA_VERSION:
            return "newer"
        return ("accepted" if self.is_accepted else "unproven") if self.document else "unreadable"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: what it says of itself, and what is known without that."""
        return {**self.document, "version": self.name, "state": self.state}


@dataclass(frozen=True)
class Installed:
    """An artifact in the folder `base` of a board: all its versions, oldest first, and the current one, None where
    there is none.
    """

    base: str
    name: str
    current: Version | None
    versions: tuple[Version, ...]

    @property
    def before(self) -> Version | None:
        """The version that a rollback goes back to: the one that the current one replaced, or the newest older one
        where the current one cannot be asked.
        """
        if self.current is None:
            return None
        usable = [version for version in self.versions if version.state == "accepted"]
        if not self.current.document:
            older = [version for version in usable if version.name < self.current.name]
            return older[-1] if older else None
        return next((version for version in usable if version.name == self.current.replaced), None)

    @property
    def newest_first(self) -> tuple[Version, ...]:
        """All versions: the current one, the one before, and the others."""
        first = [version for version in (self.current, self.before) if version is not None]
        return (*first, *(version for version in reversed(self.versions) if version not in first))

    @property
    def next_number(self) -> int:
        """The number of the next version."""
        return 1 + max((int(version.name.partition("-")[0]) for version in self.versions), default=0)

    @property
    def unit(self) -> str | None:
        """The systemd unit of the current version, None where it has none."""
        return unit_name(self.base, self.name) if self.current and service_of(self.current.document) else None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        current, before = self.current, self.before
        return {
            "name": self.name,
            "current": None if current is None else {**current.to_dict(), "unit": self.unit},
            "before": None if before is None else before.to_dict(),
        }


def hold(to: Destination, config: str | None = None, stop: Stop | None = None) -> Ssh:
    """A connection to a board that holds the install folder; nothing is locked yet. UsageError for a bad address."""
    script = (Path(__file__).parent / "board.sh").read_text(encoding="utf-8")
    return Ssh(to.board, config=config, hold=f"base={shlex.quote(to.folder)}\n{script}", stop=stop)


def installed(board: Ssh, folder: str) -> dict[str, Installed]:
    """What is in an install folder of a board that has been entered; nothing where there is no such folder.

    Folders with a link to a current version, or with versions, by their names; others are not edgekit's. What is
    current is what the link says, whatever can be read there.
    """
    code, answer, messages = answer_to(board, f"base={shlex.quote(folder)}\n{_LIST}")
    if code:
        raise board.failed(code, messages)
    links, versions = dict[str, str](), dict[str, list[Version]]()
    base, name = "", ""
    for line in answer.splitlines():
        if line.startswith("base "):
            base = line[5:]
        elif line.startswith("artifact "):
            match = re.fullmatch(rf"artifact ({NAME}) (?:versions/({VERSION}))?", line)
            name = match[1] if match else ""
            if match:
                links[name], versions[name] = match[2] or "", []
        elif (match := re.fullmatch(rf"version ({VERSION}) (accepted|unproven) ?(.*)", line)) and name:
            versions[name].append(_version(match[1], match[2] == "accepted", match[3]))
    found = dict[str, Installed]()
    for name, link in links.items():
        current = next((version for version in versions[name] if version.name == link), None)
        if link or versions[name]:
            found[name] = Installed(base, name, current, tuple(sorted(versions[name], key=lambda v: v.name)))
    return found


def _version(name: str, is_accepted: bool, text: str) -> Version:
    """A version, of which a board may say anything."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    schema = document.get("schema_version") if isinstance(document, dict) else None
    if not isinstance(schema, int) or schema < SCHEMA_VERSION:
        return Version(name, {}, is_accepted)
    return Version(name, document if schema == SCHEMA_VERSION else {}, is_accepted, schema)


def only(board: Ssh, found: Mapping[str, Installed], name: str) -> Installed:
    """The artifact of a name; UsageError that lists those that are there when there is none, TargetError where a newer
    edgekit has written it.
    """
    if name not in found:
        raise UsageError(f"artifact {name!r}", f"is not on {board.name}", "there are:" if found else "", sorted(found))
    refuse_newer(board, found[name])
    return found[name]


def refuse_newer(board: Ssh, here: Installed) -> None:
    """TargetError for an artifact with a version that a newer edgekit has deployed."""
    if newer := [version for version in here.versions if version.schema > SCHEMA_VERSION]:
        cause = f"was deployed by a newer edgekit (schema {newer[-1].schema})"
        raise TargetError(f"{here.name} {newer[-1].name} on {board.name}", cause, "pip install -U edgekit")


def whole(board: Ssh, base: str, name: str, version: Version) -> bool:
    """Whether all that a version is made of is there, and has the SHA-256 that it was deployed with."""
    if not version.document:
        return False
    folder = f"{base}/{name}/versions/{version.name}"
    script = f"cd {shlex.quote(folder)} && cat {SUMS} && echo and && {{ sha256sum -- *; test $? != 127; }}"
    code, answer, _ = answer_to(board, script)
    wanted, _, there = answer.partition("\nand\n")
    sums = _sums(f"{wanted}\n")
    if sums is None or not _names(name, version.document) <= set(sums):
        return False
    if there:
        found = _sums("\n".join(line for line in there.splitlines() if line.partition("  ")[2] in sums)) or {}
        return found == sums
    return code != 0 and board.sha256([f"{folder}/{file}" for file in sums]) == list(sums.values())


def _sums(text: str) -> dict[str, str] | None:
    """File names and their SHA-256; None where a line is none of both."""
    rows = [re.fullmatch(r"([0-9a-f]{64})  ([A-Za-z0-9_.]+)", line) for line in text.splitlines()]
    return {row[2]: row[1] for row in rows if row} if all(rows) else None


def _names(name: str, document: Mapping[str, Any]) -> set[str]:
    """The files that a version must have, by what it says of itself."""
    streamed = {"run", "streamer", "stream.job"} if document.get("stream") else set()
    engine = {"model.onnx", "model.engine"} if document.get("onnx") else set()
    return {f"{name}.edge", "program.so"} | streamed | engine


def base_of(board: Ssh) -> str:
    """The install folder that a connection made by `hold` holds, absolute."""
    return board.folder.rsplit("/", 2)[0]
