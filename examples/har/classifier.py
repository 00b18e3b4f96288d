"""A model as a classifier of windows: normalisation in front, decision behind, and how often it is right."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgekit.demo.har.windows import CHANNELS, RATE_HZ, UNIT, WINDOW, Indices, Windows


@dataclass(frozen=True)
class Normalisation:
    """x_n = (x - offset) * scale per channel, from the training side alone."""

    offset: list[float]
    scale: list[float]

    @classmethod
    def of(cls, x: np.ndarray[Any, np.dtype[np.float32]]) -> Normalisation:
        flat = x.reshape(-1, x.shape[-1]).astype(np.float64)
        return cls([float(v) for v in flat.mean(0)], [float(v) for v in 1 / flat.std(0)])


def io_section(model: Any, layout: str, normalisation: Normalisation, class_names: tuple[str, ...]) -> dict[str, Any]:
    """What goes in and out of `model`, as `convert` stores it in an artifact."""
    return {
        "input": {
            "name": "imu",
            "channels": list(CHANNELS),
            "unit": UNIT,
            "rate_hz": RATE_HZ,
            **asdict(normalisation),
            "window": WINDOW,
            "stride": WINDOW,
            "layout": layout,
        },
        "decision": getattr(model, "decision", "last"),
        "classes": list(class_names),
    }


class Classifier(nn.Module):
    """A model with the normalisation, window layout and decision of its `io`: windows [N, T, 6] in, scores out."""

    offset: Tensor
    scale: Tensor

    def __init__(self, model: Any) -> None:
        super().__init__()
        given = model.io["input"]
        self.model = model
        self.flattened = given["layout"] == "flattened"
        self.register_buffer("offset", torch.tensor(given["offset"]))
        self.register_buffer("scale", torch.tensor(given["scale"]))

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.offset) * self.scale
        scores: Tensor = self.model(x.flatten(1)) if self.flattened else self.model.scores(self.model(x))
        return scores


@torch.no_grad()
def accuracy(classifier: nn.Module, windows: Windows, indices: Indices, device: str) -> float:
    """Share of the windows at `indices` that are classified right, in per cent."""
    classifier.eval()
    right = 0
    for chosen in np.array_split(indices, max(1, len(indices) // 1024)):
        scores = classifier(torch.from_numpy(windows.x[chosen]).to(device))
        right += int((scores.argmax(-1).cpu().numpy() == windows.y[chosen]).sum())
    return 100 * right / len(indices)
