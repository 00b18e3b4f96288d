"""snnTorch modules: hidden and explicit states, reset mechanisms, and the traps of its process-wide instance list."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgekit.frontends import import_module

snn = pytest.importorskip("snntorch")

X = torch.randn(2, 5, generator=torch.Generator().manual_seed(6))


class Net(nn.Module):
    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(5, 9), first
        self.fc2, self.lif2 = nn.Linear(9, 4), second

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.lif2(self.fc2(self.lif1(self.fc1(x))))
        return y


HIDDEN: dict[str, tuple[Any, list[str]]] = {
    "leaky": (lambda: snn.Leaky(0.9, threshold=0.3, init_hidden=True), ["mem"]),
    "leaky per neuron, learned": (
        lambda: snn.Leaky(torch.rand(9) + 0.5, threshold=torch.rand(9), init_hidden=True, learn_beta=True),
        ["mem"],
    ),
    "leaky to zero": (lambda: snn.Leaky(0.9, threshold=0.3, init_hidden=True, reset_mechanism="zero"), ["mem"]),
    "leaky without reset": (lambda: snn.Leaky(0.9, threshold=0.3, init_hidden=True, reset_mechanism="none"), ["mem"]),
    "leaky, reset in the same step": (
        lambda: snn.Leaky(0.9, threshold=0.3, init_hidden=True, reset_delay=False),
        ["mem"],
    ),
    "leaky, graded spikes": (
        lambda: snn.Leaky(0.9, threshold=0.3, init_hidden=True, graded_spikes_factor=0.7),
        ["mem"],
    ),
    "synaptic": (lambda: snn.Synaptic(0.8, 0.7, threshold=0.3, init_hidden=True), ["syn", "mem"]),
    "synaptic, reset in the same step": (
        lambda: snn.Synaptic(0.8, 0.7, threshold=0.3, init_hidden=True, reset_delay=False),
        ["syn", "mem"],
    ),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_hidden_states(case: str) -> None:
    torch.manual_seed(1)
    make, states = HIDDEN[case]
    imported = import_module(Net(make(), snn.Leaky(0.5, threshold=0.2, init_hidden=True)), X, name="net")
    assert [s.tensor for s in imported.graph.states] == [*(f"lif1.{s}" for s in states), "lif2.mem"]
    assert imported.graph.tensors["y"].dtype.name == "spike"
    assert imported.report.spikes_fired > 0
    assert imported.report.spikes_differing == 0


@pytest.mark.parametrize(
    ("neuron", "states"),
    [(lambda: snn.Leaky(0.9, threshold=0.4), ["mem"]), (lambda: snn.Synaptic(0.8, 0.9, threshold=0.4), ["syn", "mem"])],
)
def test_explicit_states(neuron: Any, states: list[str]) -> None:
    imported = import_module(neuron(), X, name="neuron")
    assert [s.tensor for s in imported.graph.states] == states
    assert imported.report.spikes_fired > 0


def test_hidden_state_that_is_an_output_too() -> None:
    module = nn.Sequential(nn.Linear(5, 3), snn.Leaky(0.9, threshold=0.3, init_hidden=True, output=True))
    step = import_module(module, X, name="net").graph.entries["step"]
    assert step.outputs == ("y0", "y1")
    assert step.updates == {"_1.mem": "y1"}


def test_a_surrogate_gradient_does_not_matter() -> None:
    module = snn.Leaky(0.9, spike_grad=snn.surrogate.fast_sigmoid(), init_hidden=True, threshold=0.3)
    assert import_module(module, X, name="lif").report.spikes_differing == 0


def test_other_networks_of_the_process_keep_their_states() -> None:
    class Resetting(nn.Module):
        """Zeroes all hidden states of the process in its step, as snnTorch's reset does."""

        def __init__(self) -> None:
            super().__init__()
            self.lif = snn.Leaky(0.9, init_hidden=True, threshold=0.3)

        def forward(self, x: Tensor) -> Tensor:
            snn.Leaky.reset_hidden()
            y: Tensor = self.lif(x)
            return y

    bystander = snn.Leaky(0.9, init_hidden=True)
    bystander(torch.ones(2, 5))
    mem, instances = bystander.mem, list(snn.SpikingNeuron.instances)
    import_module(Resetting(), X, name="net")
    assert bystander.mem is mem
    assert mem.any()
    assert snn.SpikingNeuron.instances[: len(instances)] == instances
