"""The Legendre delay network and the connections of a memory unit around it (Voelker et al., 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgekit.models.recurrent import Recurrent

DISCRETISATIONS = ("zoh", "euler")


def state_space(order: int) -> tuple[Tensor, Tensor]:
    """The delay network theta dm/dt = A m + B u of `order` d: (A [d, d], B [d, 1]), float64.

    A[i,j] = (2i+1) (-1 if i<j else (-1)^(i-j+1)), B[i] = (2i+1)(-1)^i.
    """
    i = torch.arange(order, dtype=torch.float64)
    row, column = i[:, None], i[None, :]
    a = (2 * row + 1) * torch.where(row < column, -1.0, (-1.0) ** (row - column + 1))
    return a, (2 * row + 1) * (-1.0) ** row


def discretise(order: int, theta: float, method: str = "zoh") -> tuple[Tensor, Tensor]:
    """One step m_t = Ad m_{t-1} + Bd u_t of the delay network with a window of `theta` steps: (Ad, Bd), float32.

    zoh holds u for the step: exp([[A, B], [0, 0]] / theta) = [[Ad, Bd], [0, 1]]. euler is Ad = I + A / theta,
    Bd = B / theta, which is unstable where theta is small against the order. Both are computed in float64.
    """
    a, b = state_space(order)
    if method == "euler":
        return (torch.eye(order, dtype=torch.float64) + a / theta).float(), (b / theta).float()
    block = torch.zeros(order + 1, order + 1, dtype=torch.float64)
    block[:order, :order], block[:order, order:] = a, b
    exponential = torch.matrix_exp(block / theta)
    return exponential[:order, :order].float().contiguous(), exponential[:order, order:].float().contiguous()


class LegendreUnit(Recurrent):
    """The weight matrices that LMU and L2MU have in common, under their published names.

    Encoders e_x [M, n], e_h [M, H], e_m [M, M d]; memory A [d, d], B [d, 1], shared by all M channels and frozen;
    kernels W_x [H, n], W_h [H, H], W_m [H, M d]. A memory [M, d] is flattened channel by channel.
    """

    def _connect(self, features: int, hidden: int, memory: int, order: int, *, bias: bool = False) -> None:
        """Make the matrices; `bias` is that of the hidden state."""
        self.e_x = nn.Linear(features, memory, bias=False)
        self.e_h = nn.Linear(hidden, memory, bias=False)
        self.e_m = nn.Linear(memory * order, memory, bias=False)
        self.A = nn.Linear(order, order, bias=False)
        self.B = nn.Linear(1, order, bias=False)
        self.W_x = nn.Linear(features, hidden, bias=bias)
        self.W_h = nn.Linear(hidden, hidden, bias=False)
        self.W_m = nn.Linear(memory * order, hidden, bias=False)

    def _initialise(self, theta: float | None, discretisation: str = "zoh", *, transposed: bool = False) -> None:
        """LeCun-uniform e_x and e_h, zero e_m and b, Glorot-normal W, frozen A = Ad (or Ad^T) and B = Bd.

        A and B stay zero where `theta` is None: a checkpoint will fill them.
        """
        self.A.weight.requires_grad_(False)
        self.B.weight.requires_grad_(False)
        if self.A.weight.is_meta:  # built without storage, to be given weights
            return
        with torch.no_grad():
            for linear in (self.e_x, self.e_h):
                bound = (3.0 / linear.in_features) ** 0.5
                nn.init.uniform_(linear.weight, -bound, bound)
            for linear in (self.W_x, self.W_h, self.W_m):
                nn.init.xavier_normal_(linear.weight)
            for linear in (self.e_m, self.A, self.B):
                linear.weight.zero_()
            if self.W_x.bias is not None:
                self.W_x.bias.zero_()
            if theta is not None:
                a, b = discretise(self.A.in_features, theta, discretisation)
                self.A.weight.copy_(a.T if transposed else a)
                self.B.weight.copy_(b)
