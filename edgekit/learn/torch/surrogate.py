"""Spiking neurons trained with a surrogate gradient: online traces (OTTT), or backpropagation through time (BPTT)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgekit.learn.torch.lateral import Lateral
from edgekit.models.settings import check_number, check_size


@dataclass(frozen=True)
class SurrogateSettings:
    """Steps T, time constant in steps, threshold, and the slope of the sigmoid that stands in for the spike."""

    steps: int = 6
    tau: float = 2.0
    threshold: float = 1.0
    slope: float = 4.0

    def __post_init__(self) -> None:
        check_size("surrogate steps", self.steps)
        check_number("surrogate tau", self.tau, minimum=1.0)
        for name in ("threshold", "slope"):
            check_number(f"surrogate {name}", getattr(self, name), minimum=1e-9)

    @property
    def decay(self) -> float:
        """1 - 1/tau, of membranes and traces."""
        return 1 - 1 / self.tau


def membranes(current: Tensor, settings: SurrogateSettings) -> tuple[Tensor, Tensor]:
    """Spikes and membranes before the reset, both [T, B, M], of currents [T, B, M] or [1, B, M] for every step.

    v = (1 - 1/tau) v + x_t,  s_t = [v ≥ threshold],  then v ← v - threshold s_t.
    """
    membrane = torch.zeros_like(current[0])
    before = current.new_empty(settings.steps, *membrane.shape)
    spikes = torch.empty_like(before)
    for t in range(settings.steps):
        torch.mul(membrane, settings.decay, out=before[t])
        before[t] += current[t if len(current) > 1 else 0]
        torch.ge(before[t], settings.threshold, out=spikes[t])
        torch.sub(before[t], spikes[t], alpha=settings.threshold, out=membrane)
    return spikes, before


def traces(spikes: Tensor, settings: SurrogateSettings) -> Tensor:
    """Presynaptic traces a_t = (1 - 1/tau) a_{t-1} + s_t, [T, B, N], with a_1 = s_1."""
    kept = spikes.clone()
    for t in range(1, len(kept)):
        kept[t] += kept[t - 1] * settings.decay
    return kept


class _Fire(torch.autograd.Function):
    """The LIF steps; backward by the sigmoid's slope, and through the membrane's decay when `through_time`.

    The reset is no path of the gradient.
    """

    @staticmethod
    def forward(ctx: Any, current: Tensor, settings: SurrogateSettings, through_time: bool) -> Tensor:
        spikes, before = membranes(current, settings)
        ctx.save_for_backward(before)
        ctx.settings, ctx.through_time, ctx.constant = settings, through_time, len(current) == 1
        return spikes

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        settings: SurrogateSettings = ctx.settings
        (before,) = ctx.saved_tensors
        sigmoid = torch.sigmoid(settings.slope * (before - settings.threshold))
        grad = grad_outputs[0] * settings.slope * sigmoid * (1 - sigmoid)
        if ctx.through_time:
            for t in range(len(grad) - 2, -1, -1):
                grad[t].add_(grad[t + 1], alpha=settings.decay)
        return grad.sum(0, keepdim=True) if ctx.constant else grad, None, None


class SurrogateNeuron(nn.Module):
    """LIF neurons with a soft reset; gradients take the sigmoid's slope, and cross steps when `through_time`.

    v = (1 - 1/tau) v + x_t,  s_t = [v ≥ threshold],  v ← v - threshold s_t, of which the gradient knows nothing;
    ds/dv = slope · σ(1 - σ) with σ = sigmoid(slope (v - threshold)).
    """

    def __init__(self, settings: SurrogateSettings, *, through_time: bool) -> None:
        super().__init__()
        self.settings, self.through_time = settings, through_time

    def forward(self, current: Tensor) -> Tensor:
        """Spikes [T, B, M] of currents [T, B, M], or of [1, B, M] that are the same at every step."""
        spikes: Tensor = _Fire.apply(current, self.settings, self.through_time)  # type: ignore[no-untyped-call]
        return spikes


class Bptt:
    """Backpropagation through time."""

    through_time = True

    def __init__(self, settings: SurrogateSettings | None = None) -> None:
        self.settings = settings or SurrogateSettings()

    def neurons(self) -> SurrogateNeuron:
        """The neurons of one hidden layer."""
        return SurrogateNeuron(self.settings, through_time=self.through_time)

    def batches(self, signal: Tensor) -> list[Tensor]:
        """One Hebbian step on the spikes of all steps, T·B rows; a constant signal counts once."""
        return [signal.flatten(0, 1)]

    def trace(self, signal: Tensor, lateral: Lateral) -> Tensor:
        """The projected signal of every step [T, B, N]."""
        return lateral.residual(signal)

    def summary(self, signal: Tensor) -> Tensor:
        """What the read-out's weights multiply: every step."""
        return signal

    def summary_trace(self, signal: Tensor, lateral: Lateral) -> Tensor:
        """The read-out's presynaptic factor is that of any layer."""
        return self.trace(signal, lateral)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of the logits of outputs [T, B, C]."""
        return functional.cross_entropy(self.logits(outputs), labels)

    def logits(self, outputs: Tensor) -> Tensor:
        """The mean over the steps [B, C] of the read-out's outputs [T, B, C]."""
        return outputs.mean(0)


class Ottt(Bptt):
    """Online training through time: no gradient crosses a step, presynaptic traces stand in (Xiao et al., 2022)."""

    through_time = False

    def batches(self, signal: Tensor) -> list[Tensor]:
        """A Hebbian step at each time step on the rows [spikes; traces]; in the first layer on the plain input."""
        if len(signal) == 1:
            return [signal[0]] * self.settings.steps
        return list(torch.cat((signal, traces(signal, self.settings)), 1))

    def trace(self, signal: Tensor, lateral: Lateral) -> Tensor:
        """The projected trace of every step [T, B, N]; in the first layer the projected input [1, B, N]."""
        return lateral.residual(signal if len(signal) == 1 else traces(signal, self.settings))

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The mean of the steps' cross-entropies."""
        return functional.cross_entropy(outputs.flatten(0, 1), labels.repeat(len(outputs)))
