"""Recurrent layers, mixers, splines, state-space steps and streaming convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Case = tuple[Callable[[], nn.Module], tuple[int, ...]]


class CellNet(nn.Module):
    """A cell whose state is passed, and a read-out."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell, self.out = cell, nn.Linear(8, 3)

    def forward(self, x: Tensor, state: Any = None) -> Any:
        state = self.cell(x, state)
        h = state[0] if isinstance(state, tuple) else state
        return self.out(h), state


class Speech(nn.Module):
    """A streaming speech model: features [N, 1, F], a recurrent layer of several layers, state passed as (h, c)."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.rnn = nn.LSTM(6, 8, num_layers=2, batch_first=batch_first)
        self.out = nn.Linear(8, 4)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, (h, c) = self.rnn(self.norm(x), (h, c))
        return torch.sigmoid(self.out(y)), h, c


class RingBuffer(nn.Module):
    """A causal convolution that keeps its last inputs in a buffer of fixed shape, shifted in place."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.conv1, self.conv2 = nn.Conv1d(6, 8, 4), nn.Conv1d(8, 5, 3, dilation=2)
        self.register_buffer("first", torch.zeros(1, 6, 4))
        self.register_buffer("second", torch.zeros(1, 8, 5))

    def _push(self, name: str, x: Tensor) -> Tensor:
        ring = getattr(self, name)
        if self.how == "cat":
            ring = torch.cat([ring[:, :, 1:].expand(len(x), -1, -1), x[:, :, None]], 2)
        elif self.how == "roll":
            ring = torch.roll(ring.expand(len(x), -1, -1), -1, 2).clone()
            ring[:, :, -1] = x
        else:
            ring[:, :, :-1] = ring[:, :, 1:].clone()
            ring[:, :, -1] = x
        setattr(self, name, ring)
        return ring

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.conv1(self._push("first", x))).squeeze(2)
        return self.conv2(self._push("second", y)).squeeze(2)


class Keyword(nn.Module):
    """A sliding window over the input, and an ordinary convolutional classifier over the window."""

    def __init__(self) -> None:
        super().__init__()
        self.window = torch.zeros(1, 10, 6)
        self.net = nn.Sequential(
            nn.Conv1d(6, 8, 3, padding=1), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(40, 4)
        )

    def forward(self, x: Tensor) -> Tensor:
        self.window = torch.cat([self.window.expand(len(x), -1, -1)[:, 1:], x[:, None]], 1)
        return functional.log_softmax(self.net(self.window.transpose(1, 2)), 1)


class Mixer(nn.Module):
    """An MLP-Mixer block: tokens and channels in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.tokens = nn.Sequential(nn.Linear(5, 10), nn.GELU(), nn.Linear(10, 5))
        self.channels = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        x = x + self.channels(self.norm2(x))
        return self.head(x.mean(1))


class TimeSeriesMixer(nn.Module):
    """TSMixer with reversible instance normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.time, self.out = nn.Linear(12, 12), nn.Linear(12, 4)
        self.features = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        mean, scale = x.mean(1, keepdim=True), torch.sqrt(x.var(1, keepdim=True, unbiased=False) + 0.1)
        y = (x - mean) / scale
        y = y + functional.relu(self.time(y.transpose(1, 2))).transpose(1, 2)
        y = y + self.features(y)
        return self.out(y.transpose(1, 2)).transpose(1, 2) * scale + mean


class Gated(nn.Module):
    """A gMLP block: a spatial gate between two projections."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(6), nn.Linear(6, 16), nn.Linear(8, 6)
        self.gate_norm, self.spatial = nn.LayerNorm(8), nn.Conv1d(5, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        u, v = functional.gelu(self.up(self.norm(x))).chunk(2, -1)
        return x + self.down(u * self.spatial(self.gate_norm(v)))


class SplineKan(nn.Module):
    """A KAN layer with cubic B-splines by the Cox-de Boor recursion."""

    def __init__(self, inputs: int, outputs: int, grid: int = 5, order: int = 3) -> None:
        super().__init__()
        step = 2.0 / grid
        knots = torch.arange(-order, grid + order + 1) * step - 1
        self.order = order
        self.register_buffer("knots", knots.expand(inputs, -1).contiguous())
        self.base = nn.Linear(inputs, outputs, bias=False)
        self.spline = nn.Parameter(0.3 * torch.randn(outputs, inputs, grid + order))

    def forward(self, x: Tensor) -> Tensor:
        t, knots = x.unsqueeze(-1), self.knots
        bases = ((t >= knots[:, :-1]) & (t < knots[:, 1:])).to(x.dtype)
        for k in range(1, self.order + 1):
            left = (t - knots[:, : -(k + 1)]) / (knots[:, k:-1] - knots[:, : -(k + 1)])
            right = (knots[:, k + 1 :] - t) / (knots[:, k + 1 :] - knots[:, 1:-k])
            bases = left * bases[:, :, :-1] + right * bases[:, :, 1:]
        return self.base(functional.silu(x)) + functional.linear(bases.flatten(1), self.spline.flatten(1))


class RationalKan(nn.Module):
    """Learned quotients of polynomials as activations, one for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.p, self.q = nn.Parameter(torch.randn(width, 4) * 0.5), nn.Parameter(torch.randn(width, 3) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        powers = torch.stack([x**k for k in range(4)], -1)
        above = (powers * self.p).sum(-1)
        below = 1 + (powers[..., 1:] * self.q).sum(-1).abs()
        return above / below


class Rbf(nn.Module):
    """FastKAN: Gaussian bumps around fixed centres."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centres", torch.linspace(-2, 2, 6))
        self.out = nn.Linear(36, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.exp(-(((x[..., None] - self.centres) / 0.8) ** 2)).flatten(1))


class Diagonal(nn.Module):
    """S4D in recurrent form with real arithmetic: x' = A x + B u, y = 2 Re(C x) + D u, complex parts kept apart."""

    def __init__(self, width: int = 6, order: int = 4) -> None:
        super().__init__()
        decay, angle = torch.exp(-torch.rand(width, order) * 0.5), torch.rand(width, order) * 3
        self.register_buffer("a_re", decay * torch.cos(angle))
        self.register_buffer("a_im", decay * torch.sin(angle))
        self.c_re, self.c_im = nn.Parameter(torch.randn(width, order)), nn.Parameter(torch.randn(width, order))
        self.d, self.mix = nn.Parameter(torch.randn(width)), nn.Linear(width, 2 * width)

    def forward(self, u: Tensor, re: Tensor | None = None, im: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        re = torch.zeros(len(u), *self.a_re.shape) if re is None else re
        im = torch.zeros(len(u), *self.a_re.shape) if im is None else im
        re, im = self.a_re * re - self.a_im * im + u[..., None], self.a_re * im + self.a_im * re
        y = 2 * (self.c_re * re - self.c_im * im).sum(-1) + self.d * u
        return functional.glu(self.mix(functional.gelu(y))), re, im


class ComplexDiagonal(nn.Module):
    """S4D with complex tensors, as its authors write the step."""

    def __init__(self, width: int = 6, order: int = 4) -> None:
        super().__init__()
        self.log_dt = nn.Parameter(torch.rand(width) - 2)
        self.log_a_real = nn.Parameter(torch.log(0.5 * torch.ones(width, order)))
        self.a_imag = nn.Parameter(3.14 * torch.arange(order).repeat(width, 1).float())
        self.c = nn.Parameter(torch.randn(width, order, 2))
        self.state: Any = None

    def forward(self, u: Tensor) -> Tensor:
        a = -torch.exp(self.log_a_real) + 1j * self.a_imag
        step = a * torch.exp(self.log_dt)[:, None]
        gain = torch.exp(step)
        drive = torch.view_as_complex(self.c) * (gain - 1.0) / a
        if self.state is None:
            self.state = torch.zeros(len(u), *gain.shape, dtype=torch.complex64)
        self.state = gain * self.state + u[..., None]
        return 2 * (drive * self.state).sum(-1).real


class Selective(nn.Module):
    """One step of a selective scan: step size and both maps depend on the input; a short convolution goes before."""

    def __init__(self, width: int = 6, order: int = 4) -> None:
        super().__init__()
        self.project, self.out = nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.conv = nn.Conv1d(width, width, 3, groups=width)
        self.maps, self.dt = nn.Linear(width, 2 * order + 1, bias=False), nn.Linear(1, width)
        self.a_log = nn.Parameter(torch.log(torch.arange(1, order + 1).float()).repeat(width, 1))
        self.d, self.order = nn.Parameter(torch.ones(width)), order

    def forward(self, x: Tensor, conv_state: Tensor | None = None, ssm: Tensor | None = None) -> Any:
        u, gate = self.project(x).chunk(2, -1)
        conv_state = torch.zeros(len(x), u.shape[1], 3) if conv_state is None else conv_state
        ssm = torch.zeros(len(x), *self.a_log.shape) if ssm is None else ssm
        conv_state = torch.cat([conv_state[:, :, 1:], u[:, :, None]], -1)
        u = functional.silu((conv_state * self.conv.weight[:, 0]).sum(-1) + self.conv.bias)
        dt, b, c = self.maps(u).split([1, self.order, self.order], -1)
        dt = functional.softplus(self.dt(dt))
        ssm = ssm * torch.exp(-dt[..., None] * torch.exp(self.a_log)) + (dt * u)[..., None] * b[:, None]
        y = torch.einsum("bdn,bn->bd", ssm, c) + self.d * u
        return self.out(y * functional.silu(gate)), conv_state, ssm


class Minimal(nn.Module):
    """A gated unit in the manner of RWKV and minGRU, states in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.z, self.h = nn.Linear(6, 8), nn.Linear(6, 8)

    def init_state(self, batch: int) -> dict[str, Tensor]:
        return {"h": torch.zeros(batch, 8), "peak": torch.full((batch, 8), -1e9)}

    def step(self, x: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        z = torch.sigmoid(self.z(x))
        h = (1 - z) * state["h"] + z * torch.tanh(self.h(x))
        peak = torch.maximum(0.9 * state["peak"], h)
        return torch.softmax(h, -1), {"h": h, "peak": peak}


class Echo(nn.Module):
    """An echo-state network with a leak and a fixed sparse reservoir."""

    def __init__(self) -> None:
        super().__init__()
        reservoir = torch.randn(20, 20) * (torch.rand(20, 20) < 0.2)
        self.register_buffer("reservoir", 0.9 * reservoir / torch.linalg.eigvals(reservoir).abs().max())
        self.register_buffer("inside", torch.randn(20, 6) * 0.5)
        self.out, self.h = nn.Linear(20, 3), None

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(len(x), 20) if self.h is None else self.h
        self.h = 0.7 * h + 0.3 * torch.tanh(x @ self.inside.T + h @ self.reservoir.T)
        return self.out(self.h)


def _speech() -> tuple[Tensor, ...]:
    return torch.randn(1, 1, 6), torch.zeros(2, 1, 8), torch.zeros(2, 1, 8)


EXAMPLES: dict[str, Callable[[], Any]] = {
    "streaming speech": _speech,
    "streaming speech, time first": _speech,
    "ring buffer in place": lambda: torch.randn(1, 6),
}
"""Examples of cases whose state has to be given, or whose batch is fixed."""

CASES: dict[str, Case] = {
    "torch rnn": (lambda: nn.RNN(6, 8, num_layers=2), (6,)),
    "torch rnn relu": (lambda: nn.RNN(6, 8, nonlinearity="relu"), (6,)),
    "torch lstm": (lambda: nn.LSTM(6, 8, num_layers=2, batch_first=True), (6,)),
    "torch lstm, projected": (lambda: nn.LSTM(6, 8, proj_size=5), (6,)),
    "torch gru": (lambda: nn.GRU(6, 8), (6,)),
    "torch lstm cell": (lambda: CellNet(nn.LSTMCell(6, 8)), (6,)),
    "torch gru cell": (lambda: CellNet(nn.GRUCell(6, 8)), (6,)),
    "torch rnn cell": (lambda: CellNet(nn.RNNCell(6, 8)), (6,)),
    "streaming speech": (lambda: Speech(True), (1, 6)),
    "streaming speech, time first": (lambda: Speech(False), (1, 6)),
    "ring buffer by cat": (lambda: RingBuffer("cat"), (6,)),
    "ring buffer by roll": (lambda: RingBuffer("roll"), (6,)),
    "ring buffer in place": (lambda: RingBuffer("in place"), (6,)),
    "keyword window": (Keyword, (6,)),
    "mlp": (lambda: nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4)), (6,)),
    "mlp-mixer": (Mixer, (5, 8)),
    "tsmixer": (TimeSeriesMixer, (12, 3)),
    "gmlp": (Gated, (5, 6)),
    "kan, splines": (lambda: nn.Sequential(SplineKan(6, 8), SplineKan(8, 3)), (6,)),
    "kan, rational": (lambda: nn.Sequential(nn.Linear(6, 8), RationalKan(8), nn.Linear(8, 3)), (6,)),
    "kan, radial": (Rbf, (6,)),
    "s4d": (Diagonal, (6,)),
    "s4d, complex": (ComplexDiagonal, (6,)),
    "selective scan": (Selective, (6,)),
    "gated unit with a dict": (Minimal, (6,)),
    "echo state": (Echo, (6,)),
}
