"""Weights whose gradient is projected, while the signal and the error pass unprojected."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor, nn

from edgekit.learn.torch.lateral import Lateral


class _Projected(torch.autograd.Function):
    """y = W x, with the gradient of W made of `trace` instead of x.

    grad_x = Wᵀ g and grad_W = Σ g traceᵀ over steps and samples. A trace [B, N] beside a signal [T, B, N] is already
    summed over the steps: it is for a gradient g that is the same at each of them.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, trace: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(trace, weight)
        ctx.shape, ctx.summed = x.shape, trace.dim() < x.dim()
        return x @ weight.T

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, None, Tensor]:
        trace, weight = ctx.saved_tensors
        grad = grad_outputs[0][0] if ctx.summed else grad_outputs[0]
        grad_weight = grad.flatten(0, -2).T @ trace.flatten(0, -2)
        grad_x = (grad @ weight).expand(ctx.shape) if ctx.needs_input_grad[0] else None
        return grad_x, None, grad_weight


class Layer(nn.Module):
    """Weights W [M, N] without a bias, and the lateral neurons of what they receive."""

    def __init__(self, lateral: Lateral, outputs: int, generator: Generator | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, lateral.inputs))
        bound = 1 / math.sqrt(lateral.inputs)
        nn.init.uniform_(self.weight, -bound, bound, generator=generator)
        self.lateral = lateral

    def forward(self, x: Tensor, trace: Tensor | None = None) -> Tensor:
        """W x of x [..., N]; `trace` takes the place of x in the gradient of W, and is [B, N] where it is a sum."""
        if trace is None:
            return x @ self.weight.T
        y: Tensor = _Projected.apply(x, trace, self.weight)  # type: ignore[no-untyped-call]
        return y
