"""Feed-forward networks: linear layers with an optional batch normalisation and an activation in between."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from edgekit.errors import ModelError
from edgekit.models.settings import check_choice, check_dropout, check_keys, check_size

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}
BATCH_NORM = ("none", "before_activation", "after_activation")


class MLP(nn.Module):
    """Multi-layer perceptron y = W_L f(... f(W_1 x + b_1) ...) + b_L; no activation after the last layer.

    x [batch, sizes[0]], y [batch, sizes[-1]]. `batch_norm` places an eval-mode batch normalisation before or after
    every hidden activation; `dropout` acts in training only. A wrong setting is a ModelError.
    """

    family = "mlp"
    names: tuple[str, ...] = ()
    config_keys = ("sizes", "activation", "dropout", "batch_norm", "bias")

    def __init__(
        self,
        sizes: list[int],
        activation: str = "relu",
        dropout: float = 0.0,
        batch_norm: str = "none",
        bias: bool = True,
    ) -> None:
        super().__init__()
        if not isinstance(sizes, list | tuple) or len(sizes) < 2:
            raise ModelError("mlp sizes", f"{sizes!r} has no layer", "list at least an input and an output size")
        for size in sizes:
            check_size("mlp sizes", size)
        check_choice("mlp activation", activation, ACTIVATIONS)
        check_choice("mlp batch_norm", batch_norm, BATCH_NORM)
        check_choice("mlp bias", bias, (True, False))
        check_dropout("mlp dropout", dropout)
        self.config: dict[str, Any] = {
            "sizes": list(sizes),
            "activation": activation,
            "dropout": dropout,
            "batch_norm": batch_norm,
            "bias": bias,
        }
        self.io: dict[str, Any] | None = None
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(sizes[:-1]):
            layers.append(nn.Linear(n_in, n_out, bias=bias))
            if batch_norm == "before_activation":
                layers.append(nn.BatchNorm1d(n_out))
            layers.append(ACTIVATIONS[activation]())
            if batch_norm == "after_activation":
                layers.append(nn.BatchNorm1d(n_out))
            if dropout:
                layers.append(nn.Dropout(dropout))
        layers.append(nn.Linear(sizes[-2], sizes[-1], bias=bias))
        self.network = nn.Sequential(*layers)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> MLP:
        """The module that `config` describes; only `sizes` has no default."""
        check_keys("mlp config", config, cls.config_keys, required=("sizes",))
        return cls(**config)

    def init_state(self, batch: int) -> dict[str, Tensor]:
        """An MLP keeps no state: an empty dict."""
        del batch
        return {}

    def step(self, x: Tensor, state: Mapping[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """x [batch, sizes[0]] -> (y [batch, sizes[-1]], {}); the state goes through empty."""
        del state
        return self.network(x), {}

    def forward(self, x: Tensor) -> Tensor:
        """x [batch, sizes[0]] -> y [batch, sizes[-1]]."""
        y: Tensor = self.network(x)
        return y

    def decide(self, ys: Tensor) -> Tensor:
        """The class of each row of ys [batch, classes]: argmax, ties to the lowest index."""
        return torch.argmax(ys, dim=-1)

    def trace(self, x: Tensor) -> dict[str, Tensor]:
        """The output of every layer of `network`, by its index in the Sequential, and `y`."""
        values: dict[str, Tensor] = {}
        for name, layer in self.network.named_children():
            x = layer(x)
            values[f"network.{name}"] = x
        return {**values, "y": x}
