"""Spiking multi-layer perceptrons that learn one task after another without losing the earlier ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn

from edgekit.errors import UsageError
from edgekit.learn.torch.dsr import Dsr, DsrSettings
from edgekit.learn.torch.lateral import Lateral, LateralSettings
from edgekit.learn.torch.layer import Layer
from edgekit.learn.torch.surrogate import Bptt, Ottt, SurrogateSettings
from edgekit.models.settings import check_choice, check_size

Settings = DsrSettings | SurrogateSettings
VARIANTS: dict[str, type[Dsr] | type[Bptt]] = {"dsr": Dsr, "ottt": Ottt, "bptt": Bptt}
INPUT_RATE = 0.001
"""Lateral learning rate of the input layer, whose signal is not made of spikes."""


class SpikingMLP(nn.Module):
    """Fully connected spiking layers of `sizes`, without biases, driven by an input x [B, N] that lasts T steps.

    `variant` says how neurons work and learn: dsr, ottt or bptt, with `settings` of its own. Every layer has lateral
    neurons of the signal that it receives; once rows of them are old, its weights learn orthogonally to these. `rates`
    are the laterals' learning rates, 0.001 at the input and that of `lateral` elsewhere by default. All initial values
    come from `seed`. A wrong size or setting is a ModelError.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        variant: str = "dsr",
        *,
        settings: Settings | None = None,
        lateral: LateralSettings | None = None,
        rates: Sequence[float] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_choice("spiking mlp variant", variant, VARIANTS)
        check_size("spiking mlp sizes", len(sizes), minimum=3)
        for size in sizes:
            check_size("spiking mlp size", size)
        lateral = lateral or LateralSettings()
        layers = len(sizes) - 1
        rates = rates or (INPUT_RATE, *[lateral.rate] * (layers - 1))
        check_choice("number of lateral rates", len(rates), (layers,))
        generator = Generator().manual_seed(seed)
        self.sizes, self.variant = tuple(sizes), variant
        self.layers = nn.ModuleList(
            Layer(Lateral(inputs, dataclasses.replace(lateral, rate=rate)), outputs, generator)
            for inputs, outputs, rate in zip(sizes, sizes[1:], rates, strict=False)
        )
        self.coding = _coding(variant, settings)
        self.neurons = nn.ModuleList(self.coding.neurons() for _ in range(layers - 1))

    @property
    def laterals(self) -> list[Lateral]:
        """The lateral neurons of every layer."""
        return [layer.lateral for layer in self.layers]  # type: ignore[misc]

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, C] of inputs x [B, N]; no lateral neuron takes part."""
        signal = x[None]
        *hidden, readout = self.layers
        for layer, neurons in zip(hidden, self.neurons, strict=True):
            signal = neurons(layer(signal))
        return self.coding.logits(readout(self.coding.summary(signal)))

    def loss(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """(loss, logits [B, C]) of a labelled batch; the loss's gradients are projected, and new lateral rows learn."""
        signal, coding = x[None], self.coding
        *hidden, readout = self.layers
        for layer, neurons in zip(hidden, self.neurons, strict=True):
            signal = neurons(layer(signal, self._observe(signal, layer, coding.trace)))
        outputs = readout(coding.summary(signal), self._observe(signal, readout, coding.summary_trace))
        return coding.loss(outputs, labels), coding.logits(outputs.detach())

    def _observe(self, signal: Tensor, layer: nn.Module, trace: Callable[[Tensor, Lateral], Tensor]) -> Tensor:
        """The projected factor of a layer's gradient; its new lateral rows learn the signal."""
        lateral: Lateral = layer.lateral  # type: ignore[assignment]
        with torch.no_grad():
            projected = trace(signal, lateral)
            if lateral.growing:
                for rows in self.coding.batches(signal):
                    lateral.learn(rows)
        return projected

    def begin_task(self, rows: Sequence[int], seed: int = 0) -> None:
        """Give every layer that many new lateral rows, drawn from `seed`."""
        if len(rows) != len(self.laterals):
            raise UsageError("subspace sizes", f"{len(rows)} for {len(self.laterals)} layers", "give one a layer")
        generator = Generator().manual_seed(seed)
        for lateral, count in zip(self.laterals, rows, strict=True):
            lateral.grow(count, generator)

    def end_task(self) -> None:
        """All lateral rows are old from now on, and thresholds stay as they are."""
        for lateral in self.laterals:
            lateral.merge()
        for parameter in self.neurons.parameters():
            parameter.requires_grad_(False)


def _coding(variant: str, settings: Settings | None) -> Dsr | Bptt:
    kind = DsrSettings if variant == "dsr" else SurrogateSettings
    if settings is not None and not isinstance(settings, kind):
        raise UsageError(f"settings of variant {variant!r}", f"are {type(settings).__name__}", f"give {kind.__name__}")
    return VARIANTS[variant](settings)  # type: ignore[arg-type]
