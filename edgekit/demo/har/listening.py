"""The ELM neuron of the watch with a second look at the same samples, which prototypes listen to.

What a wearer or a gesture is told by is not what the classifier was trained to keep: the neuron ignores what its own
classes do not need. So the step keeps 30 statistics of the window beside it, of normalised samples x [6] and of
q = (|acc|² / 96, |gyr|²) in physical units:

    l_j = low-passes of x with time constants 0.5, 1.5 and 5 steps; B = x - l_1, l_1 - l_2, l_2 - l_3       [18]
    r_j = low-passes of q with time constants 1.5 and 5 steps;      C = q - r_1, r_1 - r_2                   [4]
    v = [mean x, log(mean |B| + 0.02), log(mean q + 0.02), log(mean |C| + 0.02)]                             [30]

The read-out is given [mean m; v] with weights [W_y, 0]: it answers as the classifier does, whose scores are the mean
over the window, and a rule that listens to the read-out sees v.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgekit.demo.har.windows import WINDOW

SLOW = (0.5, 1.5, 5.0)
SLOW_ENERGY = (1.5, 5.0)
ENERGY = 96.0  # (m/s²)², about that of gravity
LEAST = 0.02  # below which a mean magnitude no longer tells anything
STATISTICS = 30


class Listening(nn.Module):
    """One step of an ELM classifier and of the statistics; the last step of a window decides.

    `model` is a trained ELM of six channels whose scores are the mean over the window, its `io` the normalisation.
    """

    offset: Tensor
    scale: Tensor
    keep: Tensor
    keep_energy: Tensor

    def __init__(self, model: Any, window: int = WINDOW) -> None:
        super().__init__()
        self.model, self.window = model, window
        given = model.io["input"]
        self.io = {**model.io, "decision": "last"}
        self.memory = model.config["memory"]
        self.readout = nn.Linear(self.memory + STATISTICS, model.config["outputs"])
        with torch.no_grad():
            self.readout.weight.zero_()
            self.readout.weight[:, : self.memory] = model.w_y.weight
            self.readout.bias.copy_(model.w_y.bias)
        self.register_buffer("offset", torch.tensor(given["offset"]))
        self.register_buffer("scale", torch.tensor(given["scale"]))
        self.register_buffer("keep", _kept(SLOW, 6))
        self.register_buffer("keep_energy", _kept(SLOW_ENERGY, 1))

    def init_state(self, batch: int) -> dict[str, Tensor]:
        """The state of `batch` independent samples after reset, each [batch, ...]."""
        sizes = {"slow": 18, "slow_acc": 2, "slow_gyr": 2, "mean_m": self.memory, "mean_x": 6, "mean_bands": 18}
        sizes |= {"mean_acc": 3, "mean_gyr": 3}
        fresh = {name: self.offset.new_zeros(batch, size) for name, size in sizes.items()}
        return {**self.model.init_state(batch), **fresh}

    def step(self, x: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Normalised samples x [batch, 6], state -> (scores of the window so far [batch, classes], next state).

        Each kind of statistic is a state of its own, and so has a scale of its own in integers.
        """
        _, after = self.model.step(x, state)
        squares = (x / self.scale + self.offset) ** 2
        acc = squares[:, :3].sum(1, keepdim=True) / ENERGY
        gyr = squares[:, 3:].sum(1, keepdim=True)
        after["slow"] = self.keep * state["slow"] + (1 - self.keep) * torch.cat([x] * 3, 1)
        after["mean_x"] = state["mean_x"] + x / self.window
        bands = torch.abs(torch.cat([x, after["slow"][:, :12]], 1) - after["slow"])
        after["mean_bands"] = state["mean_bands"] + bands / self.window
        for name, q in (("acc", acc), ("gyr", gyr)):
            slow = self.keep_energy * state[f"slow_{name}"] + (1 - self.keep_energy) * torch.cat([q] * 2, 1)
            apart = torch.abs(torch.cat([q, slow[:, :1]], 1) - slow)
            after[f"slow_{name}"] = slow
            after[f"mean_{name}"] = state[f"mean_{name}"] + torch.cat([q, apart], 1) / self.window
        after["mean_m"] = state["mean_m"] + after["m"] / self.window
        bands, acc, gyr = (logarithm(after[name] + LEAST) for name in ("mean_bands", "mean_acc", "mean_gyr"))
        v = torch.cat([after["mean_x"], bands, acc[:, :1], gyr[:, :1], acc[:, 1:2], gyr[:, 1:2]], 1)
        v = torch.cat([v, acc[:, 2:], gyr[:, 2:]], 1)
        return self.readout(torch.cat([after["mean_m"], v], 1)), after

    @torch.no_grad()
    def signals(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """What the read-out is given [N, D] and the scores [N, classes] at the end of raw windows [N, T, 6]."""
        given = list[Tensor]()
        hook = self.readout.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
        state, y = self.init_state(len(windows)), windows.new_zeros(0)
        for x in ((windows - self.offset) * self.scale).unbind(1):
            given.clear()
            y, state = self.step(x, state)
        hook.remove()
        return given[0], y


def logarithm(x: Tensor) -> Tensor:
    """log x = log min(x, 1) + log max(x, 1): a table in integers is fine enough only for few powers of ten."""
    return torch.log(torch.clamp(x, max=1.0)) + torch.log(torch.clamp(x, min=1.0))


def _kept(times: Sequence[float], channels: int) -> Tensor:
    """What low-passes keep from step to step, exp(-1 / tau), one after the other for all channels."""
    return torch.exp(-1 / torch.tensor(times)).repeat_interleave(channels)
