"""Questions to a board: what counts in its answer, and what a request that failed has left open."""

from __future__ import annotations

import secrets

from edgekit.errors import TargetError
from edgekit.profile.ssh import COPY_S, Ssh
from edgekit.profile.ssh_said import printable

SWITCH = "switch"  # the stage from which on something changes
SYNC_S = 300.0  # a card that is slow to flush what was written


def answer_to(
    board: Ssh, script: str, given: bytes = b"", limit_s: float = COPY_S, *, to_its_end: bool = False
) -> tuple[int, str, str]:
    """The exit code, the answer and the messages of a script that runs on a board.

    What the board's login prints before it, as some do for every command, is no part of the answer: a line that nobody
    can guess parts them. TargetError where that line is missing.
    """
    mark = f"edgekit-{secrets.token_hex(16)}"
    code, said, messages = board.do(f"printf '\\n%s\\n' {mark}\n{script}", given, limit_s, to_its_end=to_its_end)
    _, found, answer = said.decode("utf-8", "replace").partition(f"\n{mark}\n")
    if not found:
        raise (
            board.failed(code, messages) if code else TargetError(board.name, "did not run a command", "try it by hand")
        )
    return code, answer, messages


def request(board: Ssh, line: str, open_question: str) -> None:
    """Have the shell that holds the folder change something.

    TargetError where it says that it has not; where no answer comes, one that says as well what nobody knows then.
    """
    try:
        said = board.ask(line, SYNC_S)
    except TargetError as error:
        raise TargetError(error.thing, error.cause, error.remedy, [*error.items, open_question]) from error
    if said and said[-1].startswith("not "):
        raise TargetError(board.name, *printable(said[-1][4:]).split("; ", 1))
