"""The example of every family runs from training to a program that agrees with PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from edgekit.models import FAMILIES

REPOSITORY = Path(__file__).resolve().parents[2]
PROMISES = {"mlp": ["same class 100.0%"], "l2mu": ["same spikes True", "same spikes as PyTorch: True"]}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_example_runs(family: str) -> None:
    command = [sys.executable, str(REPOSITORY / "examples" / f"{family}.py")]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert all(promise in done.stdout for promise in PROMISES[family]), done.stdout
