"""Going back after a failure, and telling plainly what is current then."""

from __future__ import annotations

from collections.abc import Callable

from edgekit.errors import EdgekitError, TargetError

Step = Callable[[], object]


def undo(error: BaseException, switch: Step, rest: Step, done: str, failed: str) -> None:
    """Go back because of an error: `switch` the versions, then the rest, which follows them.

    A TargetError is raised again with a word of what is current: `done` where they were switched, `failed` where not,
    and why something was not done. Other errors are left to the caller.
    """
    word, further = failed, None
    try:
        switch()
        word = done
        rest()
    except EdgekitError as reason:
        further = reason
    if type(error) is TargetError:
        why = [] if further is None else [f"going back was not all done: {further.thing}: {further.cause}"]
        raise TargetError(error.thing, error.cause, error.remedy, [*error.items, word, *why]) from further
