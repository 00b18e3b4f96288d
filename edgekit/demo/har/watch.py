"""The artifact of the watch that learns: prototypes beside the shipped classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import edgekit
from edgekit.artifact import Artifact
from edgekit.demo.har.checkpoints import checkpoint
from edgekit.demo.har.listening import STATISTICS, Listening
from edgekit.demo.har.material import CALIBRATION
from edgekit.demo.har.windows import WINDOW, Indices, Windows
from edgekit.learn import Learning, basis_of
from edgekit.models import load

ROWS, GATE, MARGIN = 8, 0.0, 3.5

Signals = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Watch:
    """The classifier with what it was trained on: `train` are indices of `windows`, of classes below `known`."""

    windows: Windows
    train: Indices
    known: int
    precision: str
    target: str = "host"
    checkpoint: Path = field(default_factory=lambda: checkpoint("elm_B"))
    model: Any = field(init=False)
    given: Signals = field(init=False)

    def __post_init__(self) -> None:
        torch.set_num_threads(1)
        object.__setattr__(self, "model", load(self.checkpoint).eval())
        listening = Listening(self.model).eval()
        parts = np.array_split(self.train, max(1, len(self.train) // 1024))
        given = [listening.signals(torch.from_numpy(self.windows.x[part]))[0].numpy() for part in parts]
        object.__setattr__(self, "given", np.concatenate(given))

    def prototypes(
        self, tasks: int, *, rows: int = ROWS, margin: float = MARGIN, reserve: int = 0, without: int | None = None
    ) -> Artifact:
        """The classifier with prototypes, and classes in reserve; one of its classes may be taken away."""
        kept = [c for c in range(self.known) if c != without]
        labels, subject = self.windows.y[self.train], self.windows.subject[self.train]
        chosen = np.isin(labels, kept)
        used = np.arange(self.given.shape[1]) >= self.given.shape[1] - STATISTICS
        basis = basis_of(
            self.given[chosen], np.searchsorted(kept, labels[chosen]), len(kept), subject[chosen], used=used
        )
        asked = Learning(
            "prototypes",
            rows=rows,
            tasks=tasks,
            classes=len(kept) + reserve,
            gate=GATE,
            margin=margin,
            window=WINDOW,
            basis=basis,
        )
        listening = Listening(self.model).eval()
        listening.readout = _rows(listening.readout, kept)
        names = [self.windows.class_names[c] for c in kept]
        return self.converted(listening, asked, {**listening.io, "classes": names}, self.train[chosen])

    def converted(self, model: nn.Module, asked: Learning, io: dict[str, Any], side: Indices) -> Artifact:
        """A model of the watch and how it learns as an artifact; integers are calibrated on windows of `side`."""
        chosen = np.random.default_rng(0).choice(side, min(CALIBRATION, len(side)), replace=False)
        return edgekit.convert(
            model,
            torch.zeros(1, 6),
            name="watch",
            target=self.target,
            precision=self.precision,
            calib=None if self.precision == "fp32" else self.windows.x[chosen],
            learn=asked,
            io=io,
        )


def _rows(layer: nn.Linear, kept: Sequence[int]) -> nn.Linear:
    """A linear layer with some of its outputs."""
    less = nn.Linear(layer.in_features, len(kept))
    with torch.no_grad():
        less.weight.copy_(layer.weight[list(kept)])
        less.bias.copy_(layer.bias[list(kept)])
    return less
