"""Random small models: whatever is drawn, the import reproduces the module, and long streams stay together."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgekit.frontends import import_module
from edgekit.passes.pipelines import OPTIMISE, run_passes
from edgekit.reference import Interpreter

ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.SiLU, nn.LeakyReLU, nn.ELU, nn.Softplus, nn.Hardtanh, nn.Identity)
NORMS = (nn.BatchNorm1d, nn.LayerNorm, nn.Dropout, None)


class Recurrent(nn.Module):
    """A leaky unit with feedback; its state is an attribute, passed, or split over a tuple."""

    def __init__(self, inputs: int, width: int, kept: str) -> None:
        super().__init__()
        self.w, self.r, self.kept = nn.Linear(inputs, width), nn.Linear(width, width, bias=False), kept
        self.leak = nn.Parameter(torch.rand(width))
        self.held: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> object:
        state = self.held if self.kept == "held" else state
        v, s = state or (torch.zeros(len(x), self.leak.numel()),) * 2
        v = self.leak.clamp(0, 0.9) * v + self.w(x) + 0.5 * self.r(s)
        s = (v > 0.3).float()
        state = (v - 0.3 * s, s)
        if self.kept == "passed":
            return s, state
        self.held = state
        return s


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.data())
def test_random_feed_forward_models(data: st.DataObject) -> None:
    torch.manual_seed(data.draw(st.integers(0, 99)))
    sizes = data.draw(st.lists(st.integers(1, 9), min_size=2, max_size=4))
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers.append(nn.Linear(n_in, n_out, bias=data.draw(st.booleans())))
        norm = data.draw(st.sampled_from(NORMS))
        if norm is not None:
            layers.append(norm() if norm is nn.Dropout else norm(n_out))
        layers.append(data.draw(st.sampled_from(ACTIVATIONS))())
    module = nn.Sequential(*layers)
    module(torch.randn(8, sizes[0]))  # in training mode: batch norms get statistics
    imported = import_module(module, torch.zeros(1, sizes[0]), name="net")
    assert not imported.graph.states
    assert imported.report.worst_error < 1e-4


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.integers(0, 99), st.integers(1, 6), st.integers(1, 40), st.sampled_from(["held", "passed"]))
def test_random_spiking_models_before_and_after_optimisation(seed: int, inputs: int, width: int, kept: str) -> None:
    torch.manual_seed(seed)
    module = Recurrent(inputs, width, kept)
    imported = import_module(module, torch.zeros(1, inputs), name="net")
    assert len(imported.graph.states) == 2
    assert imported.report.spikes_differing == 0
    stream = np.random.default_rng(seed).normal(size=(2, 30, inputs)).astype(np.float32)
    plain, _ = Interpreter(imported.graph).run({"x": stream})
    fast, _ = Interpreter(run_passes(imported.graph, OPTIMISE)).run({"x": stream})
    for a, b in zip(plain.values(), fast.values(), strict=True):
        np.testing.assert_array_equal(a, b)
