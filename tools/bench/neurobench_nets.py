"""The models that are counted twice: by the neurobench package in its environment, and by edgekit in a test."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import snntorch as snn
from torch import nn


class Spiking(nn.Module):
    """Linear layers, each followed by leaky neurons."""

    def __init__(self, sizes: list[int], reset: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        last = len(sizes) - 2
        self.neurons = nn.ModuleList(
            snn.Leaky(beta=0.9 - 0.1 * at, init_hidden=True, output=at == last, reset_mechanism=reset)
            for at in range(last + 1)
        )

    def forward(self, x: Any) -> Any:
        """One time step."""
        for layer, neuron in zip(self.layers, self.neurons, strict=True):
            x = neuron(layer(x))
        return x


def dense(sizes: list[int]) -> nn.Sequential:
    """Linear layers with relu between them."""
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
