"""The LIF-based Legendre memory unit (L2MU): an LMU whose encoder, memory, hidden state and read-out are spiking.

The equations and parameter names are those of the authors' published code (Leto et al., neuromorphic-polito/
L2MU-Braille), so its checkpoints load as they are. All signals between populations are 0/1 spikes; the input may be
real or binary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from edgekit.models.legendre import LegendreUnit
from edgekit.models.recurrent import State
from edgekit.models.settings import check_choice, check_dropout, check_keys, check_number, check_size
from edgekit.models.spiking import NEURONS, Leaky

NEURON_DEFAULTS = {"beta": 0.9, "threshold": 1.0, "alpha": 0.5}

POPULATIONS = {"x": "spk_encoder", "u": "spk_u", "m": "spk_m", "h": "spk_h", "o": "spk_output"}
"""Letter of a population in state names -> its attribute, as in the published checkpoints; in the order of the step."""

FED_BACK = ("m", "h")


class L2MU(LegendreUnit):
    """One step, from the previous spikes m_{t-1} [M, d] and h_{t-1} [H]:

    s_u = N_u(E_x x + E_h h_{t-1} + E_m m_{t-1})         [M]
    m_t = N_m(W_A m_{t-1} + W_B s_u), channel by channel  [M, d]
    h_t = N_h(W_x x + W_h h_{t-1} + W_m m_t)              [H]
    s_o = N_o(W_o h_t + b_o)                              [C]

    N is `Leaky` or `Synaptic`. With `encoder` = K > 0, x first passes a learned spiking layer N_x(W_e x + b_e) of K
    neurons. A step emits s_o (`spike_count`) or the output membrane (`last_membrane`, `mean_membrane`). `dropout` drops
    hidden spikes on their way to the read-out, in training only. `neurons` gives initial values, for instance
    {"u": {"beta": 0.6}}; `per_neuron` names the ones held per neuron ("u.beta"), True means all. `theta` only makes the
    initial W_B = Bd and W_A = Ad^T, as the published model multiplies from the other side; None leaves them zero for a
    checkpoint to fill. A wrong setting is a ModelError.
    """

    family = "l2mu"
    config_keys = (
        *("inputs", "hidden", "memory", "order", "outputs", "theta", "neuron", "encoder", "readout"),
        *("neurons", "per_neuron", "dropout"),
    )
    required_keys = ("inputs", "hidden", "memory", "order", "outputs")
    readouts: ClassVar[Mapping[str, str]] = {"spike_count": "sum", "last_membrane": "last", "mean_membrane": "mean"}

    def __init__(
        self,
        *,
        inputs: int,
        hidden: int,
        memory: int,
        order: int,
        outputs: int,
        theta: float | None = None,
        neuron: str = "leaky",
        encoder: int = 0,
        readout: str = "spike_count",
        neurons: Mapping[str, Mapping[str, float]] | None = None,
        per_neuron: bool | list[str] = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        sizes = {"inputs": inputs, "hidden": hidden, "memory": memory, "order": order, "outputs": outputs}
        for key, size in sizes.items():
            check_size(f"l2mu {key}", size)
        check_size("l2mu encoder", encoder, minimum=0)
        check_choice("l2mu neuron", neuron, NEURONS)
        check_choice("l2mu readout", readout, self.readouts)
        check_dropout("l2mu dropout", dropout)
        if theta is not None:
            check_number("l2mu theta", theta, minimum=1e-3)

        shapes = {"u": (memory,), "m": (memory, order), "h": (hidden,), "o": (outputs,)}
        if encoder:
            shapes = {"x": (encoder,), **shapes}
        constants = NEURONS[neuron].constants
        values = _neuron_values(neurons or {}, tuple(shapes), constants)
        held = _per_neuron_names(per_neuron, tuple(shapes), constants)
        self.config = {
            **sizes,
            "theta": theta,
            "neuron": neuron,
            "encoder": encoder,
            "readout": readout,
            "neurons": values,
            "per_neuron": list(held),
            "dropout": dropout,
        }
        self.io = None

        features = encoder or inputs
        if encoder:
            self.encoder = nn.Linear(inputs, encoder)
        self._connect(features, hidden, memory, order)
        self.output_transformation = nn.Linear(hidden, outputs)
        self.dropout = nn.Dropout(dropout)
        for population, shape in shapes.items():
            names = tuple(name.split(".")[1] for name in held if name.startswith(f"{population}."))
            self.add_module(POPULATIONS[population], NEURONS[neuron](shape, values[population], names))
        self._emitted = "o.spikes" if readout == "spike_count" else "o.membrane"
        self.names = tuple(self.init_state(1))
        self._initialise(theta, transposed=True)

    def populations(self) -> Iterator[tuple[str, Leaky]]:
        """(letter, neurons) of every population in the order of the step: x (encoder), u, m, h, o."""
        for letter, attribute in POPULATIONS.items():
            if attribute in self._modules:
                yield letter, getattr(self, attribute)

    def init_state(self, batch: int) -> State:
        """Zero membranes, synapses (Synaptic only) and the fed-back spikes m.spikes and h.spikes, each [batch, ...]."""
        state: State = {}
        for letter, neurons in self.populations():
            for name, value in zip(neurons.states, neurons.init_state(batch), strict=True):
                state[f"{letter}.{name}"] = value
            if letter in FED_BACK:
                state[f"{letter}.spikes"] = neurons.threshold.new_zeros(batch, *neurons.shape)
        return state

    def values(self, x: Tensor, state: Mapping[str, Tensor]) -> State:
        """Spikes and states of every population after one step, and what the step emits as y."""
        values: State = {}
        if self.config["encoder"]:
            values = self._fire("x", self.encoder(x), state)
            x = values["x.spikes"]
        values |= self._recur(self.e_x(x), self.W_x(x), state)
        values |= self._fire("o", self.output_transformation(values["h.spikes"]), state)
        return {**values, "y": values[self._emitted]}

    def forward(self, x: Tensor) -> Tensor:
        """x [batch, T, inputs] -> step outputs [batch, T, outputs] from reset.

        What has no feedback (encoder, E_x x, W_x x, W_o h) runs over all steps at once, so its last bit may differ from
        that of `step`.
        """
        state = self.init_state(len(x))
        features = self._scan("x", self.encoder(x), state, "x.spikes") if self.config["encoder"] else x
        hidden = []
        for drive_u, drive_h in zip(self.e_x(features).unbind(1), self.W_x(features).unbind(1), strict=True):
            state = {**state, **self._recur(drive_u, drive_h, state)}
            hidden.append(state["h.spikes"])
        currents = self.output_transformation(self.dropout(torch.stack(hidden, 1)))
        return self._scan("o", currents, state, self._emitted)

    def _recur(self, drive_u: Tensor, drive_h: Tensor, state: Mapping[str, Tensor]) -> State:
        """Populations u, m and h of one step, from E_x x [batch, M] and W_x x [batch, H]."""
        memory, hidden = state["m.spikes"], state["h.spikes"]
        values = self._fire("u", drive_u + self.e_h(hidden) + self.e_m(memory.flatten(1)), state)
        values |= self._fire("m", self.A(memory) + self.B(values["u.spikes"].unsqueeze(-1)), state)
        return values | self._fire("h", drive_h + self.W_h(hidden) + self.W_m(values["m.spikes"].flatten(1)), state)

    def _fire(self, letter: str, current: Tensor, state: Mapping[str, Tensor]) -> State:
        """One step of one population: its next states and its spikes, by name."""
        neurons: Leaky = getattr(self, POPULATIONS[letter])
        names = [f"{letter}.{name}" for name in neurons.states]
        spikes, values = neurons(current, *(state[name] for name in names))
        return {**dict(zip(names, values, strict=True)), f"{letter}.spikes": spikes}

    def _scan(self, letter: str, currents: Tensor, state: State, emitted: str) -> Tensor:
        """What a population without feedback emits over currents [batch, T, n]."""
        outputs = []
        for current in currents.unbind(1):
            state = self._fire(letter, current, state)
            outputs.append(state[emitted])
        return torch.stack(outputs, 1)


def _neuron_values(
    given: Mapping[str, Mapping[str, float]], populations: tuple[str, ...], constants: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """Initial value of every constant of every population; those not given are the defaults."""
    check_keys("l2mu neurons", given, populations)
    for letter, values in given.items():
        check_keys(f"l2mu neurons {letter!r}", values, constants)
        for name, value in values.items():
            check_number(f"l2mu {letter}.{name}", value)
    defaults = {name: NEURON_DEFAULTS[name] for name in constants}
    return {letter: {**defaults, **given.get(letter, {})} for letter in populations}


def _per_neuron_names(
    given: bool | list[str], populations: tuple[str, ...], constants: tuple[str, ...]
) -> tuple[str, ...]:
    every = tuple(f"{letter}.{name}" for letter in populations for name in constants)
    if isinstance(given, bool):
        return every if given else ()
    for name in given:
        check_choice("l2mu per_neuron", name, every)
    return tuple(name for name in every if name in given)
