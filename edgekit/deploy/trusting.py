"""The trust list of a board's own edgekit: what is deployed is on it, what has gone is not."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from edgekit.errors import TargetError
from edgekit.profile.ssh import Ssh

_TRUST = (
    "import sys; from edgekit.artifact import list_trusted, trust; "
    "was = list_trusted(); sha256 = trust(sys.argv[1]); print(sha256, 'was' if sha256 in was else 'new')"
)
_UNTRUST = "import sys; from edgekit.artifact import untrust; [untrust(sha256) for sha256 in sys.argv[1:]]"


def trust_there(board: Ssh, path: str, sha256: str) -> bool:
    """Put an .edge file of the board on the list: whether it was not there before. TargetError where that fails."""
    code, answer, messages = board.do(f"python3 -c {shlex.quote(_TRUST)} {shlex.quote(path)}")
    said = answer.decode("utf-8", "replace").split()
    if code or sha256 not in said:
        raise TargetError(board.name, "could not write its trust list", "see its messages:", messages.splitlines()[-2:])
    return "new" in said


def untrust_there(board: Ssh, sha256s: Iterable[str]) -> None:
    """Take files off the list, by their SHA-256; TargetError where that fails."""
    words = sorted({sha256 for sha256 in sha256s if re.fullmatch("[0-9a-f]{64}", sha256)})
    if not words:
        return
    code, _, messages = board.do(f"python3 -c {shlex.quote(_UNTRUST)} {' '.join(words)}")
    if code:
        lines = messages.splitlines()[-2:]
        raise TargetError(board.name, "could not take an artifact off its trust list", "see its messages:", lines)
