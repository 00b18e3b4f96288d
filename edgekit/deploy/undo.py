"""Going back after a failure, and telling plainly what is current then."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from edgekit.errors import EdgekitError, TargetError
from edgekit.profile.ssh_stop import StoppedError

Step = Callable[[], object]


def undo(error: BaseException, switch: Step, rest: Step, done: str, failed: str) -> None:
    """Go back because of an error: `switch` the versions, then the rest, which follows them.

    A TargetError is raised again with a word of what is current: `done` where they were switched, `failed` where not,
    and why something was not done; StoppedError gets these words as its argument. Other errors are left to the caller.
    """
    word, further = "", None
    try:
        switch()
        word = done
        rest()
    except EdgekitError as reason:
        further = reason
        if not word:  # an answer that did not come leaves a question open, its last item
            word = reason.items[-1] if reason.items else failed
    why = [] if further is None else [f"going back was not all done: {further.thing}: {further.cause}"]
    if isinstance(error, StoppedError):
        error.args = ("; ".join([word, *why]),)
    if type(error) is TargetError:
        raise TargetError(error.thing, error.cause, error.remedy, [*error.items, word, *why]) from further


def open_question(version: str, address: str) -> str:
    """What nobody knows while a board has not answered."""
    return f"{version} may be current: edgekit deploy --list {shlex.quote(address)} tells, and the same command goes on"
