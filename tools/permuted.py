"""What the continual-learning tools share: permuted tasks of 28 x 28 images, and the record of a run."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgekit.learn.torch import AccuracyMatrix, LateralSettings, Task

Array = npt.NDArray[Any]

MEAN, DEVIATION = 0.1307, 0.3081
PIXELS = 784
CHEAP = 40
"""Steps that a spiking lateral neuron has in the paper's cheap setting, on a scale of 20."""

SETTINGS = ("hlop", "spiking", "sequential")
"""Linear lateral neurons, spiking ones, and none: plain sequential learning."""


def lateral_of(setting: str) -> LateralSettings:
    """The lateral neurons of a setting."""
    return LateralSettings(spike_steps=CHEAP if setting == "spiking" else None)


def permutation(seed: int, count: int = PIXELS) -> Array:
    """What sklearn.utils.shuffle(arange(count), random_state=seed) returns, without sklearn."""
    order = np.arange(count)
    np.random.RandomState(seed).shuffle(order)
    return order


def pixels(images: Array) -> torch.Tensor:
    """Images [n, 28, 28] of 0 … 1 as normalised rows [n, 784]."""
    flat = np.asarray(images, np.float32).reshape(len(images), -1)
    return torch.from_numpy((flat - np.float32(MEAN)) / np.float32(DEVIATION))


@dataclass(frozen=True, eq=False)
class Images:
    """Normalised rows and labels of both sides, which every task permutes in its own way."""

    x: torch.Tensor
    y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor

    def tasks(self, orders: Iterable[Array | None]) -> list[Task]:
        """One task a permutation; None leaves the pixels in place."""
        sides = self.x, self.y, self.test_x, self.test_y
        return [
            Task(f"permutation {at}", *sides, None if order is None else torch.from_numpy(order))
            for at, order in enumerate(orders)
        ]


def versions() -> str:
    """What the figures of a run depend on."""
    found = f"python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"
    return f"{found}, {torch.get_num_threads()} thread(s), {platform.machine()}"


def summary(matrix: AccuracyMatrix) -> dict[str, float]:
    """ACC, BWT and forgetting in per cent and points."""
    values = {"acc": matrix.acc, "bwt": matrix.bwt, "forgetting": matrix.forgetting}
    return {name: round(100 * value, 4) for name, value in values.items()}


def mean_of(figures: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure."""
    return {name: round(float(np.mean([each[name] for each in figures])), 4) for name in figures[0]}
