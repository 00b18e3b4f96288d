"""Artifacts of the watch that learn: prototypes beside the shipped classifier, and rules that change its read-out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import edgekit
from edgekit.artifact import Artifact
from edgekit.learn import Learning, basis_of
from edgekit.models import load
from examples.har.continual_model import STATISTICS, Listening
from examples.har.windows import WINDOW, Indices, Windows

CHECKPOINT = Path(__file__).parent / "checkpoints" / "elm_B.pt"
CALIBRATION = 256
ROWS, GATE, MARGIN = 8, 0.0, 3.5
RATES = {"naive": 1.0, "hlop": 0.3}  # of a read-out whose input has a length of one: best with validation wearers
UNKNOWN_BIAS = -5.0  # of classes that a read-out has not seen yet

Signals = NDArray[np.float32]


class Even(nn.Module):
    """The classifier whose read-out is given m times `size`, such that its mean has a length of about one.

    Rates of rules that change the read-out are for such. Classes that the model does not know start below the others.
    """

    def __init__(self, model: Any, classes: int, size: float) -> None:
        super().__init__()
        self.model, self.size = model, size
        known = model.config["outputs"]
        self.readout = nn.Linear(model.config["memory"], classes)
        with torch.no_grad():
            self.readout.weight.zero_()
            self.readout.bias.fill_(UNKNOWN_BIAS)
            self.readout.weight[:known] = model.w_y.weight / size
            self.readout.bias[:known] = model.w_y.bias

    def init_state(self, batch: int) -> dict[str, torch.Tensor]:
        """The state of `batch` independent samples after reset, each [batch, ...]."""
        state: dict[str, torch.Tensor] = self.model.init_state(batch)
        return state

    def step(self, x: torch.Tensor, state: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Normalised samples x [batch, 6], state -> (scores of the step [batch, classes], next state)."""
        _, after = self.model.step(x, state)
        return self.readout(after["m"] * self.size), after


@dataclass(frozen=True, eq=False)
class Watch:
    """The classifier with what it was trained on: `train` are indices of `windows`, of classes below `known`."""

    windows: Windows
    train: Indices
    known: int
    precision: str
    target: str = "host"
    checkpoint: Path = CHECKPOINT
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
        return self._converted(listening, asked, {**listening.io, "classes": names}, self.train[chosen])

    def naive(self, classes: int, rate: float = RATES["naive"]) -> Artifact:
        """The classifier whose read-out is fine-tuned by the error of its answers, and by nothing else."""
        asked = Learning("three-factor", modulation="error", rate=rate, window=WINDOW)
        return self._classifier(classes, asked)

    def hlop(
        self, classes: int, subspace: Sequence[int], rate: float = RATES["hlop"], subspace_rate: float = 0.1
    ) -> Artifact:
        """The same, projected away from what lateral neurons keep of earlier tasks."""
        asked = Learning("hlop", rate=rate, subspace=tuple(subspace), subspace_rate=subspace_rate, window=WINDOW)
        return self._classifier(classes, asked)

    def _classifier(self, classes: int, asked: Learning) -> Artifact:
        memory = self.given[:, : self.model.config["memory"]]
        model = Even(self.model, classes, 1 / float(np.linalg.norm(memory, axis=1).mean())).eval()
        names = list(self.windows.class_names[:classes])
        return self._converted(model, asked, {**self.model.io, "classes": names}, self.train)

    def _converted(self, model: Any, asked: Learning, io: dict[str, Any], side: Indices) -> Artifact:
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
