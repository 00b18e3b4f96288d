"""Dense associative memory: patterns are written down as they are, and a damaged one is completed step by step.

Hopfield, Neural networks and physical systems with emergent collective computational abilities, 1982 (power 2);
Krotov and Hopfield, Dense associative memory for pattern recognition, 2016 (higher powers); Demircigil, Heusel, Löwe,
Upgang and Vermet, On a model of associative memory with huge storage capacity, 2017 (exponential).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edgekit.errors import ModelError
from edgekit.models.settings import check_keys, check_number, check_size

State = dict[str, Tensor]
MOST_POWER = 16


class Memory(nn.Module):
    """One step of retrieval, from the state s_{t-1} [N] of -1 and 1, which is 0 after a reset:

    u = x where s_{t-1} is 0, else s_{t-1}: the first step takes the cue x, which counts no more after it
    d = Xi u, the overlap with each of M stored patterns, from -N to N
    f = (d / N)^(power - 1), of positive d alone where power > 2; exp(sharpness (d - max d)) without a power
    s_t = 1 where Xiᵀ f >= 0, else -1, and y = s_t

    This descends the energy -Σ F(d) with F' = f, all neurons at once. `inputs` N is the length of a pattern, `capacity`
    M how many there is room for; the rows of `patterns` Xi [M, N] are patterns of -1 and 1, or zero where none is.
    `power` from 2 on, or None for exponential separation, which then has `sharpness`; a wrong setting is a ModelError.
    On the way, an update is Hebbian: `store` adds the outer product of a pattern and the unit vector of a free row, and
    a program converted with the learning rule `store` does so on the device.
    """

    family = "memory"
    names = ("s",)
    config_keys = ("inputs", "capacity", "power", "sharpness")
    required_keys = ("inputs", "capacity")

    patterns: Tensor

    def __init__(self, *, inputs: int, capacity: int, power: int | None = None, sharpness: float = 1.0) -> None:
        super().__init__()
        check_size("memory inputs", inputs)
        check_size("memory capacity", capacity)
        if power is not None:
            check_size("memory power", power, minimum=2, maximum=MOST_POWER)
        check_number("memory sharpness", sharpness, minimum=1e-3)
        if power is not None and sharpness != 1.0:
            raise ModelError("memory sharpness", f"{sharpness!r} is not used with power {power}", "leave one out")
        self.config: dict[str, Any] = {
            "inputs": inputs,
            "capacity": capacity,
            "power": power,
            "sharpness": sharpness,
        }
        self.io: dict[str, Any] | None = None
        self.register_buffer("patterns", torch.zeros(capacity, inputs))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Memory:
        """The empty memory that `config` describes; a ModelError lists keys that are unknown, or missing."""
        check_keys("memory config", config, cls.config_keys, required=cls.required_keys)
        return cls(**config)

    def check_weights(self) -> None:
        """ModelError for rows that are neither patterns of -1 and 1 nor empty."""
        size = self.patterns.abs()
        full, empty = (size == 1).all(dim=1), (size == 0).all(dim=1)
        if not bool((full | empty).all()):
            raise ModelError("memory patterns", f"{int((~(full | empty)).sum())} rows are not of -1 and 1, or of 0")

    @property
    def stored(self) -> int:
        """How many patterns there are."""
        return int((self.patterns != 0).any(dim=1).sum())

    @torch.no_grad()
    def store(self, patterns: Tensor) -> None:
        """Write patterns [K, N] of -1 and 1 into free rows; ModelError for others, or where there is no room."""
        rows = (patterns if patterns.ndim > 1 else patterns[None]).to(self.patterns)
        if rows.ndim != 2 or rows.shape[1] != self.config["inputs"] or not bool((rows.abs() == 1).all()):
            raise ModelError("pattern", f"of shape {list(patterns.shape)} is not of {self.config['inputs']} -1 and 1")
        free = torch.nonzero((self.patterns == 0).all(dim=1)).flatten()
        if len(rows) > len(free):
            raise ModelError("memory", f"has room for {len(free)} patterns, got {len(rows)}", "give it more capacity")
        slots = torch.nn.functional.one_hot(free[: len(rows)], self.config["capacity"]).to(rows)
        self.patterns += slots.T @ rows

    def init_state(self, batch: int) -> State:
        """Zero s [batch, N]: the next step takes its cue."""
        return {"s": self.patterns.new_zeros(batch, self.config["inputs"])}

    def values(self, x: Tensor, state: Mapping[str, Tensor]) -> State:
        """u [batch, N], d and f [batch, M], s and y [batch, N] of one step."""
        s = state["s"]
        u = torch.where(s == 0, x, s)
        d = nn.functional.linear(u, self.patterns)
        f = self.separated(d)
        s = torch.where(nn.functional.linear(f, self.patterns.T) >= 0, 1.0, -1.0)
        return {"u": u, "d": d, "f": f, "s": s, "y": s}

    def separated(self, d: Tensor) -> Tensor:
        """f of overlaps d [..., M]."""
        power = self.config["power"]
        if power is None:
            return torch.exp(self.config["sharpness"] * (d - d.amax(dim=-1, keepdim=True)))
        h: Tensor = d / self.config["inputs"]
        if power > 2:
            h = torch.relu(h)
        f = h
        for _ in range(power - 2):
            f = f * h
        return f

    def step(self, x: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, State]:
        """x [batch, N], state -> (y [batch, N], next state); pure."""
        values = self.values(x, state)
        return values["y"], {"s": values["s"]}

    def forward(self, x: Tensor) -> Tensor:
        """x [batch, T, N], of which the first step is the cue -> what each step retrieves [batch, T, N]."""
        return self.trace(x)["y"]

    def trace(self, x: Tensor) -> State:
        """Run `step` over x [batch, T, N] from reset: all `values` of every step, each [batch, T, ...]."""
        state, steps = self.init_state(len(x)), []
        for x_t in x.unbind(1):
            state = self.values(x_t, state)
            steps.append(state)
        return {name: torch.stack([values[name] for values in steps], 1) for name in steps[0]}

    def recall(self, cues: Tensor, steps: int = 5) -> Tensor:
        """What cues [batch, N] are completed to after some steps: [batch, N]."""
        return self.forward(cues.unsqueeze(1).expand(-1, steps, -1))[:, -1]

    def decide(self, ys: Tensor) -> Tensor:
        """The row of the pattern that is nearest to the last of ys [batch, T, N], ties to the lowest."""
        return torch.argmax(nn.functional.linear(ys[:, -1], self.patterns), dim=-1)
