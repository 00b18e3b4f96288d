"""Workers on a Ray cluster: actors that hold the problem, each on one core, with the results of any other pool."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from edgekit.errors import UsageError
from edgekit.search.limits import Result
from edgekit.search.problem import Problem
from edgekit.search.trial import Job, run_trial

LOCAL = "local"
CONNECT_S = 5.0
QUIET: Mapping[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}


class RayPool:
    """A pool of actors on the cluster at an address, `local` for one that is started here; edgekit has to be there.

    `count` is how many, by default one for each of the cluster's cores. UsageError where there is no cluster.
    """

    def __init__(self, problem: Problem, address: str, count: int | None = None) -> None:
        try:
            ray: Any = import_module("ray")
        except ImportError as error:
            raise UsageError("--ray", f"needs {error.name}", "pip install 'edgekit[search]'") from error
        self._ray = ray
        here = {"num_cpus": count} if address == LOCAL else {}  # of a cluster that runs they are what they are
        try:
            _check_address(address)
            ray.init(address=address, **here, **QUIET)
        except (OSError, ValueError, RuntimeError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0][:120]
            remedy = f"see that it runs, and that Ray's own configuration here has its token; or give {LOCAL}"
            raise UsageError(f"--ray {address}", f"is no cluster that answers ({first})", remedy) from error
        cores = int(ray.cluster_resources().get("CPU", 1))
        self._count = min(count or cores, cores)
        self.name = f"{self._count} Ray worker{'s' * (self._count > 1)}"
        held = ray.put(problem)
        worker = ray.remote(num_cpus=1)(_Worker)
        self._workers = [worker.remote(held) for _ in range(self._count)]

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Result]]:
        """As `Pool` says: a job for each worker that is free."""
        waiting, free, running = list(enumerate(jobs)), list(self._workers), dict[Any, tuple[int, Any]]()
        while waiting or running:
            while waiting and free:
                (at, job), worker = waiting.pop(0), free.pop()
                running[worker.run.remote(job)] = at, worker
            (done, *_), _ = self._ray.wait(list(running))
            at, worker = running.pop(done)
            free.append(worker)
            yield at, self._ray.get(done)

    def close(self) -> None:
        """End the workers, and the cluster where it was started here."""
        for worker in self._workers:
            self._ray.kill(worker)
        self._ray.shutdown()


def _check_address(address: str) -> None:
    """OSError where nothing listens at host:port: Ray itself would try for minutes, and end the process."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), CONNECT_S).close()


class _Worker:
    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    def run(self, job: Job) -> Result:
        return run_trial(self._problem, job)
