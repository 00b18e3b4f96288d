"""How much the loss would change without each unit, to first order, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor as Values
from torch.nn import functional

from edgekit.compress.gone import Mask
from edgekit.compress.saliency import AROUND, each
from edgekit.compress.shrink import Units
from edgekit.frontends.threads import one_thread
from edgekit.ir import Graph
from edgekit.tune.network import GraphNetwork
from edgekit.tune.windows import Step, Windows

MOST = 4096  # windows that it is measured on
BATCH = 256
MATRICES = {"linear": (1,), "memory_update": (1, 3)}  # inputs of ops that are matrices [out, in]

Share = tuple[str, tuple[npt.NDArray[np.generic], ...]]  # a matrix or gate, and the indices of what hands a unit on


def taylor_scores(step: Step, groups: Sequence[Units], windows: Windows) -> dict[str, npt.NDArray[np.float64]]:
    """Σ (Σ w ∂loss/∂w)² over batches for each unit of each group, by the names of the groups (Molchanov et al., 2019).

    A unit is taken out when all that stays does without it: with the weights w of its columns in rows that stay at 0,
    the loss changes by -Σ w ∂loss/∂w to first order. In a trained model those changes cancel over the batches, whose
    squares say what the unit is good for. What it does to itself, such as the decay of its state, goes with it and does
    not count. The loss is the cross entropy of the labels, over 4,096 windows at most.
    """
    graph, consts = step.graph, step.graph.consts
    shares = {group.name: [tuple(_shares(graph, gone)) for gone in each(graph, group)] for group in groups}
    names = {name for of in shares.values() for unit in of for name, _ in unit}
    network = GraphNetwork(graph, names & consts.keys())
    factors = {name: network.constant(name) for name in sorted(names & consts.keys())}
    for result in sorted(names - consts.keys()):  # sums and maxima have no weights: what they take is gated
        (op,) = (op for op in graph.entries["step"].ops if op.outputs[0] == result)
        factors[result] = torch.ones(graph.tensors[op.inputs[0]].shape, requires_grad=True)
        network.taken[result] = factors[result].mul
    found = {name: np.zeros(len(of)) for name, of in shares.items()}
    with one_thread():
        for parts in _parts(step, network, windows, factors):
            for name, of in shares.items():
                change = [sum(float(parts[n][where].sum()) for n, where in unit) for unit in of]
                found[name] += np.square(change)
    return found


def _parts(
    step: Step, network: GraphNetwork, windows: Windows, factors: Mapping[str, Values]
) -> Iterator[dict[str, npt.NDArray[np.float64]]]:
    """w ∂loss/∂w of every factor, of each batch the share that it has in the mean loss."""
    every = -(-len(windows.y) // MOST)
    x = torch.from_numpy(np.array(windows.x[::every], np.float32))
    y = torch.from_numpy(np.array(windows.y[::every], np.int64))
    for inputs, labels in zip(torch.split(x, BATCH), torch.split(y, BATCH), strict=True):
        out, _ = network(step.normalised(inputs))
        loss = functional.cross_entropy(step.scores(out), labels, reduction="sum") / len(y)
        slopes = torch.autograd.grad(loss, list(factors.values()), materialize_grads=True)
        pairs = zip(factors.items(), slopes, strict=True)
        yield {name: (factor.detach() * slope).double().numpy() for (name, factor), slope in pairs}


def _shares(graph: Graph, gone: Mapping[str, Mask]) -> Iterator[Share]:
    """Through what a unit reaches what stays: the columns of matrices that go, in rows that stay, and gates."""
    ops = graph.entries["step"].ops
    for name in dict.fromkeys(op.inputs[at] for op in ops for at in MATRICES.get(op.kind, ())):
        rows, columns = gone[name].all(axis=1), gone[name].all(axis=0)
        if columns.any() and graph.tensors[name].is_const:
            yield name, np.ix_(~rows, columns)
    for op in ops:
        if op.kind in AROUND:
            (x, *_), (out,), axis = op.inputs, op.outputs, op.attrs["axis"]
            shape = graph.tensors[x].shape
            handed = gone[x] & ~gone[out].reshape(*shape[:axis], 1, *shape[axis + 1 :])
            if handed.any():
                yield out, (handed,)
