"""Programs that learn, converted once per test process, and labelled examples that they can learn."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from converted import CLASSES, INPUTS, module

import edgekit
from edgekit.artifact import Artifact
from edgekit.learn import Learning

WINDOW = 5
RULES = {
    "delta": Learning("delta", rate=0.05),
    "hlop": Learning("hlop", plastic=("readout",), rate=0.05, subspace=(2, 2)),
    "telling": Learning(
        "hlop", plastic=("readout",), rate=0.05, subspace=(2, 2), subspace_rate=0.05, iterations=1, detect=True
    ),
    "reward": Learning("three-factor", rate=0.05),
    "oja": Learning("oja", subspace=(2,), subspace_rate=0.02),
}


@functools.cache
def learner(family: str = "mlp", rule: str = "hlop", precision: str = "fp32", target: str = "host") -> Artifact:
    """`module(family)` that learns by a rule: from windows of `WINDOW` steps where it has states."""
    asked = RULES[rule]
    if family != "mlp":
        asked = Learning(**{**vars(asked), "window": WINDOW})
    calib = np.random.default_rng(9).normal(size=(24, INPUTS) if family == "mlp" else (24, WINDOW, INPUTS))
    return edgekit.convert(
        module(family),
        target=target,
        precision=precision,
        name=f"{family}_{rule}",
        calib=calib.astype(np.float32) if precision != "fp32" else None,
        learn=asked,
    )


@functools.cache
def pair() -> Artifact:
    """A program with two inputs, p and q, and two outputs, of which the first is the read-out."""
    torch = pytest.importorskip("torch")

    class Pair(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.p, self.q, self.out = (torch.nn.Linear(n, m) for n, m in ((2, 6), (3, 6), (6, CLASSES)))

        def forward(self, p: Any, q: Any) -> Any:
            return self.out(torch.relu(self.p(p) + self.q(q)))

    torch.manual_seed(3)
    return edgekit.convert(Pair().eval(), (torch.zeros(1, 2), torch.zeros(1, 3)), name="pair", learn=RULES["hlop"])


def examples(count: int, seed: int = 0, family: str = "mlp") -> tuple[np.ndarray, np.ndarray]:
    """Inputs and classes: of a window, what its mean is largest in."""
    shape = (count, INPUTS) if family == "mlp" else (count, WINDOW, INPUTS)
    x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    y = x if family == "mlp" else x.mean(axis=1)
    return x, np.argmax(y, axis=1)


def write(path: Path, count: int = 40, seed: int = 0, family: str = "mlp", **more: Any) -> Path:
    """A file of examples, with some of its arrays replaced or added."""
    x, y = examples(count, seed, family)
    arrays = {name: value for name, value in {"x": x, "y": y, **more}.items() if value is not None}
    np.savez(path, **arrays)
    return path
