"""The Legendre memory unit (LMU): a linear memory of the last theta steps, read by a nonlinear hidden state.

Equations of Voelker, Kajic and Eliasmith (2019); parameter names as in the PyTorch versions in circulation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from edgekit.models.legendre import DISCRETISATIONS, LegendreUnit
from edgekit.models.recurrent import State
from edgekit.models.settings import check_choice, check_dropout, check_number, check_size

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "identity": lambda value: value,
}


class LMU(LegendreUnit):
    """One step, from memory m_{t-1} [M, d] and hidden state h_{t-1} [H]:

    u = e_x x + e_h h_{t-1} + e_m m_{t-1}                [M]
    m_t = A m_{t-1} + B u, channel by channel             [M, d]
    h_t = f(W_x x + W_h h_{t-1} + W_m m_t + b)            [H]
    y = W_o h_t + b_o, or h_t where `outputs` is 0        [C]

    `theta` is the memory's window in steps, `discretisation` zoh or euler; they only make the initial A and B, and
    theta None leaves these zero for a checkpoint to fill. f is tanh, relu or identity; b exists with `bias`. A window
    decides by its `last` or `mean` y. `dropout` drops hidden values on their way to y, in training only. A wrong
    setting is a ModelError.
    """

    family = "lmu"
    config_keys = (
        *("inputs", "hidden", "memory", "order", "theta", "outputs", "discretisation", "activation", "bias"),
        *("readout", "dropout"),
    )
    required_keys = ("inputs", "hidden", "memory", "order")

    def __init__(
        self,
        *,
        inputs: int,
        hidden: int,
        memory: int,
        order: int,
        theta: float | None = None,
        outputs: int = 0,
        discretisation: str = "zoh",
        activation: str = "tanh",
        bias: bool = False,
        readout: str = "last",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for key, size in {"inputs": inputs, "hidden": hidden, "memory": memory, "order": order}.items():
            check_size(f"lmu {key}", size)
        check_size("lmu outputs", outputs, minimum=0)
        check_choice("lmu discretisation", discretisation, DISCRETISATIONS)
        check_choice("lmu activation", activation, ACTIVATIONS)
        check_choice("lmu bias", bias, (True, False))
        check_choice("lmu readout", readout, self.readouts)
        check_dropout("lmu dropout", dropout)
        if theta is not None:
            check_number("lmu theta", theta, minimum=1e-3)
        self.config = {
            "inputs": inputs,
            "hidden": hidden,
            "memory": memory,
            "order": order,
            "theta": theta,
            "outputs": outputs,
            "discretisation": discretisation,
            "activation": activation,
            "bias": bias,
            "readout": readout,
            "dropout": dropout,
        }
        self.io = None
        self.names = ("m", "h")
        self._connect(inputs, hidden, memory, order, bias=bias)
        self.output_transformation = nn.Linear(hidden, outputs) if outputs else None
        self.dropout = nn.Dropout(dropout)
        self._initialise(theta, discretisation)

    def init_state(self, batch: int) -> State:
        """Zero m [batch, M, d] and h [batch, H]."""
        shapes = {"m": (self.config["memory"], self.config["order"]), "h": (self.config["hidden"],)}
        return {name: self.e_x.weight.new_zeros(batch, *shape) for name, shape in shapes.items()}

    def values(self, x: Tensor, state: Mapping[str, Tensor]) -> State:
        """u [batch, M], m [batch, M, d], h [batch, H] and y of one step."""
        values = self._recur(self.e_x(x), self.W_x(x), state)
        return {**values, "y": self._read(values["h"])}

    def forward(self, x: Tensor) -> Tensor:
        """x [batch, T, inputs] -> step outputs [batch, T, C or H] from reset.

        What has no feedback (e_x x, W_x x, W_o h) runs over all steps at once, so its last bit may differ from that of
        `step`.
        """
        state, hidden = self.init_state(len(x)), []
        for drive_u, drive_h in zip(self.e_x(x).unbind(1), self.W_x(x).unbind(1), strict=True):
            state = self._recur(drive_u, drive_h, state)
            hidden.append(state["h"])
        return self._read(torch.stack(hidden, 1))

    def _recur(self, drive_u: Tensor, drive_h: Tensor, state: Mapping[str, Tensor]) -> State:
        """One step from e_x x [batch, M] and W_x x + b [batch, H]."""
        memory, hidden = state["m"], state["h"]
        u = drive_u + self.e_h(hidden) + self.e_m(memory.flatten(1))
        m = self.A(memory) + self.B(u.unsqueeze(-1))
        h = ACTIVATIONS[self.config["activation"]](drive_h + self.W_h(hidden) + self.W_m(m.flatten(1)))
        return {"u": u, "m": m, "h": h}

    def _read(self, hidden: Tensor) -> Tensor:
        """y of hidden states [..., H]; these themselves where there is no read-out."""
        if self.output_transformation is None:
            return hidden
        y: Tensor = self.output_transformation(self.dropout(hidden))
        return y
