"""The parts of a search: sizes, windows held out, judging, frontier, storage, proposals, workers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from edgekit.cli.budget import bytes_of, limits_of
from edgekit.compress.rules import Compression
from edgekit.errors import DataError, UsageError
from edgekit.search.engine import Search, Settings
from edgekit.search.frontier import Trial, chosen, frontier, limiting, promising
from edgekit.search.holdout import hold_out
from edgekit.search.limits import Failed, Limits, Outcome, document_of, result_of
from edgekit.search.pool import Here, Pool, Processes
from edgekit.search.problem import Problem, Windows
from edgekit.search.program import convert_compressed
from edgekit.search.proposals import Proposals
from edgekit.search.sensitivity import Cost, way_down
from edgekit.search.space import Choice, Option, compression_of
from edgekit.search.storage import Asked, Storage
from edgekit.search.trial import Job

PLAIN = Outcome(0.2, 0.3, 88.0, 1000, 50_000, 46_000, 2000, 7000.0, "plain")
SMALL, SMALLER = Choice("a", tuple(map(Option, "012"))), Choice("b", tuple(map(Option, "01234")))


def trial(drop: float, weights: int, error: float = 0.1, instructions: float = 7000.0) -> Trial:
    outcome = replace(PLAIN, drop=drop, weights=weights, flash=weights + 7000, error=error, instructions=instructions)
    return Trial({}, Compression(), f"{drop} {weights}", outcome)


@pytest.mark.parametrize(
    ("text", "count"), [("24kB", 24_000), ("16KiB", 16_384), ("1.5 MB", 1_500_000), ("24000", 24_000), ("7b", 7)]
)
def test_sizes_are_read(text: str, count: int) -> None:
    assert bytes_of("--max-flash", text) == count


@pytest.mark.parametrize("text", ["", "kB", "-3", "0", "0.1B", "3 q", "1e3", "24kB!", "∞"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--max-flash"):
        limits_of(1.0, text, None)


@pytest.mark.parametrize("drop", [None, -1.0, 101.0, float("nan")])
def test_a_promise_has_a_drop(drop: float | None) -> None:
    with pytest.raises(UsageError, match="--max-drop"):
        limits_of(drop, "24kB", None)


def test_a_fifth_is_held_out_by_subject_or_in_runs() -> None:
    windows = Windows(np.arange(1000.0)[:, None], np.arange(1000) % 3)
    subject = np.repeat(np.arange(10), 100)
    rest, held, words = hold_out(windows, subject)
    assert "2 of 10 subjects" in words
    assert set(subject[held.x[:, 0].astype(int)]).isdisjoint(subject[rest.x[:, 0].astype(int)])
    rest, held, _ = hold_out(windows)
    assert (len(rest), len(held)) == (800, 200)
    assert np.count_nonzero(np.diff(held.x[:, 0]) > 1) == 9  # ten runs: neighbours stay together
    assert held.y is not None
    assert np.array_equal(held.y, held.x[:, 0].astype(int) % 3)
    with pytest.raises(DataError, match="too few"):
        hold_out(Windows(windows.x[:49]))


def test_the_frontier_holds_what_no_other_beats_and_the_smallest_that_keeps_the_promise_is_chosen() -> None:
    rng = np.random.default_rng(0)
    trials = [
        trial(round(float(d), 2), int(w))
        for d, w in zip(rng.uniform(0, 5, 60), rng.integers(9000, 40_000, 60), strict=True)
    ]
    best = frontier(trials)
    for one in trials:
        beaten = any(o.outcome.drop <= one.outcome.drop and o.outcome.weights <= one.outcome.weights for o in best)
        assert beaten
    assert all(a.outcome.drop > b.outcome.drop for a, b in pairwise(best))
    limits = Limits(1.0, weights=39_000)
    kept = [t for t in trials if t.outcome.drop + 0.1 <= 1 and t.outcome.weights <= 39_000]
    found = chosen(trials, limits, 1.0)
    assert found is not None
    assert found.outcome.weights == min(t.outcome.weights for t in kept)


def test_a_point_that_keeps_the_promise_just_so_comes_after_sure_ones() -> None:
    sure, just, beyond = trial(0.4, 20_000, 0.5), trial(0.7, 12_000, 0.5), trial(1.2, 9000, 0.5)
    assert chosen([sure, just, beyond], Limits(1.0), 1.0) is sure
    assert chosen([sure, just, beyond], Limits(1.0), 0.0) is just
    assert chosen([just, beyond], Limits(1.0), 1.0) is just
    assert chosen([beyond], Limits(1.0), 0.0) is None


def test_what_limits_is_told() -> None:
    trials = [trial(0.5, 20_000), trial(3.0, 12_000)]
    (size,) = limiting(trials, Limits(1.0, weights=16_000))
    assert "20,000 bytes, 4,000 too many" in size
    (drop,) = limiting(trials, Limits(0.25, weights=16_000))
    assert "0.50 points, 0.25 too many" in drop


def test_training_is_for_trials_smaller_than_what_is_kept() -> None:
    trials = [trial(0.5, 30_000), trial(2.0, 20_000), trial(4.0, 15_000), trial(5.0, 15_500), trial(30.0, 9000)]
    found = promising(trials, Limits(1.0), [trials[0]], 4)
    assert [t.outcome.weights for t in found] == [15_000, 20_000]


def test_the_way_down_takes_first_what_saves_most_for_its_loss() -> None:
    space = (SMALL, SMALLER)
    costs = {
        "a": [Cost(0, 100), Cost(1, 90), Cost(1.5, 50)],  # the second alone is not on the hull
        "b": [Cost(0, 100), Cost(0, 95), Cost(0, 90), Cost(2, 60), Cost(9, 59)],
    }
    assert way_down(space, costs) == [{}, {"b": 2}, {"b": 2, "a": 2}, {"b": 3, "a": 2}, {"b": 4, "a": 2}]


def test_results_are_plain_values() -> None:
    for result in (PLAIN, Failed("no program")):
        assert result_of(json.loads(json.dumps(document_of(result)))) == result


def result_at(point: Mapping[str, int]) -> Outcome | Failed:
    """Of two choices: what they save adds up, and both at 1 give no program."""
    a, b = point.get("a", 0), point.get("b", 0)
    if (a, b) == (1, 1):
        return Failed("no program")
    return trial(0.5 * a + 0.4 * b, 40_000 - 6000 * a - 5000 * b).outcome


def proposed(seed: int, batches: int) -> list[Mapping[str, int]]:
    proposals = Proposals((SMALL, SMALLER), Limits(1.0, weights=20_000), seed)
    proposals.add({}, result_at({}))
    asked: list[Mapping[str, int]] = []
    for _ in range(batches):
        points = proposals.ask(4)
        proposals.tell([result_at(point) for point in points])
        asked += points
    return asked


def test_proposals_are_the_same_for_a_seed_and_none_comes_twice_before_all_came() -> None:
    asked = proposed(3, 3)
    assert proposed(3, 3) == asked
    assert proposed(4, 3) != asked
    assert len({tuple(sorted(point.items())) for point in (*asked, {})}) == 13  # of 3 · 5


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "trials.search"
    with Storage(path, {"model": "m"}) as storage:
        for at in range(3):
            storage.record("search", Asked((SMALL,), {"a": at}), PLAIN, Limits(1.0))
    return path


def test_a_storage_keeps_whole_lines_only(journal: Path) -> None:
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-40])  # as a crash while the last line was written leaves it
    asked = [Asked((SMALL,), {"a": at}) for at in range(3)]
    with Storage(journal, {"model": "m"}) as storage:
        known = [storage.known(each.job) for each in asked]
    # without rules all options are the same compression: one job
    assert known == [PLAIN] * 3
    assert journal.read_bytes().endswith(b"\n")


def test_a_storage_is_of_one_problem_and_one_search_at_a_time(journal: Path) -> None:
    with pytest.raises(UsageError, match="another model"), Storage(journal, {"model": "other"}):
        pass
    with Storage(journal, {"model": "m"}), pytest.raises(UsageError, match="in use"):
        Storage(journal, {"model": "m"})


@pytest.mark.parametrize("content", [b"no journal\n", b'{"op_code": 99}\n', b'{"a": 1}\n', b"\x00\xff" * 20, b"[]\n"])
def test_what_is_no_storage_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.search"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.search"):
        Storage(path, {"model": "m"})
    assert path.read_bytes() == content


@pytest.fixture(scope="module")
def problem() -> Problem:
    """A net of one hidden layer that decides among three classes."""
    torch = pytest.importorskip("torch")
    from edgekit.frontends import import_module
    from edgekit.models.mlp import MLP

    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 1, 8)).astype(np.float32)
    imported = import_module(MLP(sizes=[8, 12, 3]).eval(), torch.zeros(1, 8), name="net")
    made = Problem.of(imported, "smartwatch", x[:200], Windows(x[200:]))
    expected = made.jury.expected
    assert expected is not None
    labels = np.where(rng.random(100) < 0.1, 0, expected)
    return Problem.of(imported, "smartwatch", x[:200], Windows(x[200:], labels))


def pools(problem: Problem) -> Iterator[Pool]:
    yield Processes(problem, 2)
    ray = pytest.importorskip("ray")
    del ray
    from edgekit.search.ray_pool import RayPool

    yield RayPool(problem, "local", 2)


def space_jobs(problem: Problem) -> list[Job]:
    from edgekit.search.space import space_of

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
    from edgekit.search.ray_pool import RayPool

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
    made = convert_compressed(problem, problem.imported, best.compression)
    manifest = made.artifact.manifest
    assert manifest["graph_sha256"] == best.outcome.program
    assert manifest["sizes"]["flash_bytes"] == best.outcome.flash
    assert manifest["sizes"]["weights_bytes"] == best.outcome.weights
    assert len(first.sensitivity.rows) == sum(len(c.options) - 1 for c in first.sensitivity.space)
