"""Training of nested widths in floats: the loss of every width in each batch, the whole width teaching the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edgekit.compress.nested import Nesting
from edgekit.compress.rules import Tuning
from edgekit.errors import UsageError
from edgekit.ir import Graph
from edgekit.tune.fitting import CLIP, one_cycle
from edgekit.tune.nested import NestedNetwork, narrow_losses
from edgekit.tune.windows import Data, Step, Windows

CHUNK = 1024  # windows that are judged at once


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
    schedule = one_cycle(optimiser, tuning.rate, tuning.epochs * batches)
    generator = torch.Generator().manual_seed(tuning.seed)
    best = NestedEpoch(0, 0.0, accuracies(step, network, data.valid))
    graph, history = network.whole.tuned(), list[NestedEpoch]()
    for number in range(1, tuning.epochs + 1):
        total = 0.0
        for chosen in torch.split(torch.randperm(len(y), generator=generator), tuning.batch):
            scores = [step.scores(out) for out in network(step.normalised(x[chosen]))]
            own = functional.cross_entropy(scores[-1], y[chosen])
            loss = (own + narrow_losses(tuning, scores[:-1], scores[-1], y[chosen])) / len(scores)
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
