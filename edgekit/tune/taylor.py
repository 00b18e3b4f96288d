"""How much the loss would change without each unit, to first order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor as Values
from torch.nn import functional

from edgekit.compress.shrink import Units
from edgekit.errors import UsageError
from edgekit.tune.network import Change, GraphNetwork
from edgekit.tune.windows import Step, Windows

MOST = 4096  # windows that it is measured on
BATCH = 256


def taylor_scores(step: Step, groups: Sequence[Units], windows: Windows) -> dict[str, npt.NDArray[np.float64]]:
    """Σ (∂loss/∂gate)² over batches of windows for each unit of each group, by the names of the groups.

    Each unit is multiplied by a gate that is 1 wherever an op makes a value of it: the derivative by the gate is that
    by the unit, times the unit (Molchanov et al., 2019). The loss is the cross entropy of the labels.
    """
    network = GraphNetwork(step.graph, ())
    gates = {units.name: torch.ones(units.size, requires_grad=True) for units in groups}
    for units in groups:
        value, axis = _made(step, units)
        network.values[value] = _gated(gates[units.name], axis, len(step.graph.tensors[value].shape))
    every = max(1, len(windows.y) // MOST)
    x = torch.from_numpy(np.array(windows.x[::every], np.float32))
    y = torch.from_numpy(np.array(windows.y[::every], np.int64))
    found = {name: np.zeros(gate.numel()) for name, gate in gates.items()}
    for inputs, labels in zip(torch.split(x, BATCH), torch.split(y, BATCH), strict=True):
        out, _ = network(step.normalised(inputs))
        loss = functional.cross_entropy(step.scores(out), labels)
        for name, slope in zip(gates, torch.autograd.grad(loss, list(gates.values())), strict=True):
            found[name] += slope.double().numpy() ** 2
    return found


def _made(step: Step, units: Units) -> tuple[str, int]:
    """A value that an op makes and that has the units along an axis."""
    made = {name for op in step.graph.entries["step"].ops for name in op.outputs}
    for value, axis in sorted(units.joint):
        if value in made and step.graph.tensors[value].shape[axis] == units.size:
            return value, axis
    raise UsageError(f"units {units.name}", "are made by no op: nothing tells what they are good for", "by activity")


def _gated(gate: Values, axis: int, rank: int) -> Change:
    shape = [-1 if at == axis else 1 for at in range(rank)]
    return lambda x: x * gate.reshape(shape)
