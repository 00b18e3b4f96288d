"""Lateral neurons that learn the subspace of a layer's input by Hebbian and anti-Hebbian updates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from edgekit.errors import UsageError
from edgekit.models.settings import check_number, check_size

LARGEST_CHANGE = 10.0
"""Each entry of one iteration's dH is clipped to this."""


@dataclass(frozen=True)
class LateralSettings:
    """Learning rate, momentum and iterations of lateral neurons, and what spiking ones can say.

    `momentum` None does without; `spike_steps` None is a linear neuron. A wrong value is a ModelError.
    """

    rate: float = 0.01
    momentum: float | None = 0.9
    iterations: int = 5
    spike_steps: int | None = None
    scale: float = 20.0

    def __post_init__(self) -> None:
        check_number("lateral rate", self.rate, minimum=0.0)
        check_size("lateral iterations", self.iterations)
        check_number("lateral scale", self.scale, minimum=1e-6)
        if self.momentum is not None:
            check_number("lateral momentum", self.momentum, minimum=0.0)
        if self.spike_steps is not None:
            check_size("lateral spike_steps", self.spike_steps)


class Lateral(nn.Module):
    """Rows H [k, N] whose neurons y = H x answer with x_hat = Hᵀ y; the first `old` rows are fixed.

    One iteration on rows x_b of a batch of B (Xiao et al., 2024; the subspace rule of Oja), with μ the momentum:
    dH = clip(1/B Σ_b y_b (x_b - x_hat_b)ᵀ, ±10) of the new rows,  M ← μ M + (1 - μ) dH,  H ← H + rate · M.
    All rows make y and x_hat, so that new rows learn what the old ones leave. Without momentum H ← H + rate · dH.
    Spiking neurons say y = round(clip(H x, ±scale) / scale · n) / n · scale in n steps, ties to even.
    """

    rows: Tensor
    momenta: Tensor

    def __init__(self, inputs: int, settings: LateralSettings | None = None) -> None:
        super().__init__()
        check_size("lateral inputs", inputs)
        self.inputs, self.settings, self.old = inputs, settings or LateralSettings(), 0
        self.register_buffer("rows", torch.zeros(0, inputs))
        self.register_buffer("momenta", torch.zeros(0, inputs))

    @property
    def linear(self) -> bool:
        """Whether y is linear in x."""
        return self.settings.spike_steps is None

    @property
    def growing(self) -> bool:
        """Whether there are new rows, which learn."""
        return len(self.rows) > self.old

    def grow(self, count: int, generator: Generator | None = None) -> None:
        """Add `count` new rows, orthogonal among themselves, not against the old ones."""
        check_size("lateral rows", count, minimum=0)
        if self.growing:
            raise UsageError("lateral rows", "the last task's rows are still new", "merge them first")
        fresh = self.rows.new_zeros(count, self.inputs)
        if count:
            nn.init.orthogonal_(fresh, generator=generator)
        self.rows = torch.cat((self.rows, fresh))
        self.momenta = torch.cat((self.momenta, torch.zeros_like(fresh)))

    def merge(self) -> None:
        """A task ends: all rows are old from now on."""
        self.old = len(self.rows)

    def answers(self, x: Tensor, rows: Tensor) -> Tensor:
        """y [..., k] of inputs x [..., N] under these rows."""
        y = x @ rows.T
        steps, scale = self.settings.spike_steps, self.settings.scale
        return y if steps is None else (y.clamp(-scale, scale) / scale * steps).round() / steps * scale

    @torch.no_grad()
    def residual(self, x: Tensor) -> Tensor:
        """x - Hᵀ H x of the old rows: the part of x [..., N] that old tasks do not use."""
        if not self.old:
            return x
        old = self.rows[: self.old]
        return x - self.answers(x, old) @ old

    @torch.no_grad()
    def learn(self, x: Tensor) -> None:
        """All iterations on the rows x [B, N] of one batch."""
        if not self.growing:
            return
        left, new, momenta = self.residual(x), self.rows[self.old :], self.momenta[self.old :]
        momentum = self.settings.momentum
        for _ in range(self.settings.iterations):
            y = self.answers(x, new)
            change = (y.T @ (left - y @ new) / len(x)).clamp_(-LARGEST_CHANGE, LARGEST_CHANGE)
            if momentum is not None:
                change = momenta.mul_(momentum).add_(change.mul_(1 - momentum))
            new.add_(change, alpha=self.settings.rate)

    def get_extra_state(self) -> int:
        """How many rows are old, for a state dict."""
        return self.old

    def set_extra_state(self, state: int) -> None:
        """Take over how many rows are old."""
        self.old = state

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # The number of rows is part of what was learned.
        for name in ("rows", "momenta"):
            value = state_dict.get(prefix + name)
            if isinstance(value, Tensor) and value.shape[1:] == (self.inputs,):
                setattr(self, name, torch.empty_like(value))
        super()._load_from_state_dict(state_dict, prefix, *rest)
