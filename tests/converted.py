"""Small artifacts, converted once per test process, and a way into the command line."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import edgekit
from edgekit.artifact import Artifact

INPUTS, CLASSES = 3, 4
ROOT = Path(__file__).parent.parent


@functools.cache
def module(family: str) -> Any:
    """A module with fixed weights: `mlp`; `l2mu`, so excitable that it never stops; `quiet`, which needs its input."""
    torch = pytest.importorskip("torch")
    from edgekit import models

    torch.manual_seed(0)
    torch.set_num_threads(1)
    if family == "mlp":
        return models.MLP([INPUTS, 24, 16, CLASSES]).eval()
    low = {letter: {"beta": 0.8, "threshold": 0.3} for letter in "umho"}
    network = models.L2MU(inputs=INPUTS, hidden=16, memory=6, order=4, outputs=CLASSES, theta=8.0, neurons=low).eval()
    torch.nn.init.zeros_(network.output_transformation.bias)
    torch.nn.init.uniform_(network.e_m.weight, -0.3, 0.3)
    if family == "quiet":
        for layer in (network.e_h, network.e_m, network.A, network.W_h):
            layer.weight.data *= 0.2
    return network


@functools.cache
def artifact(family: str, precision: str = "fp32", target: str = "host", learn: str | None = None) -> Artifact:
    """`module(family)` converted."""
    name = f"{family}_{precision}" + ("_learns" if learn else "")
    return edgekit.convert(
        module(family), target=target, precision=precision, name=name, learn=learn, learning_rate=0.05
    )


def stream(steps: int, seed: int = 0, *axes: int) -> np.ndarray:
    """Inputs [*axes, steps, INPUTS]: noise, silent every now and then."""
    rng = np.random.default_rng(seed)
    x = rng.normal(scale=1.5, size=(*axes, steps, INPUTS)).astype(np.float32)
    x[..., rng.random(steps) < 0.2, :] = 0
    return x


@dataclass(frozen=True)
class Answer:
    """What a command printed, and how it ended."""

    returncode: int
    stdout: str
    stderr: str


def edgekit_main(*arguments: object) -> Answer:
    """Run `edgekit …` in this process, through the function that the installed script calls."""
    from edgekit.cli import main

    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["edgekit", *map(str, arguments)]),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return Answer(code, out.getvalue(), err.getvalue())


def edgekit_command(*arguments: object, env: dict[str, str] | None = None, cwd: Path | None = None) -> Answer:
    """Run `edgekit …` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", "from edgekit.cli import main; main()", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)
