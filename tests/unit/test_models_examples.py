"""The example of every family runs from training to a program that agrees with PyTorch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from edgekit.models import FAMILIES

REPOSITORY = Path(__file__).resolve().parents[2]
PROMISES = {
    "mlp": ["same class 100.0%"],
    "l2mu": ["same spikes True", "same spikes as PyTorch: True"],
    "lmu": ["same values True", "last bits only: True"],
    "memory": ["learned on the device: 24 of 24", "same bytes True"],
    "elm": ["same values True", "last bits only: True", "same class 100.0%"],
}


def example(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / "examples" / f"{name}.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.drawn(2)
@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_example_runs(family: str) -> None:
    done = example(family)
    assert done.returncode == 0, done.stderr
    assert all(promise in done.stdout for promise in PROMISES[family]), done.stdout


@pytest.mark.slow
def test_the_braille_program_reads_what_the_checkpoint_reads(shared: Path) -> None:
    """The shipped checkpoint on its test side: the accuracy of its card, in PyTorch and in the program."""
    checkpoint = REPOSITORY / "examples" / "braille7.pt"
    card = json.loads(checkpoint.with_suffix(".json").read_text(encoding="utf-8"))
    options = ("--data", shared / "data" / "braille7_events.npz", "--epochs", 0, "--start", checkpoint, "--verify", 2)
    done = example("braille", *options)
    assert done.returncode == 0, done.stderr
    right = f"{card['test_accuracy']:.1%} of"
    assert done.stdout.count(right) == 2, done.stdout
    assert "passed" in done.stdout


@pytest.mark.parametrize("content", [None, {"x": np.zeros(3)}, {"x_packed": np.zeros(3), "shape": np.array([2, 4])}])
def test_braille_without_its_data_says_what_to_do(content: dict[str, np.ndarray] | None, tmp_path: Path) -> None:
    path = tmp_path / "events.npz"
    if content is not None:
        np.savez(path, **content)
    done = example("braille", "--data", path)
    assert done.returncode == 2
    assert str(path) in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr
    assert ("EDGEKIT_SHARED" in done.stderr) == (content is None)
