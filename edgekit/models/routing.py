"""Which input each synapse of an ELM neuron reads: the published routings, and a plain repetition of the inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from edgekit.errors import ModelError

ROUTINGS = ("none", "neuronio", "random", "tile")


def route(routing: str, inputs: int, branches: int, synapses: int) -> tuple[Tensor, Tensor]:
    """(index of the input, whether the synapse is connected) of each synapse, branch by branch, [branches * synapses].

    none      synapse j reads input j; both tables are empty
    neuronio  inputs interleaved (first half excitatory, second half inhibitory), then overlapping windows of `synapses`
              neighbours, ceil(inputs / branches) apart; what lies past the last input is not connected
    random    every synapse reads an input drawn uniformly
    tile      synapse j reads input j mod inputs
    """
    count = branches * synapses
    if routing == "none":
        if count != inputs:
            cause = f"{branches} branches of {synapses} synapses are not one synapse for each of {inputs} inputs"
            raise ModelError("elm routing", cause, "name a routing: " + ", ".join(ROUTINGS[1:]))
        return torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.bool)
    connected = torch.ones(count, dtype=torch.bool)
    if routing == "tile":
        return torch.arange(count) % inputs, connected
    if routing == "random":
        return torch.randint(inputs, (count,)), connected
    stride = -(-inputs // branches)
    if stride > synapses:
        cause = f"{branches} branches of {synapses} synapses leave gaps between {inputs} inputs"
        raise ModelError("elm routing", cause, f"give each branch at least {stride} synapses")
    position = (torch.arange(branches)[:, None] * stride + torch.arange(synapses)).flatten()
    interleaved = (torch.arange(inputs) % 2) * (inputs // 2) + torch.arange(inputs) // 2
    return interleaved[position.clamp(max=inputs - 1)], position < inputs
