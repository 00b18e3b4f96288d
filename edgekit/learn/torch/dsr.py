"""Spiking neurons trained by differentiation on spike representation (DSR): the gradient is that of a firing rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgekit.learn.torch.lateral import Lateral
from edgekit.models.settings import check_number, check_size


@dataclass(frozen=True)
class DsrSettings:
    """Steps T, time constant and step in one unit, and the threshold Vth of every layer as training begins.

    A neuron fires at alpha · Vth and Vth never falls below `bound`; `train_threshold` lets Vth learn in the first task.
    """

    steps: int = 20
    tau: float = 1.0
    dt: float = 0.05
    threshold: float = 0.3
    alpha: float = 0.3
    bound: float = 0.0005
    train_threshold: bool = True

    def __post_init__(self) -> None:
        check_size("dsr steps", self.steps)
        for name in ("tau", "dt", "threshold", "alpha", "bound"):
            check_number(f"dsr {name}", getattr(self, name), minimum=0.0 if name == "bound" else 1e-9)

    def weights(self) -> Tensor:
        """w_t = exp(-(T - t) dt / tau) of the steps t = 1 … T."""
        return torch.tensor([math.exp(-self.dt * (self.steps - t) / self.tau) for t in range(1, self.steps + 1)])

    def rate(self, signal: Tensor) -> Tensor:
        """The weighted firing rate Σ w_t x_t / Σ w_t [B, N] of a signal [T, B, N], or of a constant one [1, B, N]."""
        if len(signal) == 1:
            return signal[0]
        weights = self.weights()
        pooled: Tensor = torch.tensordot(weights, signal, 1) / weights.sum()
        return pooled


class _Fire(torch.autograd.Function):
    """The LIF step over all T; backward as `DsrNeuron` says."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, threshold: Tensor, settings: DsrSettings) -> Tensor:
        beta = torch.exp(-settings.dt / torch.tensor(settings.tau))
        level, fires_at = float(threshold), float(settings.alpha * threshold)
        drive = (1 - beta) * current
        membrane = torch.zeros_like(drive[0])
        spikes = drive.new_empty(settings.steps, *membrane.shape)
        for t, spike in enumerate(spikes):
            membrane.mul_(beta).add_(drive[t if len(drive) > 1 else 0])
            torch.ge(membrane, fires_at, out=spike)
            membrane.sub_(spike, alpha=level)
        ctx.save_for_backward(settings.rate(current), threshold)
        ctx.settings, ctx.shape = settings, current.shape
        return spikes.mul_(threshold / settings.dt)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None]:
        settings: DsrSettings = ctx.settings
        rate, threshold = ctx.saved_tensors
        top = threshold / settings.dt * settings.tau
        mean = settings.rate(grad_outputs[0]) * settings.steps
        of_window = mean * ((rate > 0) & (rate < top)) / settings.tau
        # One current for all steps has all their gradients.
        of_step = of_window / ctx.shape[0]
        return of_step.expand(ctx.shape), settings.dt * mean[rate > top].sum(), None


class DsrNeuron(nn.Module):
    """LIF neurons with one trainable threshold Vth ≥ bound, over T steps.

    U = β U + (1 - β) I_t with β = exp(-dt / tau),  s = Vth [U ≥ alpha Vth],  U ← U - s,  emitted: s / dt.
    Backward, with r(·) the weighted firing rate and g_t the gradients of what is emitted: ḡ = T r(g),
    grad I_t = ḡ [0 < r(I) < Vth tau / dt] / tau / T at every step alike, grad Vth = dt Σ ḡ [r(I) > Vth tau / dt].
    Source: Meng et al. (2022) as used by Xiao et al. (2024).
    """

    def __init__(self, settings: DsrSettings) -> None:
        super().__init__()
        self.settings = settings
        self.threshold = nn.Parameter(torch.tensor(settings.threshold), requires_grad=settings.train_threshold)

    def forward(self, current: Tensor) -> Tensor:
        """Spikes s / dt [T, B, M] of currents [T, B, M], or of [1, B, M] that are the same at every step."""
        bound = self.settings.bound
        with torch.no_grad():
            self.threshold.copy_(functional.relu(self.threshold - bound) + bound)
        spikes: Tensor = _Fire.apply(current, self.threshold, self.settings)  # type: ignore[no-untyped-call]
        return spikes


class Dsr:
    """What DSR makes of a window in each place where the variants differ."""

    def __init__(self, settings: DsrSettings | None = None) -> None:
        self.settings = settings or DsrSettings()

    def neurons(self) -> DsrNeuron:
        """The neurons of one hidden layer."""
        return DsrNeuron(self.settings)

    def batches(self, signal: Tensor) -> list[Tensor]:
        """Rows [B, N] for each Hebbian step: the weighted firing rate."""
        return [self.settings.rate(signal)]

    def trace(self, signal: Tensor, lateral: Lateral) -> Tensor:
        """The projected presynaptic factor [B, N], summed over the steps; [1, B, N] of a constant signal."""
        return lateral.residual(signal) if len(signal) == 1 else _pooled(signal, lateral, _total)

    def summary(self, signal: Tensor) -> Tensor:
        """What the read-out's weights multiply: the rate [B, N], as the logits are the rate of W s_t."""
        return self.settings.rate(signal)

    def summary_trace(self, signal: Tensor, lateral: Lateral) -> Tensor:
        """The read-out's projected presynaptic factor [B, N]: steps count as they do in the rate."""
        return _pooled(signal, lateral, self.settings.rate)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of the logits [B, C]."""
        return functional.cross_entropy(outputs, labels)

    def logits(self, outputs: Tensor) -> Tensor:
        """The read-out's outputs [B, C] as they are."""
        return outputs


def _total(signal: Tensor) -> Tensor:
    return signal.sum(0)


def _pooled(signal: Tensor, lateral: Lateral, pool: Callable[[Tensor], Tensor]) -> Tensor:
    """Every step projected, then pooled; a linear projection may come last, spiking lateral neurons must come first."""
    return lateral.residual(pool(signal)) if lateral.linear else pool(lateral.residual(signal))
