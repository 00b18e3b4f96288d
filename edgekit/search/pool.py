"""Workers that run trials: processes of this computer, each on one thread, so that all give the same results."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from signal import SIG_BLOCK, SIG_SETMASK, SIGINT, pthread_sigmask
from typing import Protocol, TypeVar

from edgekit.artifact import Artifact, read_artifact
from edgekit.compress.rules import Compression
from edgekit.errors import ToolchainError
from edgekit.search.limits import Result
from edgekit.search.problem import Problem
from edgekit.search.program import convert_compressed
from edgekit.search.trial import Job, run_trial

T = TypeVar("T")
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Sums of floats depend on how many threads share them, and so would the scales of a program."""


LOST = "give it more memory, or fewer --jobs; the search goes on where it was"

Stop = Callable[[], bool]


def never() -> bool:
    """No reason to stop."""
    return False


class Pool(Protocol):
    """Runs trials, several at once."""

    @property
    def name(self) -> str:
        """Where they run, in words."""

    def run(self, jobs: Sequence[Job], stop: Stop = never) -> Iterator[tuple[int, Result]]:
        """The results of some jobs as they come, each with the number of its job; none begins once it is to `stop`."""

    def make(self, compression: Compression) -> Artifact:
        """The artifact of a compression, made as its trial was; saved here it is trusted."""

    def close(self) -> None:
        """End the workers, whatever they do."""


class Here:
    """No workers: trials run one by one in this process, on as many threads as it has."""

    name = "this process"

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    def run(self, jobs: Sequence[Job], stop: Stop = never) -> Iterator[tuple[int, Result]]:
        for at, job in enumerate(jobs):
            if stop():
                return
            yield at, run_trial(self._problem, job)

    def make(self, compression: Compression) -> Artifact:
        return convert_compressed(self._problem, compression).artifact

    def close(self) -> None:
        pass


class Processes:
    """A pool of processes of this computer; ToolchainError where they do not start, or are ended from outside."""

    def __init__(self, problem: Problem, count: int = 1) -> None:
        self.name = f"{count} process{'es' * (count > 1)} of this computer"
        self._count = count
        context = get_context("spawn")  # nothing of this process, its threads least of all, is theirs
        self._executor = ProcessPoolExecutor(count, context, _take, (problem,))
        for started in [self._submit(os.getpid) for _ in range(count)]:  # one starts for each, as none is idle yet
            _result(started)

    def run(self, jobs: Sequence[Job], stop: Stop = never) -> Iterator[tuple[int, Result]]:
        left, running = list(enumerate(jobs)), dict[Future[Result], int]()
        while True:
            while left and len(running) < self._count and not stop():
                at, job = left.pop(0)
                running[self._submit(_run, job)] = at
            if not running:
                return
            for done in futures.wait(running, return_when=futures.FIRST_COMPLETED).done:
                yield running.pop(done), _result(done)

    def make(self, compression: Compression) -> Artifact:
        packed = _result(self._submit(_make, compression))
        return Artifact(read_artifact(packed), packed, made_here=True)

    def close(self) -> None:
        processes = list((self._executor._processes or {}).values())
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()

    def _submit(self, work: Callable[..., T], *given: object) -> Future[T]:
        with _one_thread(), _deaf():  # a worker may start now
            try:
                return self._executor.submit(work, *given)
            except BrokenProcessPool as error:
                raise _lost() from error


def _result(future: Future[T]) -> T:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise _lost() from error


def _lost() -> ToolchainError:
    return ToolchainError("search", "a worker was ended from outside", LOST)


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


def _make(compression: Compression) -> bytes:
    return convert_compressed(_known[0], compression).artifact.packed


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
