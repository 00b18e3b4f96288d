"""The lowering table against torch: many calls at once through the replay check, and what is refused, all at once."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgekit.errors import ReplayError, UnsupportedError
from edgekit.frontends import import_module
from edgekit.frontends.discover import discover
from edgekit.frontends.replay import replay
from edgekit.frontends.torch_original import TorchOriginal
from edgekit.ir import from_text, to_text
from edgekit.models import L2MU, MLP

Function = Callable[[Tensor], Tensor]
X = torch.randn(2, 6, generator=torch.Generator().manual_seed(4))
W = torch.randn(4, 6, generator=torch.Generator().manual_seed(5))
C = torch.linspace(-1, 1, 6)
TABLE = torch.tensor([[0, 1], [2, 0]])


class Many(nn.Module):
    """Every function of a group of the same input, as named outputs."""

    def __init__(self, functions: dict[str, Function]) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {name: function(x) for name, function in self.functions.items()}


def _halves(x: Tensor) -> Tensor:
    """Writes two views that do not overlap, and reads only those."""
    left, right = x.chunk(2, 1)
    left.sigmoid_()
    right.tanh_()
    return left * right


def _through_data(x: Tensor) -> Tensor:
    x.data.mul_(3)
    return x + 1


def _written_through_a_view(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, 0] = 1
    return y


def _shifted(x: Tensor) -> Tensor:
    """A ring buffer: everything moves on by one, the newest comes last."""
    ring = x.reshape(-1, 2, 3).clone()
    ring[:, :, :-1] = ring[:, :, 1:].clone()
    ring[:, :, -1] = x[:, :2] * 2
    return ring


def _put(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, [4, 1]] = x[:, :2] + 1
    y.index_put_((torch.arange(len(x))[:, None], torch.tensor([[0, 3]])), x[:, 2:4], accumulate=True)
    return y


def _every_other(x: Tensor) -> Tensor:
    y = x.clone().reshape(-1, 2, 3)
    y[:, :, ::2] *= 3
    y[:, 1].add_(1)
    return y


def _collected(x: Tensor) -> Tensor:
    y = torch.zeros(len(x), 3)
    for at in range(3):
        y[:, at] = x[:, 2 * at] * at
    return y


GROUPS: dict[str, dict[str, Function]] = {
    "unary": {
        "neg": lambda x: -x,
        "abs": torch.abs,
        "sign": torch.sign,
        "exp": torch.exp,
        "log": lambda x: torch.log(x.abs() + 0.5),
        "log1p": lambda x: torch.log1p(x.abs()),
        "expm1": torch.expm1,
        "sqrt": lambda x: torch.sqrt(x.abs()),
        "rsqrt": lambda x: torch.rsqrt(x.abs() + 1),
        "reciprocal": lambda x: torch.reciprocal(x.abs() + 1),
        "square": torch.square,
        "cube": lambda x: x**3,
        "root": lambda x: (x * x) ** 0.5,
        "inverse": lambda x: (x * x + 1) ** -1,
        "two_to_the": lambda x: 2**x,
        "power": lambda x: x.abs() ** 1.7 + x.abs() ** -0.3 + x**4 + x**0,
        "power_of_both": lambda x: torch.pow(x, torch.tensor([2.0, 3.0, -1.0, 0.0, -2.0, 1.0])),
        "waves": lambda x: torch.sin(3 * x) + torch.cos(x) + torch.tan(0.3 * x),
        "error_function": torch.erf,
        "whole": lambda x: torch.floor(3 * x) + torch.ceil(2 * x) + torch.round(x) + torch.trunc(5 * x),
        "logs": lambda x: torch.log2(x.abs() + 1) + torch.log10(x.abs() + 1) + torch.exp2(x),
        "arcs": lambda x: torch.acos(0.9 * x.tanh()) + torch.asin(0.9 * x.tanh()) + torch.atan(20 * x),
        "hyperbolic": lambda x: torch.sinh(x) + torch.cosh(x),
    },
    "arithmetic": {
        "alpha": lambda x: torch.add(x, C, alpha=0.5),
        "rsub": lambda x: 1 - x,
        "rsub_alpha": lambda x: torch.rsub(x, 2.0, alpha=3),
        "division": lambda x: x / 3 + C / (x * x + 1),
        "float_of_bool": lambda x: (x > 0) * C,
        "both": lambda x: torch.maximum(x, C) + torch.minimum(x, -C),
        "clamp": lambda x: x.clamp(-0.5, 0.5) + x.clamp(min=0.1) + torch.clamp(x, max=C),
        "modulo": lambda x: x % 0.75 + torch.fmod(x, 0.75) + x // 0.3,
        "lerp": lambda x: torch.lerp(x, C, 0.25),
        "addcmul": lambda x: torch.addcmul(x, x, C, value=0.5) + torch.addcdiv(x, C, x * x + 1),
    },
    "activations": {
        "relu6": functional.relu6,
        "hardtanh": functional.hardtanh,
        "silu": functional.silu,
        "leaky": lambda x: functional.leaky_relu(x, 0.2),
        "elu": lambda x: functional.elu(x, 1.5) + functional.selu(x) + functional.celu(x, 2.0),
        "softplus": lambda x: functional.softplus(x) + functional.softplus(x, 2.0, 5.0),
        "gelu": lambda x: functional.gelu(x, approximate="tanh"),
        "gelu_erf": functional.gelu,
        "hard": lambda x: functional.hardsigmoid(x) + functional.hardswish(x),
        "threshold": lambda x: functional.threshold(x, 0.3, -1.0),
        "prelu": lambda x: functional.prelu(x, torch.tensor([0.3])),
        "softmax": lambda x: functional.softmax(x, -1) + functional.log_softmax(x.reshape(-1, 2, 3), 2).reshape(-1, 6),
        "mish": functional.mish,
        "softsign": functional.softsign,
        "log_sigmoid": functional.logsigmoid,
        "glu": functional.glu,
        "shrink": lambda x: functional.hardshrink(x) + functional.tanhshrink(x),
    },
    "choice": {
        "where": lambda x: torch.where(x > 0.2, x, -1.0) + torch.where(x > C, C, x),
        "masked": lambda x: x.masked_fill(x < 0, 0.5),
        "logic": lambda x: ((x > 0) & (x < 1) | ~(x >= C)).float(),
        "not_equal": lambda x: ((x != 0) & (x.sign() == 1)).float(),
        "difference": lambda x: (x - 0.5 > 0).float() * 2,
        "heaviside": lambda x: torch.heaviside(x - C, torch.tensor(0.0)) + torch.heaviside(x, torch.tensor(1.0)),
        "spikes": lambda x: x > 0.5,
        "not": lambda x: torch.logical_not(x > 0.5),
        "xor": lambda x: torch.logical_xor(x > 0.5, x < 1),
        "bools": lambda x: torch.where(x > 0, x > 1, x < -1),
        "any": lambda x: (x > 1).any(1, keepdim=True) | (x > -3).all(1, keepdim=True),
    },
    "products": {
        "linear": lambda x: functional.linear(x, W, C[:4]),
        "matmul": lambda x: x @ W.T,
        "vector": lambda x: (x @ C)[:, None],
        "tensordot": lambda x: torch.tensordot(x, W, dims=([1], [1])),
        "addmm": lambda x: torch.addmm(C[:4], x, W.T, beta=0.5, alpha=2),
        "per_channel": lambda x: functional.linear(x.reshape(-1, 2, 3), W[:, :3]),
        "from_the_left": lambda x: torch.matmul(W[:, :3], x.reshape(-1, 3, 2)),
        "both_live": lambda x: torch.bmm(x.reshape(-1, 2, 3), x.reshape(-1, 3, 2)),
        "bilinear": lambda x: functional.bilinear(x[:, :2], x[:, 2:5], W.reshape(4, 2, 3), C[:4]),
        "spectrum": lambda x: torch.fft.rfft(x).abs() + torch.fft.rfft(x, norm="ortho").real,
        "spectrum_and_back": lambda x: (
            torch.fft.irfft(torch.fft.rfft(x) * C[:4]) + torch.fft.ifft(torch.fft.fft(x)).real
        ),
        "einsum": lambda x: torch.einsum("bij,bkj->bik", x.reshape(-1, 2, 3), x.reshape(-1, 2, 3)),
        "outer": lambda x: functional.linear(x.unsqueeze(-1), W[:, :1]),
    },
    "normalisation": {
        "batch": lambda x: functional.batch_norm(x, C, C.abs() + 1, C, -C, training=False),
        "batch_plain": lambda x: functional.batch_norm(x.reshape(-1, 2, 3), C[:2], C[:2].abs() + 1),
        "layer": lambda x: functional.layer_norm(x, (6,), C, -C),
        "layer_two": lambda x: functional.layer_norm(x.reshape(-1, 2, 3), (2, 3), C.reshape(2, 3)),
        "rms": lambda x: functional.rms_norm(x, (6,), C),
        "groups": lambda x: functional.group_norm(x.reshape(-1, 2, 3), 2, C[:2], C[2:4], eps=0.01),
        "instance": lambda x: functional.instance_norm(x.reshape(-1, 2, 3), eps=0.01),
        "unit": lambda x: functional.normalize(x, dim=1),
        "by_hand": lambda x: (x - x.mean(1, keepdim=True)) / torch.sqrt(x.var(1, keepdim=True) + 1e-5),
    },
    "reductions": {
        "sum": lambda x: x.reshape(-1, 2, 3).sum((1, 2), keepdim=True) + x.reshape(-1, 2, 3).sum(1)[:, :1, None],
        "mean": lambda x: x.mean(-1, keepdim=True),
        "amax": lambda x: x.reshape(-1, 2, 3).amax(2) + x.reshape(-1, 2, 3).amin(2),
        "max": lambda x: x.max(1, keepdim=True).values + x.min(1, keepdim=True).values,
        "everything": lambda x: x.reshape(-1, 2, 3).sum((1, 2)) + x.reshape(-1, 2, 3).logsumexp((1, 2)),
        "place": lambda x: torch.round(3 * x).argmax(1, keepdim=True) - x.argmin(1, keepdim=True),
        "value_and_place": lambda x: x.max(1, keepdim=True).values * x.min(1, keepdim=True).indices,
        "product": lambda x: x.prod(1, keepdim=True),
        "count": lambda x: (x > 0).sum(1, keepdim=True) * x,
        "running": lambda x: x.cumsum(1) + x.reshape(-1, 2, 3).cumsum(-1).cumsum(1).reshape(-1, 6),
        "dropout": lambda x: functional.dropout(x, 0.5, training=False),
    },
    "in place": {
        "chain": lambda x: x.clone().mul_(2).add_(C).relu_(),
        "view": lambda x: x.clone().add_(1).reshape(-1, 2, 3).sum(1).clamp_(max=1),
        "halves": lambda x: _halves(x.clone()),
        "copied": lambda x: torch.zeros_like(x).copy_(x * 2),
        "filled": lambda x: x.clone().zero_() + x.clone().fill_(0.5) + x,
        "data": lambda x: _through_data(x.clone()),
        "column": _written_through_a_view,
        "rows": _shifted,
        "put": _put,
        "every_other": _every_other,
        "collected": _collected,
        "out": lambda x: torch.add(x, C, out=torch.empty_like(x)),
    },
    "movement": {
        "transpose": lambda x: x.reshape(-1, 2, 3).transpose(1, 2).reshape(-1, 6),
        "permute": lambda x: x.reshape(-1, 2, 3, 1).permute(0, 3, 1, 2),
        "movedim": lambda x: x.reshape(-1, 1, 2, 3).movedim(1, 3),
        "cat": lambda x: torch.cat([x, C.expand(x.shape[0], 6), torch.zeros_like(x)], 1),
        "stack": lambda x: torch.stack([x, -x], 2),
        "slices": lambda x: x[:, 1:5:2] + x[:, -2:] + x[:, 3].unsqueeze(1),
        "parts": lambda x: x.chunk(3, 1)[1] + x.split(2, 1)[2] + torch.split(x, [1, 2, 3], 1)[1],
        "unbind": lambda x: x.reshape(-1, 2, 3).unbind(1)[1],
        "repeat": lambda x: x.repeat(1, 2),
        "expand": lambda x: x.unsqueeze(1).expand(-1, 3, -1),
        "gather": lambda x: x[:, [5, 0, 2]] + x.index_select(1, torch.tensor([1, 1, 3])),
        "take": lambda x: torch.gather(x, 1, torch.tensor([[4, 0, 4]]).expand(len(x), 3)),
        "take_rows": lambda x: torch.take_along_dim(x.reshape(-1, 2, 3), torch.tensor([[[1], [0]]]), 1),
        "reorder": lambda x: x.flip(1) + x.roll(2, 1),
        "pad": lambda x: functional.pad(x, (1, 2), value=0.5),
        "scattered": lambda x: torch.slice_scatter(x, x[:, :2] * 2, 1, 2, 4) + torch.select_scatter(x, x[:, 0], 1, 5),
        "table": lambda x: torch.gather(x.reshape(-1, 2, 3), 2, TABLE.expand(len(x), 2, 2)).flatten(1),
        "both_axes": lambda x: (
            x.reshape(-1, 2, 3)[:, [0, 1, 1], [2, 0, 1]] + x.reshape(-1, 2, 3)[:, TABLE % 2][:, 0, 0]
        ),
        "triangle": lambda x: torch.tril(x.reshape(-1, 2, 3)) + torch.triu(x.reshape(-1, 2, 3), 1),
        "diagonal": lambda x: x.reshape(-1, 2, 3).diagonal(1, 1, 2),
        "windows": lambda x: x.unfold(1, 3, 2),
        "mirror": lambda x: (
            functional.pad(x[:, None], (1, 2), "reflect") + functional.pad(x[:, None], (1, 2), "replicate")
        ),
        "doubles": lambda x: (x.double() * C.double()).float() + x.long() + (x > 0).long(),
        "fresh": lambda x: x + x.new_zeros(x.shape[0], 6) + torch.ones(x.shape[0], 6),
    },
}


@pytest.mark.parametrize("group", GROUPS)
def test_calls_are_lowered_as_torch_computes_them(group: str) -> None:
    imported = import_module(Many(GROUPS[group]), X, name=group)
    assert set(imported.graph.entries["step"].outputs) == set(GROUPS[group])
    assert {v.name for v in imported.report.values} == set(GROUPS[group])
    assert imported.report.worst_error < 1e-5
    assert imported.report.spikes_differing == 0
    assert to_text(from_text(to_text(imported.graph), _arrays(imported.graph))) == to_text(imported.graph)


def _arrays(graph: object) -> dict[str, np.ndarray]:
    from edgekit.ir import Graph, to_document

    assert isinstance(graph, Graph)
    return to_document(graph)[1]


IMAGES = torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(6))
LINES = IMAGES[:, :, 0]

SPATIAL: dict[str, tuple[nn.Module, Tensor]] = {
    "line": (nn.Conv1d(3, 5, 3, padding=1), LINES),
    "line, strided and dilated": (nn.Conv1d(3, 6, 2, stride=2, dilation=3, groups=3, bias=False), LINES),
    "image": (nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 0)), IMAGES),
    "depthwise": (nn.Conv2d(3, 6, 3, groups=3, padding="same"), IMAGES),
    "transposed line": (nn.ConvTranspose1d(3, 4, 4, stride=2, padding=1, output_padding=1), LINES),
    "transposed image": (nn.ConvTranspose2d(3, 2, 3, stride=2, dilation=2), IMAGES),
    "transposed groups": (nn.ConvTranspose1d(3, 6, 3, groups=3), LINES),
    "max": (nn.MaxPool2d(3, 2, padding=1, ceil_mode=True), IMAGES),
    "max line": (nn.MaxPool1d(2, 2, dilation=2), LINES),
    "average": (nn.AvgPool2d(3, 2, padding=1), IMAGES),
    "average of what is there": (
        nn.AvgPool2d((3, 2), (2, 2), padding=1, ceil_mode=True, count_include_pad=False),
        IMAGES,
    ),
    "average line": (nn.AvgPool1d(3, 2, padding=1, ceil_mode=True), LINES),
    "adaptive": (nn.AdaptiveAvgPool2d((2, 3)), IMAGES),
    "adaptive to one": (nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten()), LINES),
    "adaptive max": (nn.AdaptiveMaxPool2d((3, 4)), IMAGES),
    "nearest": (nn.Upsample(scale_factor=2), IMAGES),
    "shuffle": (nn.Sequential(nn.Conv2d(3, 4, 1), nn.PixelShuffle(2)), IMAGES),
    "unfold": (nn.Unfold((3, 2), padding=1, stride=2), IMAGES),
    "norms": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.GroupNorm(2, 4)), IMAGES),
    "classifier": (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5), nn.LogSoftmax(1)),
        IMAGES,
    ),
}


@pytest.mark.parametrize("case", SPATIAL)
def test_convolution_and_pooling(case: str) -> None:
    torch.manual_seed(0)
    module, example = SPATIAL[case]
    imported = import_module(module, example, name="net")
    assert imported.graph.tensor("x").shape == tuple(example.shape[1:])
    assert imported.report.worst_error < 1e-5


def test_sequential_with_everything_in_it() -> None:
    layers = [
        nn.Linear(6, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Dropout(),
        nn.LayerNorm(8),
        nn.Linear(8, 3),
        nn.Softmax(1),
    ]
    imported = import_module(nn.Sequential(*layers), X, name="net")
    assert imported.report.worst_error < 1e-5
    assert {op.source for _, op in imported.graph.ops()} == {"0", "1", "2", "4", "5", "6"}


def test_l2mu_becomes_plain_ops() -> None:
    module = L2MU(inputs=6, hidden=5, memory=4, order=3, outputs=2, theta=8.0, neuron="synaptic", per_neuron=True)
    graph = import_module(module, None, name="l2mu", dt=0.05).graph
    kinds = {op.kind for _, op in graph.ops()}
    assert kinds <= {"linear", "mul", "add", "sub", "gt", "cast", "reshape"}
    assert {s.tensor for s in graph.states} == set(module.names)
    assert graph.tensors["y"].dtype.name == "spike"
    assert graph.dt == 0.05


def test_the_same_module_gives_the_same_graph() -> None:
    module = MLP(sizes=[6, 5, 3])
    assert import_module(module, X, name="a").graph.hash() == import_module(module, None, name="a").graph.hash()


class Inner(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.erf(torch.cumprod(x, 1)) + x @ x[:, :, None].transpose(1, 2).reshape(-1, 6, 1)[0]


class Ranking(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sort(x, 1).values


class TwoFaults(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rank = Ranking()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.rank(x), torch.cumprod(x, 1)


def test_all_unsupported_calls_are_listed_at_once_with_path_and_remedy() -> None:
    with pytest.raises(UnsupportedError, match="2 operations cannot be lowered") as caught:
        import_module(TwoFaults(), X, name="m")
    items = tuple(re.sub(r"test_frontend_lowering.py:\d+", "here", item) for item in caught.value.items)
    assert items == (
        "aten.sort in rank (here): has no row in the lowering table; return the scores and choose outside the model",
        "aten.cumprod (here): has no row in the lowering table; sum logarithms",
    )


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda x: x * x.shape[0], "mixes|batch size"),
        (lambda x: torch.add(x, C, alpha=1 / x.shape[0]), "mixes|batch size"),
        (lambda x: x @ x[:, :, None].reshape(-1, 6, 1)[:1].reshape(6, 1), "batch"),
        (lambda x: torch.cumprod(x, 1), "sum logarithms"),
        (lambda x: torch.gather(x, 1, torch.arange(len(x) * 2).reshape(-1, 2) % 6), "batch|differs between samples"),
        (lambda x: x.masked_fill(x > 0, float("inf")).clamp(max=1), "NaN or Inf"),
        (lambda x: x + torch.arange(x.shape[0])[:, None], "mixes|size of the batch"),
        (lambda x: x if float(x[0, 0]) > 100 else -x, "into Python"),
        (lambda x: x.reshape(-1, 3) * 2, "batch"),
        (lambda x: x.topk(1, 1).values, "choose outside the model"),
        (lambda x: x * x.long().bitwise_and(3), "bits of integers"),
        (lambda x: x[:, (x[0] > 0)], "batch size"),
    ],
)
def test_refusals_say_why(function: Function, says: str) -> None:
    with pytest.raises(UnsupportedError, match=says):
        import_module(Many({"y": function}), X, name="m")


def test_normalising_with_batch_statistics_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="batch"):
        import_module(nn.BatchNorm1d(6, track_running_stats=False), X, name="m")


# --- the replay check ------------------------------------------------------------------------------------------------


class Clock(nn.Module):
    """Fires once in 24 steps, where 0.1 has been added up to about two."""

    def __init__(self) -> None:
        super().__init__()
        self.phase = torch.zeros(1, 1)
        self.register_buffer("threshold", torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        phase = self.phase + 0.1 + 0 * x[:, :1]
        spikes = (phase > self.threshold).float()
        self.phase = phase * (1 - spikes)
        return spikes


def _with_constant(name: str, change: float) -> tuple[object, object]:
    found = TorchOriginal(discover(Clock(), X))
    graph = import_module(Clock(), X, name="clock").graph
    tensor = graph.tensors[name]
    assert tensor.data is not None
    changed = dataclasses.replace(tensor, data=np.float32(tensor.data + change))
    return found, graph.replace(tensors={**graph.tensors, name: changed})


def test_replay_refuses_a_graph_that_differs() -> None:
    found, graph = _with_constant("threshold", 0.15)
    with pytest.raises(ReplayError, match=r"y, step 19: 1 spikes differ"):
        replay(found, graph)  # type: ignore[arg-type]
    found, graph = _with_constant("const.0.1", 0.001)
    with pytest.raises(ReplayError, match=r"state phase, step 0: relative error 0\.00"):
        replay(found, graph)  # type: ignore[arg-type]


def test_replay_excuses_spikes_that_rounding_decides_and_counts_them() -> None:
    phase, below = np.float32(0), 0.0
    while phase <= 2.0:
        phase = np.float32(phase + np.float32(0.1))
    below = float(phase) - 2.0
    assert below < 1e-5, "the sum passes the threshold by rounding alone"
    found, graph = _with_constant("threshold", below)
    report = replay(found, graph)  # type: ignore[arg-type]
    assert report.excused == report.spikes_differing == report.batch
    assert report.spikes_fired == report.batch
