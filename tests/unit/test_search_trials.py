"""Problems, trials, workers and whole searches: what is tried, for how long, and what stops it."""

from __future__ import annotations

import os
import pickle
import signal
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgekit._version import __version__
from edgekit.artifact import Artifact
from edgekit.compress.rules import Compression
from edgekit.errors import CapacityError, ToolchainError, UsageError
from edgekit.search import ray_pool
from edgekit.search import trial as trials
from edgekit.search.answer import answer, check_same
from edgekit.search.engine import Found, Search, Settings
from edgekit.search.frontier import Trial, chosen
from edgekit.search.limits import Failed, Limits, Outcome, Result
from edgekit.search.pool import Here, Pool, Processes, Stop, never
from edgekit.search.problem import Problem, Windows
from edgekit.search.program import convert_compressed
from edgekit.search.ray_pool import RayPool
from edgekit.search.space import compression_of, key_of, space_of
from edgekit.search.storage import Storage
from edgekit.search.trial import Job, run_trial

if TYPE_CHECKING:
    from edgekit.frontends import Imported

X = np.random.default_rng(1).normal(size=(300, 1, 8)).astype(np.float32)


def imported_net(name: str = "net") -> Imported:
    """A net of one hidden layer that decides among three classes."""
    torch = pytest.importorskip("torch")
    from edgekit.frontends import import_module
    from edgekit.models.mlp import MLP

    torch.manual_seed(1)
    return import_module(MLP(sizes=[8, 12, 3]).eval(), torch.zeros(1, 8), name=name)


@pytest.fixture(scope="module")
def imported() -> Imported:
    return imported_net()


@pytest.fixture(scope="module")
def problem(imported: Imported) -> Problem:
    rng, x = np.random.default_rng(2), X
    made = Problem.of(imported, "smartwatch", Windows(x[:200]), Windows(x[200:]))
    expected = made.jury.expected
    assert expected is not None
    labels = np.where(rng.random(100) < 0.1, 0, expected)
    return Problem.of(imported, "smartwatch", Windows(x[:200]), Windows(x[200:], labels))


def pools(problem: Problem) -> Iterator[Pool]:
    yield Processes(problem, 2)
    pytest.importorskip("ray")
    yield RayPool(problem, "local", 2)


def space_jobs(problem: Problem) -> list[Job]:
    space = space_of(problem.optimised, problem.target, ("weights *", "units *"))
    points = [{}, *({choice.name: at} for choice in space for at in (1, len(choice.options) - 1))]
    return [Job(compression_of(space, point)) for point in points]


@pytest.mark.drawn(3)
def test_processes_and_ray_give_the_results_of_one_process(problem: Problem) -> None:
    jobs = space_jobs(problem)[:4]
    expected = dict(Here(problem).run(jobs))
    assert len({str(result) for result in expected.values()}) == len(jobs)
    for pool in pools(problem):
        try:
            assert dict(pool.run(jobs)) == expected, pool.name
        finally:
            pool.close()


def test_a_ray_cluster_that_does_not_answer_is_refused_within_seconds(problem: Problem) -> None:
    pytest.importorskip("ray")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, and nobody listens
        address = f"127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"--ray {address}: is no cluster that answers"):
            RayPool(problem, address)


def test_a_search_goes_on_with_other_limits_and_its_artifact_has_the_program_of_its_trial(
    problem: Problem, tmp_path: Path
) -> None:
    settings = Settings(trials=4, batch=2, vary=("units *",))
    with Storage(tmp_path / "s.search", problem.identity) as storage:
        first = Search(problem, Limits(50.0), settings, Here(problem), storage).run()
        assert first.fresh == len(storage) > 0
        again = Search(problem, Limits(50.0), settings, Here(problem), storage).run()
        assert again.trials == first.trials
        assert again.fresh == 0
    best = chosen(first.trials, Limits(50.0), 0.0)
    assert best is not None
    assert best.outcome.flash < first.plain.flash
    made = convert_compressed(problem, best.compression)
    check_same(made.artifact, best)
    for other in ({"flash": 1}, {"weights": 1}, {"program": "other"}):
        with pytest.raises(ToolchainError, match=r"artifact: (takes|is not)"):
            check_same(made.artifact, replace(best, outcome=replace(best.outcome, **other)))
    manifest = made.artifact.manifest
    assert manifest["graph_sha256"] == best.outcome.program
    assert manifest["sizes"]["flash_bytes"] == best.outcome.flash
    assert manifest["sizes"]["weights_bytes"] == best.outcome.weights
    assert len(first.sensitivity.rows) == sum(len(c.options) - 1 for c in first.sensitivity.space)


class Imagined:
    """Workers that need no time: what a compression saves, and loses for it, follows from its text."""

    name = "imagination"

    def __init__(self) -> None:
        self.asked: list[Job] = []

    def run(self, jobs: Sequence[Job], stop: Stop = never) -> Iterator[tuple[int, Result]]:
        for at, job in enumerate(jobs):
            if stop():
                return
            self.asked.append(job)
            key = key_of(job.compression)
            saved = 0 if job.compression == Compression() else 1 + int(sha256(key.encode()).hexdigest(), 16) % 400
            yield at, Outcome(saved / 100, 0.1, 90.0, 100, 3000 - saved, 2000 - saved, 99, 50.0, key)

    def make(self, compression: Compression) -> Artifact:
        raise AssertionError("only an answer makes artifacts")

    def close(self) -> None:
        pass


def searched(problem: Problem, folder: Path, settings: Settings, limits: Limits | None = None) -> Found:
    with Storage(folder / "s.search", problem.identity) as storage:
        return Search(problem, limits or Limits(5.0), settings, Imagined(), storage).run()


@pytest.mark.parametrize("wanted", [1, 3, 12, 21])
def test_as_many_trials_are_run_as_were_asked_for(problem: Problem, tmp_path: Path, wanted: int) -> None:
    found = searched(problem, tmp_path, Settings(trials=wanted))
    assert len(found.trials) == len({trial.words for trial in found.trials}) == wanted
    assert not found.exhausted
    assert found.trials[0].words == "plain int8"


def test_a_space_that_is_exhausted_ends_the_search(problem: Problem, tmp_path: Path) -> None:
    found = searched(problem, tmp_path, Settings(trials=None, minutes=60.0, vary=("units *",)))
    (choice,) = found.space
    assert found.exhausted
    assert len(found.trials) == len({trial.words for trial in found.trials}) == len(choice.options)


@pytest.mark.parametrize("epochs", [0, 2])
def test_no_trial_begins_after_the_minutes(problem: Problem, tmp_path: Path, epochs: int) -> None:
    found = searched(problem, tmp_path, Settings(trials=None, minutes=0.0, epochs=epochs))
    assert [trial.words for trial in found.trials] == ["plain int8"]
    assert len(found.sensitivity.rows) > 4


def test_the_clock_is_looked_at_between_trials(
    problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = count()
    monkeypatch.setattr("edgekit.search.engine.time", SimpleNamespace(monotonic=lambda: float(next(seconds))))
    found = searched(problem, tmp_path, Settings(trials=None, minutes=0.1))
    assert 3 < len(found.trials) < 8  # each look takes a second, and there are six


def test_pools_begin_nothing_when_they_are_to_stop(problem: Problem) -> None:
    jobs = [Job(Compression()), Job(Compression("int4"))]
    assert list(Here(problem).run(jobs, lambda: True)) == []
    looks = iter((False, True))
    assert [at for at, _ in Here(problem).run(jobs, lambda: next(looks))] == [0]


def test_a_worker_that_was_killed_while_idle_is_one_clear_fault(problem: Problem) -> None:
    pool = Processes(problem)
    try:
        (pid,) = pool._executor._processes
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ToolchainError, match="a worker was ended from outside"):
            list(pool.run([Job(Compression())] * 2))
        with pytest.raises(ToolchainError, match="a worker was ended from outside"):
            list(pool.run([Job(Compression())]))
    finally:
        pool.close()


def test_faults_come_back_from_workers_as_they_were() -> None:
    for fault in (ToolchainError("a", "b", "c", ["d"]), CapacityError("flash", 3, 2, "less")):
        again = pickle.loads(pickle.dumps(fault))
        assert (type(again), str(again), vars(again)) == (type(fault), str(fault), vars(fault))


def test_what_this_computer_lacks_is_no_property_of_a_compression(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = ToolchainError("compiling net.c", "took more than 60 s")

    def fails(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(trials, "build_program", fails)
    with pytest.raises(ToolchainError, match="took more than"):
        run_trial(problem, Job(Compression()))
    fault = ToolchainError("compiling net.o", "failed", "zig says:", ["region 'FLASH': overflowed by 9 bytes"])
    assert run_trial(problem, Job(Compression())) == Failed(
        "region 'FLASH': overflowed by 9 bytes, on the board that the target is emulated on"
    )


@pytest.mark.parametrize(
    ("wrong", "fault"), [({"method": "minmax"}, UsageError), ({"compiler": "icc"}, ToolchainError)]
)
def test_a_method_and_a_compiler_that_are_not_there_are_refused_before_any_trial(
    imported: Imported, wrong: dict[str, Any], fault: type[Exception]
) -> None:
    with pytest.raises(fault, match="is not known"):
        Problem.of(imported, "smartwatch", Windows(X), Windows(X), **wrong)


def test_a_model_that_is_called_as_a_kernel_is_searched() -> None:
    problem = Problem.of(imported_net("linear"), "smartwatch", Windows(X[:3]), Windows(X[3:]))
    outcome = run_trial(problem, Job(Compression()))  # of three windows for calibration, fewer than are counted
    assert isinstance(outcome, Outcome)
    assert outcome.instructions is not None
    check_same(Here(problem).make(Compression()), Trial({}, Compression(), "", outcome))


def test_results_are_of_windows_a_compiler_and_a_core(imported: Imported) -> None:
    y = np.arange(len(X)) % 3
    whole = Problem.of(imported, "host", Windows(X, y), Windows(X), train=True).identity
    assert Problem.of(imported, "host", Windows(X, y), Windows(X)).identity == whole  # training is asked for or not
    assert Problem.of(imported, "host", Windows(X, y[::-1]), Windows(X)).identity != whole
    assert any(char.isdigit() for char in whole["compiler"])
    assert whole["target"].split()[0] == "host"
    assert len(whole["target"].split()) == 3


def test_a_pattern_that_fits_nothing_is_called_by_its_option(problem: Problem) -> None:
    with pytest.raises(UsageError, match=r"--vary 'weihgts \*': fits none of the things that can vary"):
        space_of(problem.optimised, problem.target, ("weihgts *",))


def test_ram_without_the_stack_is_told(imported: Imported, tmp_path: Path) -> None:
    problem = Problem.of(imported, "host", Windows(X[:50]), Windows(X[50:]))
    with Storage(tmp_path / "s.search", problem.identity) as storage:
        search = Search(problem, Limits(5.0, ram=1), Settings(trials=1, vary=("units *",)), Here(problem), storage)
        told = answer(search, None).to_dict()
    assert told["notes"] == ["RAM is states and scratch: nothing measures the stack of host here"]
    assert told["reasons"][0].startswith("ram: the least that loses no more than 5 points is")


class LostError(Exception):
    """What a stand-in for Ray raises in place of its own faults."""


def ray_of(version: str, fault: BaseException | None = None) -> SimpleNamespace:
    """A stand-in for Ray whose workers have a version of edgekit, and fail where there is a fault."""

    def remote(kind: type) -> SimpleNamespace:
        def method(name: str, worker: Any) -> SimpleNamespace:
            return SimpleNamespace(remote=lambda *given: lambda: getattr(worker, name)(*given))

        def actor() -> SimpleNamespace:
            worker = kind()
            worker.version = lambda: version
            return SimpleNamespace(**{name: method(name, worker) for name in ("version", "take", "run")})

        return SimpleNamespace(remote=actor)

    def get(promised: Any) -> Any:
        if isinstance(promised, list):
            return [call() for call in promised]
        if fault is not None:
            raise fault
        return promised()

    return SimpleNamespace(
        init=lambda **_: None,
        cluster_resources=lambda: {"CPU": 2.0},
        remote=lambda **_: remote,
        put=lambda held: held,
        get=get,
        wait=lambda promised: (promised[:1], promised[1:]),
        kill=lambda _: None,
        shutdown=lambda: None,
        exceptions=SimpleNamespace(RayError=LostError),
    )


def test_workers_of_ray_have_the_same_edgekit_and_their_faults_are_clear(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pool(version: str, fault: BaseException | None = None) -> RayPool:
        monkeypatch.setattr(ray_pool, "import_module", lambda _: ray_of(version, fault))
        return RayPool(problem, "local", 8)

    with pytest.raises(UsageError, match=rf"has edgekit 0\.0\.1, this computer {__version__}"):
        pool("0.0.1")
    assert pool(__version__).name == "2 Ray workers (8 were asked for, the cluster has 2 cores)"
    with pytest.raises(ToolchainError, match=r"--ray local: a worker was lost \(the node died\)"):
        list(pool(__version__, LostError("the node died\nmore")).run([Job(Compression())]))
    own = LostError("a long story")
    own.cause = ToolchainError("unicorn", "is not installed")  # type: ignore[attr-defined]
    with pytest.raises(ToolchainError, match="unicorn: is not installed"):
        list(pool(__version__, own).run([Job(Compression())]))
