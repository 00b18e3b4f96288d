"""Many boards at once: each on its own, so that one that fails holds up no other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from edgekit.deploy.destination import Destination, destination
from edgekit.errors import EdgekitError, UsageError
from edgekit.profile.counts import Progress

Found = TypeVar("Found")
MOST_AT_ONCE = 64
Work = Callable[[Destination, Progress], Found]
Show = Callable[[int, str], None]


@dataclass(frozen=True)
class Result(Generic[Found]):
    """What became of one board: either what was found, or why it failed."""

    to: Destination
    found: Found | None
    error: EdgekitError | None


class _StoppedError(Exception):
    """Somebody has asked to stop; a board in the middle of its work tidies up."""


def destinations(addresses: Sequence[str]) -> tuple[Destination, ...]:
    """The destinations of a fleet; UsageError for one that is no address or comes twice."""
    found = tuple(map(destination, addresses))
    for to in found:
        if found.count(to) > 1:
            raise UsageError(f"address {to}", "is named twice", "name every board once")
    return found


def on_each(to: Sequence[Destination], work: Work[Found], show: Show, at_once: int) -> list[Result[Found]]:
    """Do the same on every destination, `at_once` at a time; results are in their order.

    `show` gets the number of a destination and what is going on there, from several threads. UsageError for a number at
    once that is none. Ctrl-C lets those that run tidy up, and starts no other.
    """
    if not 1 <= at_once <= MOST_AT_ONCE:
        raise UsageError(f"--at-once {at_once}", "means nothing", f"from 1 to {MOST_AT_ONCE}")
    stop = threading.Event()

    def one(number: int) -> Result[Found]:
        def progress(stage: str, done: int = 0, total: int | None = None) -> None:
            if stop.is_set():
                raise _StoppedError
            show(number, stage if total is None else f"{stage} {done}/{total}")

        try:
            progress("connect")
            found = work(to[number], progress)
        except EdgekitError as error:
            show(number, "failed")
            return Result(to[number], None, error)
        show(number, "done")
        return Result(to[number], found, None)

    with ThreadPoolExecutor(at_once, thread_name_prefix="edgekit-deploy") as pool:
        try:
            return list(pool.map(one, range(len(to))))
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
