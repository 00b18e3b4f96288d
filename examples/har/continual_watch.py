"""Beside the watch that learns by prototypes: the same classifier with rules that change its read-out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from edgekit.artifact import Artifact
from edgekit.demo.har.watch import Watch
from edgekit.demo.har.windows import WINDOW
from edgekit.learn import Learning

RATES = {"naive": 1.0, "hlop": 0.3}  # of a read-out whose input has a length of one: best with validation wearers
UNKNOWN_BIAS = -5.0  # of classes that a read-out has not seen yet


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


def naive(watch: Watch, classes: int, rate: float = RATES["naive"]) -> Artifact:
    """The classifier whose read-out is fine-tuned by the error of its answers, and by nothing else."""
    asked = Learning("three-factor", modulation="error", rate=rate, window=WINDOW)
    return _classifier(watch, classes, asked)


def hlop(
    watch: Watch, classes: int, subspace: Sequence[int], rate: float = RATES["hlop"], subspace_rate: float = 0.1
) -> Artifact:
    """The same, projected away from what lateral neurons keep of earlier tasks."""
    asked = Learning("hlop", rate=rate, subspace=tuple(subspace), subspace_rate=subspace_rate, window=WINDOW)
    return _classifier(watch, classes, asked)


def _classifier(watch: Watch, classes: int, asked: Learning) -> Artifact:
    memory = watch.given[:, : watch.model.config["memory"]]
    model = Even(watch.model, classes, 1 / float(np.linalg.norm(memory, axis=1).mean())).eval()
    names = list(watch.windows.class_names[:classes])
    return watch.converted(model, asked, {**watch.model.io, "classes": names}, watch.train)
