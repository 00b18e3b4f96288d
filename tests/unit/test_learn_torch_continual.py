"""Tasks learned one after another: less is forgotten, an interrupted run ends as an uninterrupted one, refusals."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Generator

from edgekit.errors import DataError, ModelError, UsageError
from edgekit.learn.torch import Schedule, SpikingMLP, Task, progress, train_continual
from edgekit.learn.torch.progress import Lines

SIZES = (40, 60, 60, 4)
ROWS = ((10, 20, 15), (8, 8, 8), (8, 8, 8))


def toy_tasks(count: int = 3) -> list[Task]:
    """Four clouds of points that every task permutes in its own way."""
    drawn = Generator().manual_seed(5)
    centres, y = torch.randn(4, 40, generator=drawn), torch.randint(0, 4, (280,), generator=drawn)
    x = centres[y] * 1.5 + torch.randn(280, 40, generator=drawn)
    orders = [None, *(torch.randperm(40, generator=drawn) for _ in range(count - 1))]
    return [Task(f"toy {at}", x[:200], y[:200], x[200:], y[200:], order) for at, order in enumerate(orders)]


def schedule_of(protected: bool, epochs: int = 3) -> Schedule:
    return Schedule(epochs=epochs, batch=20, rate=0.2, subspaces=ROWS if protected else (), seed=1)


def weights(net: SpikingMLP) -> dict[str, bytes]:
    return {
        name: value.numpy().tobytes() for name, value in net.state_dict().items() if isinstance(value, torch.Tensor)
    }


@pytest.mark.parametrize("variant", ["dsr", "ottt", "bptt"])
def test_less_is_forgotten_than_in_sequential_learning(variant: str) -> None:
    found = {}
    for protected in (True, False):
        net = SpikingMLP(SIZES, variant, seed=2)
        found[protected] = train_continual(net, toy_tasks(), schedule_of(protected)).matrix
    assert found[True].values[0, 0] == found[False].values[0, 0]  # the first task is learned alike
    assert found[True].forgetting < found[False].forgetting / 2
    assert found[True].bwt > found[False].bwt + 0.05
    assert found[True].acc > found[False].acc + 0.05


class PowerError(Exception):
    """The power fails."""


class CutAt(Lines):
    """A report that ends the run at one batch of one task."""

    def __init__(self, task: int, done: int) -> None:
        self.at = task, done

    def batch(self, task: int, done: int, total: int, loss: float) -> None:
        if (task, done) == self.at:
            raise PowerError


def interrupt(path: Path, *, task: int, done: int, variant: str = "dsr") -> None:
    """Begin a run, or go on with it, until the power fails at that batch."""
    net = SpikingMLP(SIZES, variant, seed=2)
    with pytest.raises(PowerError):
        train_continual(net, toy_tasks(), schedule_of(True), checkpoint=path, every=4, report=CutAt(task, done))


@pytest.mark.parametrize("variant", ["dsr", "ottt"])
def test_a_resumed_run_ends_like_an_uninterrupted_one(tmp_path: Path, variant: str) -> None:
    whole = SpikingMLP(SIZES, variant, seed=2)
    expected = train_continual(whole, toy_tasks(), schedule_of(True))
    cuts = [(0, 3), (0, 9), (1, 1), (1, 4), (1, 30), (2, 2), (2, 13)]
    path, net = tmp_path / "run.training.pt", SpikingMLP(SIZES, variant, seed=2)
    for task, done in cuts:
        interrupt(path, task=task, done=done, variant=variant)
    outcome = train_continual(net, toy_tasks(), schedule_of(True), checkpoint=path, every=4)
    assert weights(net) == weights(whole)
    assert outcome.matrix.lines() == expected.matrix.lines()
    assert [p.requires_grad for p in net.parameters()] == [p.requires_grad for p in whole.parameters()]


def test_a_resumed_run_repeats_only_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    class Count(Lines):
        def __init__(self) -> None:
            self.heard: list[tuple[int, int]] = []

        def batch(self, task: int, done: int, total: int, loss: float) -> None:
            self.heard.append((task, done))

    path, count = tmp_path / "run.training.pt", Count()
    interrupt(path, task=1, done=11)
    train_continual(SpikingMLP(SIZES, seed=2), toy_tasks(), schedule_of(True), checkpoint=path, every=4, report=count)
    assert count.heard[0] == (1, 9)
    assert len(count.heard) == (30 - 8) + 30
    count.heard.clear()
    train_continual(SpikingMLP(SIZES, seed=2), toy_tasks(), schedule_of(True), checkpoint=path, report=count)
    assert not count.heard  # a finished run is there already


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.training.pt"
    interrupt(path, task=0, done=5)
    with pytest.raises(UsageError, match="is of a run with other settings; delete it to start over\n  - schedule"):
        train_continual(SpikingMLP(SIZES, seed=2), toy_tasks(), schedule_of(True, epochs=4), checkpoint=path)
    with pytest.raises(UsageError, match=r"other settings.*\n  - weights"):
        train_continual(SpikingMLP(SIZES, seed=3), toy_tasks(), schedule_of(True), checkpoint=path)
    with pytest.raises(UsageError, match=r"other settings.*\n  - tasks"):
        train_continual(SpikingMLP(SIZES, seed=2), toy_tasks(2), schedule_of(True), checkpoint=path)


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "folder"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "run.training.pt"
    interrupt(path, task=0, done=5)
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"no checkpoint"}[damage])
    with pytest.raises(UsageError, match="checkpoint of a training run; delete it to start over"):
        train_continual(SpikingMLP(SIZES, seed=2), toy_tasks(), schedule_of(True), checkpoint=path)


def test_wrong_tasks_and_schedules_are_refused() -> None:
    x, y = torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(
        DataError, match=r"its training samples are \(4, 3\) with labels \(3,\); give \[n, N\] with \[n\]"
    ):
        Task("short", x, y[:3], x, y)
    with pytest.raises(DataError, match=r"its test samples are \(0, 3\)"):
        Task("empty", x, y, x[:0], y[:0])
    with pytest.raises(DataError, match="task 'narrow': has 3 features, the network takes 40"):
        train_continual(SpikingMLP(SIZES), [Task("narrow", x, y, x, y)], Schedule())
    with pytest.raises(UsageError, match="tasks: are none"):
        train_continual(SpikingMLP(SIZES), [], Schedule())
    with pytest.raises(UsageError, match="subspaces: name 1 tasks, not task 1"):
        train_continual(SpikingMLP(SIZES), toy_tasks(2), Schedule(batch=100, subspaces=ROWS[:1]))
    with pytest.raises(ModelError, match="schedule batch: 0 is not an integer of at least 1"):
        Schedule(batch=0)


def test_progress_is_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(2) as report:
        train_continual(SpikingMLP(SIZES, seed=2), toy_tasks(2), schedule_of(False, epochs=1), report=report)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[:2] for line in lines[:2]] == [["task 0", "batch 1/10"], ["task 0", "batch 2/10"]]
    assert [line.split(" (")[0] for line in lines if line.startswith("after")] == ["after task 0", "after task 1"]
    assert len(lines) == 22


def test_progress_is_a_bar_with_the_time_left_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress(3, "toy") as report:
        report.batch(1, 4, 10, 0.5)
        report.task(1, (0.25, 0.5), 3.0)
        report.batch(2, 10, 10, 0.25)
    shown = capsys.readouterr().err
    assert "after task 1 (3 s)  25.00 50.00" in shown
    assert "task 3/3 batch 10/10 loss 0.250" in shown
    assert "0:00:00" in shown
