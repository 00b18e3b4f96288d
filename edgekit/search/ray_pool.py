"""Workers on a Ray cluster: actors that hold the problem, each on one core, with the results of any other pool."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from edgekit._version import __version__
from edgekit.artifact import Artifact
from edgekit.compress.rules import Compression
from edgekit.errors import EdgekitError, ToolchainError, UsageError
from edgekit.search.limits import Result
from edgekit.search.pool import Processes, Stop, never
from edgekit.search.problem import Problem
from edgekit.search.trial import Job, run_trial

LOCAL = "local"
CONNECT_S = 5.0
QUIET: Mapping[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}


class RayPool:
    """A pool of actors on the cluster at an address, `local` for one that is started here; edgekit has to be there.

    `count` is how many, by default and at most one for each of the cluster's cores. UsageError where there is no
    cluster, or another edgekit on it; ToolchainError where workers are lost.
    """

    def __init__(self, problem: Problem, address: str, count: int | None = None) -> None:
        try:
            ray: Any = import_module("ray")
        except ImportError as error:
            raise UsageError("--ray", f"needs {error.name}", "pip install 'edgekit[search]'") from error
        self._ray, self._address, self._problem = ray, address, problem
        here = {"num_cpus": count} if address == LOCAL else {}  # of a cluster that runs they are what they are
        try:
            _check_address(address)
            ray.init(address=address, **here, **QUIET)
        except (OSError, ValueError, RuntimeError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0][:120]
            remedy = f"see that it runs; if it wants a token, set RAY_AUTH_MODE=token here; or give {LOCAL}"
            raise UsageError(f"--ray {address}", f"is no cluster that answers ({first})", remedy) from error
        cores = int(ray.cluster_resources().get("CPU", 1))
        self._count = min(count or cores, cores)
        asked = f" ({count} were asked for, the cluster has {cores} cores)" if (count or cores) > cores else ""
        self.name = f"{self._count} Ray worker{'s' * (self._count > 1)}{asked}"
        worker = ray.remote(num_cpus=1)(_Worker)
        self._workers = [worker.remote() for _ in range(self._count)]
        try:
            for there in self._got([worker.version.remote() for worker in self._workers]):
                if there != __version__:
                    cause = f"has edgekit {there}, this computer {__version__}: trials would differ"
                    raise UsageError(f"--ray {address}", cause, "install the same version everywhere")
            held = ray.put(problem)
            self._got([worker.take.remote(held) for worker in self._workers])
        except BaseException:
            self.close()
            raise

    def run(self, jobs: Sequence[Job], stop: Stop = never) -> Iterator[tuple[int, Result]]:
        """As `Pool` says: a job for each worker that is free."""
        waiting, free, running = list(enumerate(jobs)), list(self._workers), dict[Any, tuple[int, Any]]()
        while True:
            while waiting and free and not stop():
                (at, job), worker = waiting.pop(0), free.pop()
                running[worker.run.remote(job)] = at, worker
            if not running:
                return
            (done, *_), _ = self._ray.wait(list(running))
            at, worker = running.pop(done)
            free.append(worker)
            yield at, self._got(done)

    def make(self, compression: Compression) -> Artifact:
        """As `Pool` says, on this computer: what it has made it trusts."""
        here = Processes(self._problem)
        try:
            return here.make(compression)
        finally:
            here.close()

    def close(self) -> None:
        """End the workers, and the cluster where it was started here."""
        for worker in self._workers:
            self._ray.kill(worker)
        self._ray.shutdown()

    def _got(self, promised: Any) -> Any:
        """What workers were asked for; their own fault where they say one, else that they were lost."""
        try:
            return self._ray.get(promised)
        except self._ray.exceptions.RayError as error:
            fault = getattr(error, "cause", None)
            if isinstance(fault, EdgekitError):
                raise fault from None
            first = (str(fault or error).splitlines() or [type(error).__name__])[0][:160]
            remedy = f"see that edgekit {__version__} is on all its machines; the search goes on where it was"
            raise ToolchainError(f"--ray {self._address}", f"a worker was lost ({first})", remedy) from error


def _check_address(address: str) -> None:
    """OSError where nothing listens at host:port: Ray itself would try for minutes, and end the process."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), CONNECT_S).close()


class _Worker:
    """What runs on the cluster. It is asked for its version before it is given what only the same one understands."""

    def version(self) -> str:
        return __version__

    def take(self, problem: Problem) -> None:
        self._problem = problem

    def run(self, job: Job) -> Result:
        return run_trial(self._problem, job)
