"""Training on one task, and how well a network does on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgekit.errors import DataError, UsageError
from edgekit.learn.torch.network import SpikingMLP
from edgekit.models.settings import check_number, check_size

Subspaces = tuple[tuple[int, ...], ...]
AT_ONCE = 250
"""Samples that are evaluated at once."""


@dataclass(frozen=True, eq=False)
class Task:
    """Training and test samples x [n, N] (float32) with labels y [n] (int64), seen in the order of features `order`."""

    name: str
    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor
    order: Tensor | None = None

    def __post_init__(self) -> None:
        for side, x, y in (("training", self.x, self.y), ("test", self.test_x, self.test_y)):
            if x.dim() != 2 or y.shape != x.shape[:1] or not len(y):
                shapes = f"{tuple(x.shape)} with labels {tuple(y.shape)}"
                raise DataError(f"task {self.name!r}", f"its {side} samples are {shapes}", "give [n, N] with [n]")

    def seen(self, x: Tensor) -> Tensor:
        """The samples x as this task shows them."""
        return x if self.order is None else x[:, self.order]


@dataclass(frozen=True)
class Schedule:
    """Epochs and batches of each task, the learning rate of plain gradient descent, and the rows of each subspace.

    `subspaces[i]` has the new lateral rows of every layer for task i; none at all is sequential learning without
    protection. `seed` orders the samples and draws the rows. A wrong value is a ModelError.
    """

    epochs: int = 1
    batch: int = 64
    rate: float = 0.1
    subspaces: Subspaces = ()
    seed: int = 0

    def __post_init__(self) -> None:
        check_size("schedule epochs", self.epochs)
        check_size("schedule batch", self.batch)
        check_number("schedule rate", self.rate, minimum=0.0)
        check_size("schedule seed", self.seed, minimum=0, maximum=2**63 - 1)

    def batches(self, samples: int, number: int) -> Iterator[Tensor]:
        """Indices of every batch of task `number` over all its epochs; the last of an epoch may be smaller."""
        for epoch in range(self.epochs):
            order = np.random.default_rng((self.seed, number, epoch)).permutation(samples)
            yield from map(torch.from_numpy, np.split(order, range(self.batch, samples, self.batch)))

    def count(self, samples: int) -> int:
        """How many batches a task with that many training samples has."""
        return self.epochs * -(-samples // self.batch)

    def begin(self, net: SpikingMLP, number: int) -> None:
        """Give the network the new rows of task `number`, if any."""
        if not self.subspaces:
            return
        if number >= len(self.subspaces):
            raise UsageError("subspaces", f"name {len(self.subspaces)} tasks, not task {number}", "give one for each")
        drawn = np.random.default_rng((self.seed, number)).integers(2**63)
        net.begin_task(self.subspaces[number], int(drawn))


def growing_subspaces(
    tasks: int, first: tuple[int, ...] = (80, 200, 100), step: int = 70, every: int = 3, less: int = 20
) -> Subspaces:
    """The published sizes: `first`, then `step` rows a layer, `less` fewer from every `every`-th task on.

    For ten tasks of permuted MNIST: 80/200/100, then 70 70 50 50 50 30 30 30 10.
    """
    sizes = [first]
    for task in range(1, tasks):
        sizes.append((step - less * (task // every),) * len(first))
    return tuple(sizes)


@dataclass(frozen=True, eq=False)
class Descent:
    """The loss and logits [B, C] of a batch before its step, and the gradient of every parameter that trains."""

    loss: float
    logits: Tensor
    gradients: dict[str, Tensor]


def descend(net: SpikingMLP, x: Tensor, labels: Tensor, rate: float) -> Descent:
    """One step of plain gradient descent on a batch x [B, N] with labels [B]: W ← W - rate · grad W."""
    weights = {name: parameter for name, parameter in net.named_parameters() if parameter.requires_grad}
    loss, logits = net.loss(x, labels)
    gradients = torch.autograd.grad(loss, list(weights.values()))
    with torch.no_grad():
        for weight, gradient in zip(weights.values(), gradients, strict=True):
            weight.add_(gradient, alpha=-rate)
    return Descent(float(loss.detach()), logits, dict(zip(weights, gradients, strict=True)))


def train_task(
    net: SpikingMLP,
    task: Task,
    schedule: Schedule,
    number: int = 0,
    *,
    done: int = 0,
    after: Callable[[int, float], None] | None = None,
) -> None:
    """Train on a task's batches but for the first `done`, which lie behind; `after` hears (batches done, loss).

    The network's lateral rows for this task must be there already; see `Schedule.begin`.
    """
    if task.x.shape[1] != net.sizes[0]:
        raise DataError(f"task {task.name!r}", f"has {task.x.shape[1]} features, the network takes {net.sizes[0]}")
    for at, indices in enumerate(schedule.batches(len(task.x), number)):
        if at < done:
            continue
        step = descend(net, task.seen(task.x[indices]), task.y[indices], schedule.rate)
        if after is not None:
            after(at + 1, step.loss)


@torch.no_grad()
def evaluate(net: SpikingMLP, task: Task) -> float:
    """The share of a task's test samples (0 … 1) that the network decides rightly."""
    right = 0
    for at in range(0, len(task.test_y), AT_ONCE):
        x, y = task.test_x[at : at + AT_ONCE], task.test_y[at : at + AT_ONCE]
        right += int((net(task.seen(x)).argmax(1) == y).sum())
    return right / len(task.test_y)
