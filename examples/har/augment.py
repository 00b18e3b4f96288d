"""Windows of wrist motion that could have been measured as well: for `edgekit compress --augment`."""

from __future__ import annotations

import torch
from torch import Tensor

from examples.har.batches import rotate

ROTATION, SCALING = 20.0, 0.1  # degrees, and a share of the signal


def turned(x: Tensor, generator: torch.Generator) -> Tensor:
    """Windows [N, T, 6] turned as a loose strap turns a sensor, and a little stronger or weaker."""
    strength = 1 + SCALING * (2 * torch.rand(len(x), 1, 1, generator=generator) - 1)
    return rotate(x, ROTATION, generator) * strength
