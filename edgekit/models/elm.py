"""The Expressive Leaky Memory neuron (ELM): leaky branches, a small MLP, and memories from fast to slow.

Equations, defaults and parameter names of Spieler et al. (2023), elmneuron: version v1 filters every synapse, v2 every
branch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from edgekit.errors import ModelError
from edgekit.models.mlp import MLP
from edgekit.models.recurrent import Recurrent, State
from edgekit.models.routing import ROUTINGS, route
from edgekit.models.settings import check_choice, check_dropout, check_number, check_size

VERSIONS = ("v1", "v2")
ACTIVATIONS = ("relu", "silu")
MAX_LAYERS = 64

AMPLITUDE, STRETCH = 1.7159, 2 / 3
"""phi(x) = 1.7159 tanh(2x/3) bounds what a step writes into the memory."""

MARGIN = 1e-6
"""Least time constant, and least distance of a memory's initial time constant from the ends of its range."""

SATURATED = 100.0
"""Where sigmoid is exactly 0 or 1 in float32, as it is at infinity."""


class ELM(Recurrent):
    """One step, from memory m_{t-1} [d_m] and filters s_{t-1} (v1, one a synapse) or b_{t-1} (v2, one a branch):

    w = relu(w_proto) at the synapses that are connected, x_j the input that synapse j reads
    v1: s_t = kappa_s s_{t-1} + w x_j,  b_t = sum of s_t over a branch          kappa_s = exp(-dt / tau_s)
    v2: b_t = kappa_b b_{t-1} + sum of w x_j over a branch                      kappa_b = exp(-dt / tau_b)
    D_t = phi(MLP([b_t; kappa_m m_{t-1}])), phi(z) = 1.7159 tanh(2z/3)           kappa_m = exp(-dt / tau_m)
    m_t = kappa_m m_{t-1} + g D_t,  g = lambda (1 - kappa_m) in v1, 1 - exp(-dt lambda / tau_m) in v2
    y_t = W_y m_t + b_y

    with tau_m = (max - min) sigmoid(proto) + min; all times in the unit of dt. `branches` None gives every input a
    branch of its own; `routing` is none, neuronio, random or tile (see `routing.route`). `hidden` None is 2 d_m. `tau`
    is a number, one for each branch, or in v1 one for each synapse; it is not trained, nor is tau_m unless
    `learn_memory_tau`. A window decides by its `last` or `mean` y. `dropout` drops memories on their way to y, in
    training only. A wrong setting is a ModelError.
    """

    family = "elm"
    config_keys = (
        *("inputs", "outputs", "memory", "hidden", "layers", "activation", "version", "branches", "synapses"),
        *("routing", "dt", "lambda_value", "tau", "memory_tau_min", "memory_tau_max", "learn_memory_tau"),
        *("w_s_value", "readout", "dropout"),
    )
    required_keys = ("inputs", "outputs")

    tau_s: Tensor
    tau_b: Tensor
    input_to_synapse_indices: Tensor
    valid_indices_mask: Tensor

    def __init__(
        self,
        *,
        inputs: int,
        outputs: int,
        memory: int = 100,
        hidden: int | None = None,
        layers: int = 1,
        activation: str = "relu",
        version: str = "v2",
        branches: int | None = None,
        synapses: int = 1,
        routing: str = "none",
        dt: float = 1.0,
        lambda_value: float = 5.0,
        tau: float | list[float] = 5.0,
        memory_tau_min: float = 1.0,
        memory_tau_max: float = 1000.0,
        learn_memory_tau: bool = False,
        w_s_value: float = 0.5,
        readout: str = "last",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        hidden = 2 * memory if hidden is None and isinstance(memory, int) else hidden
        branches = inputs if branches is None else branches
        sizes = {"inputs": inputs, "outputs": outputs, "memory": memory, "hidden": hidden, "layers": layers}
        for key, size in {**sizes, "branches": branches, "synapses": synapses}.items():
            check_size(f"elm {key}", size)
        check_size("elm layers", layers, maximum=MAX_LAYERS)
        check_choice("elm activation", activation, ACTIVATIONS)
        check_choice("elm version", version, VERSIONS)
        check_choice("elm routing", routing, ROUTINGS)
        for key, number in {"dt": dt, "lambda_value": lambda_value, "memory_tau_min": memory_tau_min}.items():
            check_number(f"elm {key}", number, minimum=MARGIN)
        check_number("elm memory_tau_max", memory_tau_max, minimum=memory_tau_min)
        check_number("elm w_s_value", w_s_value)
        check_choice("elm learn_memory_tau", learn_memory_tau, (True, False))
        check_choice("elm readout", readout, self.readouts)
        check_dropout("elm dropout", dropout)
        self.config = {
            **sizes,
            "activation": activation,
            "version": version,
            "branches": branches,
            "synapses": synapses,
            "routing": routing,
            "dt": dt,
            "lambda_value": lambda_value,
            "tau": list(tau) if isinstance(tau, list | tuple) else tau,
            "memory_tau_min": memory_tau_min,
            "memory_tau_max": memory_tau_max,
            "learn_memory_tau": learn_memory_tau,
            "w_s_value": w_s_value,
            "readout": readout,
            "dropout": dropout,
        }
        self.io = None
        self.filter = "s" if version == "v1" else "b"
        self.names = (self.filter, "m")

        indices, connected = route(routing, inputs, branches, synapses)
        self._proto_w_s = nn.Parameter(torch.full((branches * synapses,), float(w_s_value)))
        self.register_buffer(f"tau_{self.filter}", filter_times(tau, version, branches, synapses))
        self._tau_m_range = memory_tau_min, max(memory_tau_max, memory_tau_min + 3 * MARGIN)
        self._proto_tau_m = nn.Parameter(_memory_times(memory, *self._tau_m_range), requires_grad=learn_memory_tau)
        self.mlp = MLP([branches + memory, *[hidden] * layers, memory], activation)
        self.w_y = nn.Linear(memory, outputs)
        self.register_buffer("input_to_synapse_indices", indices)
        self.register_buffer("valid_indices_mask", connected)
        self.dropout = nn.Dropout(dropout)
        self.register_load_state_dict_pre_hook(_saturate)  # type: ignore[no-untyped-call]

    @property
    def w_s(self) -> Tensor:
        """Weight of every synapse [branches * synapses]: not negative, zero where it is not connected."""
        weight = torch.relu(self._proto_w_s)
        return weight * self.valid_indices_mask.to(weight.dtype) if len(self.valid_indices_mask) else weight

    @property
    def tau_m(self) -> Tensor:
        """Time constant of every memory [d_m], in the unit of dt."""
        low, high = self._tau_m_range
        return (high - low) * torch.sigmoid(self._proto_tau_m) + low

    def init_state(self, batch: int) -> State:
        """Zero filters s [batch, branches * synapses] (v1) or b [batch, branches] (v2), and m [batch, d_m]."""
        filters = self._filter_times.numel()
        return {
            self.filter: self._proto_w_s.new_zeros(batch, filters),
            "m": self._proto_w_s.new_zeros(batch, self.config["memory"]),
        }

    def values(self, x: Tensor, state: Mapping[str, Tensor]) -> State:
        """s (v1) and b [batch, branches], m [batch, d_m] and y of one step."""
        filtered = self._kappa(self._filter_times) * state[self.filter] + self._drive(x)
        branch = self._branches(filtered) if self.filter == "s" else filtered
        kappa, gain = self._memory_factors()
        decayed = kappa * state["m"]
        memory = decayed + gain * torch.tanh(STRETCH * self.mlp(torch.cat([branch, decayed], -1)))
        return {self.filter: filtered, "b": branch, "m": memory, "y": self._read(memory)}

    def forward(self, x: Tensor) -> Tensor:
        """x [batch, T, inputs] -> step outputs [batch, T, outputs] from reset.

        What does not depend on m (filters, the branches' share of the MLP's first layer) and W_y m run over all steps
        at once, so their last bits may differ from those of `step`.
        """
        kappa, gain = self._memory_factors()
        weight, bias = (self.mlp.network[0].get_parameter(name) for name in ("weight", "bias"))
        from_branches, from_memory = weight.tensor_split([self.config["branches"]], 1)
        drives, rest = nn.functional.linear(self._filtered(x), from_branches, bias), self.mlp.network[1:]
        memory, memories = self.init_state(len(x))["m"], []
        for drive in drives.unbind(1):
            decayed = kappa * memory
            z = rest(drive + nn.functional.linear(decayed, from_memory))
            memory = decayed + gain * torch.tanh(STRETCH * z)
            memories.append(memory)
        return self._read(torch.stack(memories, 1))

    def check_weights(self) -> None:
        """Refuse values from a file that no valid neuron has, with a ModelError: synapses that read no input."""
        indices, inputs = self.input_to_synapse_indices, self.config["inputs"]
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < inputs:
            cause = f"reads inputs {int(indices.min())} to {int(indices.max())}, but there are {inputs}"
            raise ModelError("checkpoint, input_to_synapse_indices", cause)

    @property
    def _filter_times(self) -> Tensor:
        times: Tensor = getattr(self, f"tau_{self.filter}")
        return times

    def _kappa(self, tau: Tensor, rate: float = 1.0) -> Tensor:
        """Decay over one step at `rate` times the speed of `tau`: exp(-dt rate / tau)."""
        return torch.exp(-self.config["dt"] * rate / tau.clamp(min=MARGIN))

    def _memory_factors(self) -> tuple[Tensor, Tensor]:
        """kappa_m and 1.7159 g, both [d_m]."""
        tau, lambda_value = self.tau_m, self.config["lambda_value"]
        kappa = self._kappa(tau)
        gain = lambda_value * (1 - kappa) if self.filter == "s" else 1 - self._kappa(tau, lambda_value)
        return kappa, AMPLITUDE * gain

    def _drive(self, x: Tensor) -> Tensor:
        """What x [..., inputs] adds to every filter: per synapse (v1) or per branch (v2)."""
        if len(self.input_to_synapse_indices):
            x = x.index_select(-1, self.input_to_synapse_indices)
        synapses = self.w_s * x
        return synapses if self.filter == "s" else self._branches(synapses)

    def _branches(self, synapses: Tensor) -> Tensor:
        """The sum over every branch: [..., branches * synapses] -> [..., branches]."""
        count = self.config["synapses"]
        return synapses if count == 1 else synapses.view(*synapses.shape[:-1], -1, count).sum(-1)

    def _filtered(self, x: Tensor) -> Tensor:
        """b of every step of x [batch, T, inputs], [batch, T, branches]."""
        kappa, state, states = self._kappa(self._filter_times), self.init_state(len(x))[self.filter], []
        for drive in self._drive(x).unbind(1):
            state = kappa * state + drive
            states.append(state)
        filtered = torch.stack(states, 1)
        return self._branches(filtered) if self.filter == "s" else filtered

    def _read(self, memory: Tensor) -> Tensor:
        """y of memories [..., d_m]."""
        y: Tensor = self.w_y(self.dropout(memory))
        return y


def filter_times(tau: float | list[float], version: str, branches: int, synapses: int) -> Tensor:
    """One time constant for each synapse (v1) or branch (v2), from one number, one a branch, or one a synapse (v1)."""
    for value in tau if isinstance(tau, list | tuple) else [tau]:
        check_number("elm tau", value, minimum=MARGIN)
    count = branches * synapses if version == "v1" else branches
    if not isinstance(tau, list | tuple):
        return torch.full((count,), float(tau))
    if len(tau) == count:
        return torch.tensor(tau, dtype=torch.float32)
    if len(tau) == branches:
        return torch.tensor(tau, dtype=torch.float32).repeat_interleave(synapses)
    wanted = f"{branches} (branches)" + (f" or {count} (synapses)" if count != branches else "")
    raise ModelError("elm tau", f"{len(tau)} values", f"give one number or {wanted}")


def _memory_times(memory: int, low: float, high: float) -> Tensor:
    """proto of time constants evenly spaced in their logarithm over [low, high]: log((tau - low) / (high - tau))."""
    tau = np.geomspace(low + MARGIN, high - MARGIN, memory).clip(low + MARGIN, high - MARGIN)
    return torch.as_tensor(np.log((tau - low) / (high - tau)).astype(np.float32))


def _saturate(module: nn.Module, weights: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Before weights are loaded: make proto finite, which published code leaves infinite at an end of its range."""
    del module
    key = f"{prefix}_proto_tau_m"
    if key in weights:
        weights[key] = weights[key].clamp(-SATURATED, SATURATED)
