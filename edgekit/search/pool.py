"""Workers that run trials: processes of this computer, each on one thread, so that all give the same results."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from signal import SIG_BLOCK, SIG_SETMASK, SIGINT, pthread_sigmask
from typing import Protocol

from edgekit.errors import ToolchainError
from edgekit.search.limits import Result
from edgekit.search.problem import Problem
from edgekit.search.trial import Job, run_trial

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Sums of floats depend on how many threads share them, and so would the scales of a program."""


class Pool(Protocol):
    """Runs trials, several at once."""

    @property
    def name(self) -> str:
        """Where they run, in words."""

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Result]]:
        """The results of some jobs as they come, each with the number of its job."""

    def close(self) -> None:
        """End the workers, whatever they do."""


class Here:
    """No workers: trials run one by one in this process."""

    name = "this process"

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Result]]:
        for at, job in enumerate(jobs):
            yield at, run_trial(self._problem, job)

    def close(self) -> None:
        pass


class Processes:
    """A pool of processes of this computer."""

    def __init__(self, problem: Problem, count: int) -> None:
        self.name = f"{count} process{'es' * (count > 1)} of this computer"
        context = get_context("spawn")  # nothing of this process, its threads least of all, is theirs
        self._executor = ProcessPoolExecutor(count, context, _take, (problem,))
        with _one_thread(), _deaf():
            self._executor.submit(os.getpid).result()  # here, so that all of them start now

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Result]]:
        with _one_thread(), _deaf():
            waiting: dict[Future[Result], int] = {self._executor.submit(_run, job): at for at, job in enumerate(jobs)}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BrokenProcessPool as error:
            remedy = "give it more memory, or fewer --jobs; the search goes on where it was"
            raise ToolchainError("search", "a worker was ended from outside", remedy) from error

    def close(self) -> None:
        processes = list((self._executor._processes or {}).values())
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


_known: list[Problem] = []


def _take(problem: Problem) -> None:
    """Make a fresh worker ready."""
    _known[:] = [problem]
    threading.Thread(target=_leave, daemon=True).start()


def _leave() -> None:
    """End this worker when the search that started it is gone."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _run(job: Job) -> Result:
    return run_trial(_known[0], job)


@contextmanager
def _one_thread() -> Iterator[None]:
    """What starts meanwhile computes on one thread."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _deaf() -> Iterator[None]:
    """What starts meanwhile does not hear Ctrl-C, which is for the search: that ends its workers itself."""
    before = pthread_sigmask(SIG_BLOCK, [SIGINT])
    try:
        yield
    finally:
        pthread_sigmask(SIG_SETMASK, before)
