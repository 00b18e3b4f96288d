"""Many boards at once: each on its own, so that one that fails holds up no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from edgekit.deploy.asking import SWITCH
from edgekit.deploy.destination import Destination, destination
from edgekit.errors import EdgekitError, UsageError
from edgekit.profile.counts import Progress
from edgekit.profile.ssh_said import printable_lines
from edgekit.profile.ssh_stop import Stop, StoppedError

Found = TypeVar("Found")
MOST_AT_ONCE = 64
TIDY_S = 3.0  # what boards in the middle of their work get to tidy up, after Ctrl-C
Work = Callable[[Destination, Progress, Stop], Found]
Show = Callable[[int, str], None]


@dataclass(frozen=True)
class Result(Generic[Found]):
    """What became of one board: either what was found, or why it failed."""

    to: Destination
    found: Found | None
    error: EdgekitError | None


def destinations(addresses: Sequence[str]) -> tuple[Destination, ...]:
    """The destinations of a fleet; UsageError for one that is no address, or names what another one names."""
    found = tuple(map(destination, addresses))
    first = dict[tuple[str, int, str], Destination]()
    for to in found:
        if (other := first.setdefault(to.place, to)) is not to:
            cause = "is named twice" if other == to else f"is the same folder as {other}"
            raise UsageError(f"address {to}", cause, "name every board once")
    return found


def on_each(
    to: Sequence[Destination],
    work: Work[Found],
    show: Show,
    at_once: int,
    tell: Callable[[Destination, str | None], None] = lambda *_: None,
) -> list[Result[Found]]:
    """Do the same on every destination, `at_once` at a time; results are in their order.

    `show` gets the number of a destination and what is going on there, from several threads. UsageError for a number at
    once that is none. Ctrl-C starts no other, ends what runs, and gives each board three seconds to tidy up; `tell`
    then gets each destination where something may have changed, and what is current there, None where nobody knows.
    """
    if not 1 <= at_once <= MOST_AT_ONCE:
        raise UsageError(f"--at-once {at_once}", "means nothing", f"from 1 to {MOST_AT_ONCE}")
    stop, switched = Stop(), set[int]()

    def one(number: int) -> Result[Found]:
        def progress(stage: str, done: int = 0, total: int | None = None) -> None:
            if stop.asked:
                raise StoppedError
            if stage == SWITCH:
                switched.add(number)
            show(number, stage if total is None else f"{stage} {done}/{total}")

        try:
            progress("connect")
            found = work(to[number], progress, stop)
        except EdgekitError as error:
            error.args = (printable_lines(str(error)),)  # which may hold what a board said
            show(number, "failed")
            return Result(to[number], None, error)
        show(number, "done")
        return Result(to[number], found, None)

    with ThreadPoolExecutor(at_once, thread_name_prefix="edgekit-deploy") as pool:
        futures = [pool.submit(one, number) for number in range(len(to))]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop.ask()
            try:
                wait(futures, TIDY_S)
            finally:
                stop.force()
                for number in sorted(switched):
                    tell(to[number], _known(futures[number]))
            raise


def _known(future: Future[Result[Found]]) -> str | None:
    """What became of a board whose work was stopped after it had begun to change something."""
    if not future.done():
        return None
    reason = future.exception()
    if reason is not None:
        return str(reason.args[0]) if isinstance(reason, StoppedError) and reason.args else None
    error = future.result().error
    return "done" if error is None else f"failed: {error}"
