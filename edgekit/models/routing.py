"""Which input each synapse of an ELM neuron reads: the published routings, and a plain repetition of the inputs."""

from __future__ import annotations

import numpy as np
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
    # in numpy: the same sums on torch's meta device, where checkpoints are built, load a compiler for two seconds
    count = branches * synapses
    if routing == "none":
        if count != inputs:
            cause = f"{branches} branches of {synapses} synapses are not one synapse for each of {inputs} inputs"
            raise ModelError("elm routing", cause, "name a routing: " + ", ".join(ROUTINGS[1:]))
        return torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.bool)
    connected = torch.ones(count, dtype=torch.bool)
    if routing == "tile":
        if count < inputs:
            cause = f"{branches} branches of {synapses} synapses leave {inputs - count} of {inputs} inputs unread"
            raise ModelError("elm routing", cause, f"give at least {inputs} synapses in all")
        return torch.as_tensor(np.arange(count) % inputs), connected
    if routing == "random":
        return torch.randint(inputs, (count,)), connected
    stride = -(-inputs // branches)
    if stride > synapses:
        cause = f"{branches} branches of {synapses} synapses leave gaps between {inputs} inputs"
        raise ModelError("elm routing", cause, f"give each branch at least {stride} synapses")
    position = (np.arange(branches)[:, None] * stride + np.arange(synapses)).ravel()
    interleaved = (np.arange(inputs) % 2) * (inputs // 2) + np.arange(inputs) // 2
    return torch.as_tensor(interleaved[position.clip(max=inputs - 1)]), torch.as_tensor(position < inputs)
