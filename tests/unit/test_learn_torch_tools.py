"""The tools around `edgekit.learn.torch`: permuted tasks, logs, going on after an interruption, exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from edgekit.learn.torch import AccuracyMatrix, Task
from tools import continual_digits, pmnist
from tools.permuted import permutation


def test_permutations_are_those_of_sklearn() -> None:
    # What sklearn.utils.shuffle made of np.arange(784) by seed 101 and of np.arange(10) by seed 2022.
    assert permutation(101)[:6].tolist() == [744, 134, 42, 100, 536, 314]
    assert permutation(2022, 10).tolist() == [4, 7, 3, 5, 2, 6, 9, 8, 1, 0]
    assert sorted(permutation(303)) == list(range(784))


def test_digits_are_those_of_the_golden_file() -> None:
    pytest.importorskip("sklearn")
    images = continual_digits.digits()
    assert (len(images.x), len(images.test_x)) == (1437, 360)
    picture = images.x[0].reshape(28, 28)
    assert torch.equal(picture[2:5, 2:5], picture[2, 2].expand(3, 3))
    assert picture[:2].unique().item() == pytest.approx(-0.1307 / 0.3081)
    tasks = continual_digits.tasks_of(images)
    assert tasks[0].order is None
    assert [tasks[at].order.tolist() for at in (1, 4)] == [permutation(101).tolist(), permutation(404).tolist()]  # type: ignore[union-attr]


def test_without_sklearn_the_digits_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert continual_digits.main([]) == 2
    assert "scikit-learn: is not installed; its digits are the data" in capsys.readouterr().err


@pytest.mark.parametrize(("reached", "code"), [(0.97, 0), (0.96, 1)])
def test_a_missed_figure_is_exit_code_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], reached: float, code: int
) -> None:
    def learned(tasks: Sequence[Task], variant: str, setting: str, seed: int) -> tuple[AccuracyMatrix, float]:
        return AccuracyMatrix.of([[reached], [reached, reached if setting == "hlop" else 0.1]]), 1.0

    monkeypatch.setattr(continual_digits, "digits", lambda seed: None)
    monkeypatch.setattr(continual_digits, "tasks_of", lambda images: [])
    monkeypatch.setattr(continual_digits, "learn", learned)
    assert continual_digits.main(["--seeds", "2", "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert found["schema_version"] == 1
    assert [each["setting"] for each in found["records"]] == ["hlop", "spiking", "sequential"]
    assert found["records"][0]["mean"]["acc"] == pytest.approx(100 * reached)
    assert [run["seed"] for run in found["records"][0]["runs"]] == [2022, 2023]
    assert continual_digits.main(["--seeds", "1", "--setting", "sequential"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("dsr     sequential")


@pytest.fixture
def small(tmp_path: Path) -> list[str]:
    """Arguments for permuted MNIST on a few random images, two tasks."""
    drawn = np.random.default_rng(0)
    y = np.arange(192) % 10
    x = drawn.integers(0, 256, (192, 28, 28), np.uint8) // 4 + (y[:, None, None] * 18).astype(np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=x[:160], y_train=y[:160], x_test=x[160:], y_test=y[160:])
    paths = {"--data": "mnist.npz", "--checkpoint": "run.training.pt", "--log": "log.txt"}
    files = [word for option, name in paths.items() for word in (option, str(tmp_path / name))]
    return ["--tasks", "2", "--every", "1", *files]


def test_pmnist_logs_each_task_and_goes_on_after_an_interruption(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[tuple[int, int]] = []

    class Interrupted(pmnist.Logged):
        def batch(self, task: int, done: int, total: int, loss: float) -> None:
            heard.append((task, done))
            if (task, done) == (1, 2) and heard.count((1, 2)) == 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(pmnist, "Logged", Interrupted)
    assert pmnist.main(small) == 130
    assert "the same command goes on from" in capsys.readouterr().err
    assert pmnist.main(small) == 0
    assert heard == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 2), (1, 3)]
    log = (tmp_path / "log.txt").read_text()
    lines = log.splitlines()
    assert lines[0].startswith("permuted MNIST, 2 tasks, 784-800-800-10, dsr, hlop, seed 2022, begun ")
    assert "torch" in lines[1]
    assert [line[:12] for line in lines[3:5]] == ["after task 0", "after task 1"]
    assert lines[-1].startswith("ACC ")
    capsys.readouterr()
    assert pmnist.main([*small, "--json"]) == 0  # a finished run is read, not run again
    figures = json.loads(capsys.readouterr().out)
    assert lines[-1].startswith(f"ACC {figures['acc']:.2f} %")
    assert (tmp_path / "log.txt").read_text() == log
    assert len(heard) == 7
    assert pmnist.main([*small, "--fresh"]) == 0
    assert len(heard) == 13


def test_pmnist_refuses_wrong_files_and_options(
    small: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pmnist.main([*small, "--data", str(tmp_path / "none.npz")]) == 2
    assert "no such file; set EDGEKIT_SHARED, or give --data" in capsys.readouterr().err
    np.savez(tmp_path / "other.npz", x_train=np.zeros(1))
    assert pmnist.main([*small, "--data", str(tmp_path / "other.npz")]) == 2
    assert "arrays are missing\n  - y_train\n  - x_test\n  - y_test" in capsys.readouterr().err
    assert pmnist.main(small) == 0
    assert pmnist.main([*small, "--seed", "7"]) == 2
    assert "is of a run with other settings" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        pmnist.main(["--tasks", "11"])


def test_runs_have_names_of_what_differs() -> None:
    assert pmnist.run_name(pmnist.parse([])) == "pmnist"
    assert pmnist.run_name(pmnist.parse(["--setting", "sequential", "--seed", "3"])) == "pmnist-sequential-3"
