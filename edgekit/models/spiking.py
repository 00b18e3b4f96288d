"""Spiking populations: a strict threshold with a surrogate gradient, and the Leaky and Synaptic neurons around it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

SURROGATE_ALPHA = 2.0


class _Spike(torch.autograd.Function):
    """Forward `[U > thr]`; backward as if it were arctan(pi/2 alpha (U - thr)) / pi + 1/2."""

    @staticmethod
    def forward(ctx: Any, membrane: Tensor, threshold: Tensor) -> Tensor:
        ctx.save_for_backward(membrane, threshold)
        return (membrane > threshold).to(membrane.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:
        membrane, threshold = ctx.saved_tensors
        slope = (SURROGATE_ALPHA / 2) / (1 + (math.pi / 2 * SURROGATE_ALPHA * (membrane - threshold)) ** 2)
        grad = slope * grad_outputs[0]
        return grad, -grad.sum_to_size(threshold.shape)


def spike(membrane: Tensor, threshold: Tensor) -> Tensor:
    """S = [U > thr], strict, as 0/1 in the dtype of U; surrogate gradient atan with alpha = 2 (Fang et al., 2021)."""
    spikes: Tensor = _Spike.apply(membrane, threshold)  # type: ignore[no-untyped-call]
    return spikes


class Leaky(nn.Module):
    """Leaky integrate-and-fire neurons with a subtractive reset, delayed one step.

    U_t = clip(beta, 0, 1) U_{t-1} + I_t - R_t thr,  R_t = [U_{t-1} > thr],  S_t = [U_t > thr].
    `beta` and `threshold` are parameters: one scalar, or one value per neuron for the names in `per_neuron`.
    """

    states: tuple[str, ...] = ("membrane",)
    constants: tuple[str, ...] = ("beta", "threshold")

    beta: Tensor
    threshold: Tensor

    def __init__(self, shape: tuple[int, ...], values: dict[str, float], per_neuron: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.shape = shape
        for name in self.constants:
            size = shape if name in per_neuron else ()
            self.register_parameter(name, nn.Parameter(torch.full(size, float(values[name]))))

    def init_state(self, batch: int) -> tuple[Tensor, ...]:
        """Zero state of `batch` independent populations, one [batch, *shape] tensor per name in `states`."""
        return tuple(self.threshold.new_zeros(batch, *self.shape) for _ in self.states)

    def forward(self, current: Tensor, *state: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One step: input current and state in, (spikes, next state) out; all [batch, *shape]."""
        membrane = self._integrate(current, state[-1])
        return spike(membrane, self.threshold), (membrane,)

    def _integrate(self, drive: Tensor, membrane: Tensor) -> Tensor:
        reset = (membrane > self.threshold).to(membrane.dtype)
        return self.beta.clamp(0, 1) * membrane + drive - reset * self.threshold


class Synaptic(Leaky):
    """Current-based LIF neurons: J_t = clip(alpha, 0, 1) J_{t-1} + I_t drives the membrane of `Leaky`.

    J, the synaptic current, is never reset.
    """

    states = ("synapse", "membrane")
    constants = ("beta", "threshold", "alpha")

    alpha: Tensor

    def forward(self, current: Tensor, *state: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One step: input current and (synapse, membrane) in, (spikes, next state) out."""
        synapse = self.alpha.clamp(0, 1) * state[0] + current
        membrane = self._integrate(synapse, state[1])
        return spike(membrane, self.threshold), (synapse, membrane)


NEURONS: dict[str, type[Leaky]] = {"leaky": Leaky, "synaptic": Synaptic}
