"""snnTorch, Norse and hand-written spiking modules, as their users write them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import snntorch as snn
import torch
from torch import Tensor, nn

with warnings.catch_warnings():  # of torch.jit, which Norse still uses
    warnings.simplefilter("ignore", DeprecationWarning)
    import norse.torch as norse

Case = tuple[Callable[[], nn.Module], tuple[int, ...]]
"""What makes the module, and the shape of one sample of its input."""


def _hidden(neuron: Callable[..., nn.Module], width: int = 12, **options: Any) -> Callable[[], nn.Module]:
    """Two layers of neurons that keep their state themselves."""

    def make() -> nn.Module:
        first, last = neuron(init_hidden=True, **options), neuron(init_hidden=True, **options)
        return nn.Sequential(nn.Linear(6, width), first, nn.Linear(width, width), last)

    return make


class Explicit(nn.Module):
    """The form of the snnTorch tutorials: states are arguments and results."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(6, 10), snn.Leaky(beta=0.9, threshold=0.5)
        self.fc2, self.lif2 = nn.Linear(10, 4), snn.Synaptic(alpha=0.8, beta=0.7, threshold=0.4)

    def forward(
        self, x: Tensor, mem1: Tensor | None = None, syn2: Tensor | None = None, mem2: Tensor | None = None
    ) -> Any:
        if mem1 is None:
            mem1, (syn2, mem2) = torch.zeros(len(x), 10), (torch.zeros(len(x), 4), torch.zeros(len(x), 4))
        spk1, mem1 = self.lif1(self.fc1(x), mem1)
        spk2, syn2, mem2 = self.lif2(self.fc2(spk1), syn2, mem2)
        return spk2, mem1, syn2, mem2


class Recording(nn.Module):
    """Gives spikes and membrane, with a layer norm inside the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm = nn.Linear(6, 8), nn.LayerNorm(8)
        self.lif = snn.Leaky(beta=torch.rand(8), threshold=torch.rand(8) * 0.5 + 0.2, init_hidden=True, output=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        spikes, membrane = self.lif(self.norm(self.fc(x)))
        return spikes, membrane


def _sconv() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        snn.Leaky(beta=0.8, threshold=0.4, init_hidden=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3),
        snn.Leaky(beta=0.7, threshold=0.3, init_hidden=True, reset_mechanism="zero"),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(6, 5),
        snn.Leaky(beta=0.9, threshold=0.2, init_hidden=True),
    )


class SConvLstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = snn.SConv2dLSTM(1, 3, 3, max_pool=2, threshold=0.1, init_hidden=True)
        self.fc = nn.Linear(3 * 4 * 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.cell(x).flatten(1))


class Sinabs(nn.Module):
    """In the manner of sinabs: buffers of zero size until the first step, exponential leak, several spikes a step."""

    def __init__(self, tau: float, width: int) -> None:
        super().__init__()
        self.register_buffer("v_mem", torch.zeros(0))
        self.register_buffer("alpha", torch.exp(torch.tensor(-1.0 / tau)))
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        if self.v_mem.shape != x.shape:
            self.v_mem = torch.zeros_like(x)
        v = self.alpha * self.v_mem + (1 - self.alpha) * x
        spikes = torch.clamp(torch.floor(v / 0.1), 0, 4)
        self.v_mem = v - 0.1 * spikes
        return spikes


class Refractory(nn.Module):
    """A hand-written neuron with an adaptive threshold and a refractory counter of whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 9)
        self.v: Any = None

    def forward(self, x: Tensor) -> Tensor:
        if self.v is None:
            zeros = torch.zeros(len(x), 9)
            self.v, self.a, self.rest = zeros, zeros.clone(), torch.zeros(len(x), 9, dtype=torch.int64)
        awake = self.rest == 0
        v = torch.where(awake, 0.9 * self.v + self.fc(x), self.v)
        spikes = (v >= 0.4 + self.a) & awake
        self.v = torch.where(spikes, -0.1, v)
        self.a = 0.95 * self.a + 0.1 * spikes
        self.rest = torch.where(spikes, 2, (self.rest - 1).clamp(min=0))
        return spikes.float()


def _norse(cell: Callable[[], nn.Module], width: int = 8, gain: float = 8.0) -> Callable[[], nn.Module]:
    """Two layers that spike, their weights large enough for that at steps of a millisecond."""

    def make() -> nn.Module:
        layers = [nn.Linear(6, width), cell(), nn.Linear(width, 4), norse.LIFCell()]
        with torch.no_grad():
            layers[0].weight.mul_(gain)
            layers[2].weight.mul_(gain)
        return norse.SequentialState(*layers)

    return make


PER_NEURON = {"beta": torch.linspace(0.3, 1.1, 12), "threshold": torch.linspace(0.2, 0.8, 12)}

CASES: dict[str, Case] = {
    **{
        f"snntorch leaky {reset}{'' if delay else ', at once'}": (
            _hidden(snn.Leaky, beta=0.9, threshold=0.4, reset_mechanism=reset, reset_delay=delay),
            (6,),
        )
        for reset in ("subtract", "zero", "none")
        for delay in (True, False)
    },
    "snntorch leaky per neuron, learned": (
        _hidden(snn.Leaky, learn_beta=True, learn_threshold=True, **PER_NEURON),
        (6,),
    ),
    "snntorch leaky graded": (_hidden(snn.Leaky, beta=0.9, threshold=0.4, graded_spikes_factor=0.6), (6,)),
    "snntorch lapicque": (_hidden(snn.Lapicque, R=2.0, C=3.0, time_step=1.0, threshold=0.3), (6,)),
    "snntorch lapicque zero": (_hidden(snn.Lapicque, beta=0.8, threshold=0.3, reset_mechanism="zero"), (6,)),
    "snntorch synaptic": (_hidden(snn.Synaptic, alpha=0.7, beta=0.8, threshold=0.4), (6,)),
    "snntorch synaptic zero": (
        _hidden(snn.Synaptic, alpha=0.7, beta=0.8, threshold=0.4, reset_mechanism="zero"),
        (6,),
    ),
    "snntorch alpha": (_hidden(snn.Alpha, alpha=0.9, beta=0.8, threshold=0.2), (6,)),
    "snntorch rleaky, one weight each": (
        _hidden(snn.RLeaky, beta=0.9, threshold=0.4, all_to_all=False, V=0.3),
        (6,),
    ),
    "snntorch rleaky, all to all": (_hidden(snn.RLeaky, beta=0.9, threshold=0.4, linear_features=12), (6,)),
    "snntorch rsynaptic": (_hidden(snn.RSynaptic, alpha=0.7, beta=0.8, threshold=0.4, linear_features=12), (6,)),
    "snntorch explicit states": (Explicit, (6,)),
    "snntorch spikes and membrane": (Recording, (6,)),
    "snntorch conv net": (_sconv, (1, 8, 8)),
    "snntorch slstm": (lambda: nn.Sequential(nn.Linear(6, 8), snn.SLSTM(8, 8, threshold=0.1, init_hidden=True)), (6,)),
    "snntorch sconv2dlstm": (SConvLstm, (1, 8, 8)),
    "norse lif": (_norse(norse.LIFCell), (6,)),
    "norse lif, refractory": (_norse(norse.LIFRefracCell), (6,)),
    "norse lif box": (_norse(lambda: norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=torch.tensor(200.0)))), (6,)),
    "norse lif adaptive": (_norse(norse.LSNNCell), (6,)),
    "norse lif recurrent": (_norse(lambda: norse.LIFRecurrentCell(8, 8)), (6,)),
    "norse lsnn recurrent": (_norse(lambda: norse.LSNNRecurrentCell(8, 8)), (6,)),
    "norse lif, current based, other time constants": (
        _norse(lambda: norse.LIFCell(norse.LIFParameters(tau_syn_inv=torch.tensor(80.0), v_th=torch.tensor(0.2)))),
        (6,),
    ),
    "norse exponential lif": (_norse(norse.LIFExCell), (6,)),
    "norse adaptive exponential lif": (_norse(norse.LIFAdExCell), (6,)),
    "norse leaky box": (_norse(norse.LIBoxCell), (6,)),
    "norse linear leaky": (lambda: norse.LILinearCell(6, 4), (6,)),
    "norse iaf": (_norse(norse.IAFCell), (6,)),
    "norse izhikevich": (_norse(lambda: norse.IzhikevichCell(norse.tonic_spiking)), (6,)),
    "norse li alone": (norse.LICell, (6,)),
    "norse lif at rest above zero": (
        _norse(lambda: norse.LIFCell(norse.LIFParameters(v_leak=torch.tensor(0.2), v_th=torch.tensor(0.5)))),
        (6,),
    ),
    "sinabs style": (lambda: nn.Sequential(nn.Linear(6, 8), Sinabs(20.0, 8), nn.Linear(8, 4), Sinabs(10.0, 4)), (6,)),
    "adaptive and refractory": (Refractory, (6,)),
}
