"""The trust list of a board's own edgekit: what is deployed is on it, what has gone is not.

An entry names the install folders that it was made for, and goes with the last of them. One that names none is of the
board's user, and stays.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Final

from edgekit.deploy.asking import answer_to
from edgekit.errors import TargetError
from edgekit.profile.ssh import Ssh

# Runs on the board, with: add BASE NAME PATH, or release BASE NAME and the beginnings of the SHA-256 that stay.
_LIST: Final = r"""
import fcntl, json, re, sys
from edgekit.artifact import list_path, list_trusted, read_artifact, untrust
from edgekit.artifact.trust import trust_own

verb, base, name, *words = sys.argv[1:]
label = f"{name}.edge, deployed to "

def folders(entry):
    found = re.fullmatch(re.escape(label) + r"(\[.*\])", entry)
    return set(json.loads(found[1])) if found else set()

def write(sha256, owners):
    trust_own(sha256, label + json.dumps(sorted(owners)))

if verb == "release" and not list_path().exists():
    sys.exit()
list_path().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
with open(list_path().with_name("deploy.lock"), "a") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    entries = list_trusted()
    if verb == "add":
        sha256 = read_artifact(words[0]).sha256
        owners = folders(entries.get(sha256, ""))
        if owners or sha256 not in entries:
            write(sha256, owners | {base})
        print("trusted", sha256)
    else:
        for sha256, entry in entries.items():
            owners = folders(entry)
            if base in owners and not sha256.startswith(tuple(words)):
                write(sha256, owners - {base}) if owners - {base} else untrust(sha256)
"""


def trust_there(board: Ssh, base: str, name: str, path: str, sha256: str) -> None:
    """Put an .edge file of the board on the list, for an install folder; TargetError where that fails."""
    code, answer, messages = _python(board, "add", base, name, path)
    if code or answer.split() != ["trusted", sha256]:
        raise TargetError(board.name, "could not write its trust list", "see its messages:", messages.splitlines()[-2:])


def release_there(board: Ssh, base: str, name: str, kept: Iterable[str]) -> None:
    """Take off the list what an install folder holds no more of an artifact; `kept` are the names of the versions that
    it still holds. TargetError where that fails.
    """
    code, _, messages = _python(board, "release", base, name, *sorted(version.partition("-")[2] for version in kept))
    if code:
        lines = messages.splitlines()[-2:]
        raise TargetError(board.name, "could not take an artifact off its trust list", "see its messages:", lines)


def _python(board: Ssh, *words: str) -> tuple[int, str, str]:
    return answer_to(board, f"exec python3 -c {shlex.quote(_LIST)} {' '.join(map(shlex.quote, words))}")
