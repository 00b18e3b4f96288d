"""The parts of a search: sizes, windows held out, judging, frontier, storage, proposals, workers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.cli.budget import bytes_of, limits_of
from edgekit.compress.rules import Compression, WeightRule
from edgekit.errors import DataError, UsageError
from edgekit.search.engine import Settings
from edgekit.search.frontier import Trial, chosen, frontier, limiting, promising
from edgekit.search.holdout import hold_out
from edgekit.search.limits import Failed, Limits, Outcome, document_of, result_of
from edgekit.search.problem import Windows
from edgekit.search.proposals import Proposals
from edgekit.search.sensitivity import Sensitivity, worth_it
from edgekit.search.space import Choice, Option, Space
from edgekit.search.storage import Asked, Storage
from edgekit.search.ways import Cost, way_down, ways
from edgekit.target import load_target

ASKED = [
    Asked((Choice("a", (Option("int8"), *(Option(f"int{b}", (WeightRule("W", bits=b),)) for b in (4, 2)))),), {"a": at})
    for at in range(3)
]
PLAIN = Outcome(0.2, 0.3, 88.0, 1000, 50_000, 46_000, 2000, 7000.0, "plain")
SMALL, SMALLER = Choice("a", tuple(map(Option, "012"))), Choice("b", tuple(map(Option, "01234")))


def trial(drop: float, weights: int, error: float = 0.1, instructions: float = 7000.0) -> Trial:
    outcome = replace(PLAIN, drop=drop, weights=weights, flash=weights + 7000, error=error, instructions=instructions)
    return Trial({}, Compression(), f"{drop} {weights}", outcome)


@pytest.mark.parametrize(
    ("text", "count"),
    [("24kB", 24_000), ("16KiB", 16_384), ("1.5 MB", 1_500_000), ("24000", 24_000), ("7b", 7), ("2.01kB", 2010)],
)
def test_sizes_are_read(text: str, count: int) -> None:
    assert bytes_of("--max-flash", text) == count


@pytest.mark.parametrize("text", ["", "kB", "-3", "0", "0.1B", "3 q", "1e3", "24kB!", "∞", "9" * 400])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--max-flash"):
        limits_of(1.0, text, None)


@pytest.mark.parametrize("drop", [None, -1.0, 101.0, float("nan")])
def test_a_promise_has_a_drop(drop: float | None) -> None:
    with pytest.raises(UsageError, match="--max-drop"):
        limits_of(drop, "24kB", None)


@pytest.mark.parametrize("count", [0.0, -1.0, float("nan"), float("inf")])
def test_a_number_of_instructions_is_finite_and_above_0(count: float) -> None:
    with pytest.raises(UsageError, match="--max-instructions"):
        limits_of(1.0, None, None, instructions=count)


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
    for result in (PLAIN, replace(PLAIN, instructions=None, drop=1), Failed("no program")):
        assert result_of(json.loads(json.dumps(document_of(result)))) == result


@pytest.mark.parametrize(
    "other",
    [
        *({"drop": value} for value in (None, "1", float("nan"), True)),
        *({"flash": value} for value in (1.5, None)),
        {"instructions": "7"},
        {"program": None},
        {"more": 1},
    ],
)
def test_what_is_no_result_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        result_of({**document_of(PLAIN), **other})
    with pytest.raises(DataError):
        result_of({"reason": 5})


def test_what_a_target_has_is_a_limit() -> None:
    limits = Limits(1.0, weights=46_000).on(replace(load_target("smartwatch-m33"), flash_bytes=49_000, ram_bytes=1500))
    assert not limits.kept(PLAIN)
    assert limits.excess(PLAIN) == {"drop": pytest.approx(-0.8), "flash": 1000, "weights": 0, "ram": 500}
    assert limits.size_name == "weights"
    (told,) = limiting([trial(0.5, 30_000)], Limits(1.0).on(replace(load_target("smartwatch-m33"), flash_bytes=30_000)))
    assert told == "flash: the least that loses no more than 1 point is 37,000 bytes, 7,000 too many"


def sensitivity(plain: Outcome, *others: Outcome) -> Sensitivity:
    options = tuple(Option(f"option {at}") for at in range(len(others) + 1))
    return Sensitivity(plain, (Choice("a", options),), {"a": [plain, *others]})


def labels(space: Space) -> list[str]:
    return [option.label for choice in space for option in choice.options]


def test_an_option_that_saves_what_is_limited_alone_is_worth_a_search() -> None:
    larger = replace(PLAIN, program="other", flash=51_000, ram=1000, instructions=6000.0)
    seen = sensitivity(PLAIN, larger, replace(larger, program="worse", flash=52_000))
    assert worth_it(seen, Limits(1.0), {}) == ((), [{}])
    for limits in (Limits(1.0, ram=1500), Limits(1.0, instructions=6500.0), Limits(1.0, target_ram=1500)):
        space, costs = worth_it(seen, limits, {})
        assert labels(space) == ["option 0", "option 1"]
        assert ways(space, costs) == [{}, {"a": 1}]


def test_an_option_that_loses_less_is_worth_a_search_where_int8_loses_too_much() -> None:
    wider = replace(PLAIN, program="wider", flash=90_000, drop=0.1)
    smaller = replace(PLAIN, program="smaller", flash=40_000, drop=0.4)
    space, _ = worth_it(sensitivity(PLAIN, wider, smaller), Limits(0.3), {})
    assert labels(space) == ["option 0", "option 2"]
    space, costs = worth_it(sensitivity(PLAIN, wider, smaller), Limits(0.15), {})
    assert labels(space) == ["option 0", "option 1", "option 2"]
    assert ways(space, costs) == [{}, {"a": 1}, {"a": 2}]


def test_so_many_points_of_a_way_are_tried_the_last_among_them() -> None:
    space = (SMALL, SMALLER)
    costs = {"a": [Cost(0, 100), Cost(1, 90), Cost(3, 80)], "b": [Cost(0, 100), Cost(0, 95), Cost(9, 60)]}
    way = ways(space, [costs])
    assert len(way) == 5
    assert ways(space, [costs], 3) == [way[0], way[2], way[4]]
    assert ways(space, [costs], 1) == [{}]


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


@pytest.mark.parametrize("seed", [0, 42_949, 2**31 - 1])
def test_a_space_comes_to_an_end_for_any_seed(seed: int) -> None:
    asked = proposed(seed, 6)
    assert len(asked) == len({tuple(sorted(point.items())) for point in asked}) == 14


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"seed": -1}, "--seed -1"),
        ({"seed": 2**31}, "--seed"),
        ({"trials": 0}, "--trials 0"),
        ({"minutes": float("nan")}, "--minutes nan"),
        ({"minutes": -1.0}, "--minutes -1"),
    ],
)
def test_settings_out_of_range_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Settings(**values)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "trials.search"
    with Storage(path, {"model": "m"}) as storage:
        for each in ASKED:
            storage.record("search", each, PLAIN, Limits(1.0))
    return path


def test_a_storage_keeps_whole_lines_only(journal: Path) -> None:
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-40])  # as a crash while the last line was written leaves it
    with Storage(journal, {"model": "m"}) as storage:
        assert [storage.known(each.job) for each in ASKED] == [PLAIN, PLAIN, None]
    assert journal.read_bytes() == whole[: whole[:-1].rindex(b"\n") + 1]


def test_a_storage_that_was_only_begun_goes_on(journal: Path) -> None:
    first, second, *rest = journal.read_bytes().splitlines(keepends=True)
    for begun in (b"", first[:40], first, first + second[:20]):
        journal.write_bytes(begun)
        with Storage(journal, {"model": "m"}) as storage:
            storage.record("search", ASKED[0], PLAIN, Limits(1.0))
        with Storage(journal, {"model": "m"}) as storage:
            assert storage.known(ASKED[0].job) == PLAIN
    journal.write_bytes(first + b"".join(rest))  # trials, and nobody knows of what
    with pytest.raises(DataError, match="is not the storage"):
        Storage(journal, {"model": "m"})


def test_a_storage_with_results_that_are_none_is_refused(journal: Path) -> None:
    whole = journal.read_bytes()
    journal.write_bytes(whole.replace(rb"\"drop\": 0.2", rb"\"drop\": null"))
    assert journal.read_bytes() != whole
    with pytest.raises(DataError, match=r"trials\.search: is not the storage"):
        Storage(journal, {"model": "m"})


def test_a_storage_is_of_one_problem_and_one_search_at_a_time(journal: Path) -> None:
    with pytest.raises(UsageError, match="another model"), Storage(journal, {"model": "other"}):
        pass
    with Storage(journal, {"model": "m"}), pytest.raises(UsageError, match="in use"):
        Storage(journal, {"model": "m"})


@pytest.mark.parametrize(
    "content",
    [
        *(b"no journal\n", b'{"op_code": 99}\n', b'{"a": 1}\n', b"\x00\xff" * 20, b"[]\n", b"\n", b"[" * 9999 + b"\n"),
        *(b'{"hidden": 12}', b"{", b'{\n "hidden": 12,\n "layers": 3\n}', b'{"hidden": 12}\n{"la'),
        b'{"op_code":0,"worker_id":"w","study_name":"mine","directions":[1]}\n{"op_co',
    ],
)
def test_what_is_no_storage_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.search"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.search"):
        Storage(path, {"model": "m"})
    assert path.read_bytes() == content
