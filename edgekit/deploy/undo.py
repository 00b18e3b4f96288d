"""Going back after a failure, and telling plainly what is current then."""

from __future__ import annotations

from collections.abc import Callable

from edgekit.errors import EdgekitError, TargetError


def undo(error: BaseException, go_back: Callable[[], None], done: str, failed: str) -> None:
    """Go back because of an error. A TargetError is raised again with a word of what is current: `done` where going
    back went well, `failed` where it did not; other errors are left to the caller.
    """
    reason: EdgekitError | None = None
    try:
        go_back()
    except EdgekitError as further:
        reason = further
    words = [done] if reason is None else [f"{failed}; going back failed too: {reason.thing}: {reason.cause}"]
    if type(error) is TargetError:
        raise TargetError(error.thing, error.cause, error.remedy, [*error.items, *words]) from reason
