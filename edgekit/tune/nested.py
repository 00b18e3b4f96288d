"""Training of nested widths: the loss of every width in each batch, the whole width teaching the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from torch import Tensor as Values
from torch import nn
from torch.nn import functional

from edgekit.compress.nested import Nesting
from edgekit.compress.rules import Tuning
from edgekit.compress.shrink import Kept
from edgekit.errors import UsageError
from edgekit.ir import Graph
from edgekit.tune.fitting import CLIP, WARM
from edgekit.tune.network import Change, GraphNetwork
from edgekit.tune.windows import Data, Step, Windows

CHUNK = 1024  # windows that are judged at once


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


class NestedNetwork(nn.Module):
    """A float step at each of its widths, ascending, over one set of parameters: those of `whole`."""

    def __init__(self, graph: Graph, nesting: Nesting) -> None:
        super().__init__()
        self.whole = GraphNetwork(graph)
        last = len(nesting.percents) - 1
        narrow = [_Narrow(nesting.narrowed(graph, at), self.whole, nesting.kept(graph, at)) for at in range(last)]
        self._widths: list[GraphNetwork] = [*narrow, self.whole]

    def at(self, number: int) -> GraphNetwork:
        """The network of the width numbered `number`."""
        return self._widths[number]

    def forward(self, x: Values) -> list[Values]:
        """Windows [N, T, *shape] to the outputs of every step [N, T, *shape], at each width."""
        return [network(x)[0] for network in self._widths]


@dataclass(frozen=True)
class NestedEpoch:
    """What an epoch came to: its number from 1, the mean loss, and the per cent decided right at each width."""

    number: int
    loss: float
    accuracies: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class NestedFit:
    """The step with the constants of the best epoch (0: those it began with), and the history of all."""

    graph: Graph
    best: NestedEpoch
    history: tuple[NestedEpoch, ...]


def nested_loss(tuning: Tuning, scores: Sequence[Values], y: Values) -> Values:
    """The mean over widths of hard · CE(y) + soft · T² KL(the whole width's scores), of the whole width CE alone.

    `scores` are those of each width [N, C], ascending. The sum of losses is that of Kusupati et al. (2022), that the
    whole width teaches the others that of Yu and Huang (2019).
    """
    whole, soft = scores[-1], tuning.soft
    total = functional.cross_entropy(whole, y)
    aim = functional.log_softmax(whole.detach() / tuning.temperature, 1)
    for narrow in scores[:-1]:
        found = functional.log_softmax(narrow / tuning.temperature, 1)
        taught = functional.kl_div(found, aim, reduction="batchmean", log_target=True) * tuning.temperature**2
        total = total + tuning.hard * functional.cross_entropy(narrow, y) + soft * taught
    return total / len(scores)


def fit_nested(
    step: Step,
    nesting: Nesting,
    data: Data,
    tuning: Tuning,
    on_epoch: Callable[[NestedEpoch], None] = lambda _epoch: None,
) -> NestedFit:
    """Train a float step so that each of its widths decides by itself.

    Adam on one cycle of the learning rate; that epoch counts whose widths decide most validation windows right in the
    mean. The same arguments give the same bits on one thread of one kind of processor. UsageError for a tuning that
    trains nothing, or that asks for what only a single width has; DataError for windows that do not fit.
    """
    _check(tuning)
    step.check("training windows", data.train)
    step.check("validation windows", data.valid)
    network = NestedNetwork(step.graph, nesting)
    x, y = torch.from_numpy(np.array(data.train.x, np.float32)), torch.from_numpy(np.array(data.train.y, np.int64))
    batches = ceil(len(y) / tuning.batch)
    optimiser = torch.optim.Adam(network.whole.parameters(), lr=tuning.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, tuning.rate, total_steps=tuning.epochs * batches, pct_start=WARM
    )
    generator = torch.Generator().manual_seed(tuning.seed)
    best = NestedEpoch(0, 0.0, accuracies(step, network, data.valid))
    graph, history = network.whole.tuned(), list[NestedEpoch]()
    for number in range(1, tuning.epochs + 1):
        total = 0.0
        for chosen in torch.split(torch.randperm(len(y), generator=generator), tuning.batch):
            scores = [step.scores(out) for out in network(step.normalised(x[chosen]))]
            loss = nested_loss(tuning, scores, y[chosen])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.whole.parameters(), CLIP)
            optimiser.step()
            schedule.step()
            total += loss.item() * len(chosen)
        epoch = NestedEpoch(number, total / len(y), accuracies(step, network, data.valid))
        history.append(epoch)
        if sum(epoch.accuracies) > sum(best.accuracies):
            best, graph = epoch, network.whole.tuned()
        on_epoch(epoch)
    return NestedFit(graph, best, tuple(history))


def accuracies(step: Step, network: NestedNetwork, windows: Windows) -> tuple[float, ...]:
    """The per cent of windows decided right at each width, ascending."""
    x, right = torch.from_numpy(np.array(windows.x, np.float32)), list[list[np.ndarray]]()
    with torch.no_grad():
        for part in torch.split(x, CHUNK):
            outs = network(step.normalised(part))
            right.append([step.scores(out).argmax(1).numpy() for out in outs])
    return tuple(float(100 * np.mean(np.concatenate(found) == windows.y)) for found in zip(*right, strict=True))


def _check(tuning: Tuning) -> None:
    if tuning.epochs < 1:
        raise UsageError("tuning", "epochs = 0 trains nothing", "give 1 or more")
    if tuning.traces or tuning.average or tuning.schedule != "one-shot":
        raise UsageError("tuning", "traces, average and gradual are not for nested widths", "leave them out")
