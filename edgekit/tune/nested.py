"""Nested widths in training: a network at each of them over one set of parameters, and the loss of all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor as Values
from torch import nn
from torch.nn import functional

from edgekit.compress.nested import Nesting
from edgekit.compress.rules import Tuning
from edgekit.compress.shrink import Kept
from edgekit.ir import Graph
from edgekit.tune.network import Change, GraphNetwork


class _Narrow(GraphNetwork):
    """One width of a network: its constants are cut out of those of the whole one, and so are its changes."""

    def __init__(self, graph: Graph, whole: GraphNetwork, kept: dict[str, Kept]) -> None:
        super().__init__(graph, trained=())
        self._whole = [whole]  # in a list, so that it is no module of this one
        shapes = {name: whole.graph.tensors[name].shape for name in kept}
        self._where = {
            name: tuple(torch.from_numpy(at) for at in np.ix_(*kept[name])) for name in kept if len(shapes[name])
        }

    def constant(self, name: str) -> Values:
        """A constant of the whole width, [*shape], cut to this one."""
        found = self._whole[0].constant(name)
        return found[self._where[name]] if name in self._where else found

    def _changed(self, name: str, value: Values) -> Values:
        change = self._whole[0].values.get(name)
        return value if change is None else self._cut(name, change, value)

    def _cut(self, name: str, change: Change, value: Values) -> Values:
        """A change that is made for the shape of the whole width."""
        if name not in self._where:
            return change(value)
        shape = self._whole[0].graph.tensors[name].shape
        where: tuple[slice | Values, ...] = (slice(None), *self._where[name])
        wide = value.new_zeros(len(value), *shape)
        wide[where] = value
        return change(wide)[where]


def narrow_networks(whole: GraphNetwork, nesting: Nesting) -> list[GraphNetwork]:
    """A network for each width below the full one, ascending, over the parameters of the whole one."""
    graph = whole.graph
    return [
        _Narrow(nesting.narrowed(graph, at), whole, nesting.kept(graph, at)) for at in range(len(nesting.percents) - 1)
    ]


class NestedNetwork(nn.Module):
    """A float step at each of its widths, ascending, over one set of parameters: those of `whole`."""

    def __init__(self, graph: Graph, nesting: Nesting) -> None:
        super().__init__()
        self.whole = GraphNetwork(graph)
        self._widths = [*narrow_networks(self.whole, nesting), self.whole]

    def forward(self, x: Values) -> list[Values]:
        """Windows [N, T, *shape] to the outputs of every step [N, T, *shape], at each width."""
        return [network(x)[0] for network in self._widths]


def narrow_losses(tuning: Tuning, narrow: Sequence[Values], whole: Values, y: Values) -> Values:
    """Of each width below the full one, hard · CE(y) + soft · T² KL(the whole width's scores); their sum.

    `narrow` are the scores of those widths [N, C], `whole` those of the full one, which learns nothing from them. That
    losses are summed is of Kusupati et al. (2022), that the whole width teaches the others of Yu and Huang (2019).
    """
    aim, total = functional.log_softmax(whole.detach() / tuning.temperature, 1), whole.new_zeros(())
    for scores in narrow:
        found = functional.log_softmax(scores / tuning.temperature, 1)
        taught = functional.kl_div(found, aim, reduction="batchmean", log_target=True) * tuning.temperature**2
        total = total + tuning.hard * functional.cross_entropy(scores, y) + tuning.soft * taught
    return total
