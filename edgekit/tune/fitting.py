"""Fine-tuning of a step with its compression in the loop, an epoch at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, isfinite
from typing import Protocol

import numpy as np
import torch
from torch import Tensor as Values
from torch import nn

from edgekit.compress.integer import IntegerProgram
from edgekit.compress.nested import Nesting, nested
from edgekit.compress.pinned import pinned
from edgekit.compress.recipes import Recipe
from edgekit.compress.rules import Tuning
from edgekit.errors import GraphError, UsageError
from edgekit.ir import Graph
from edgekit.ir.widths import at_width
from edgekit.tune.compressing import Masks, Rounding, Thin
from edgekit.tune.distil import Taught, Teacher, common, loss_of
from edgekit.tune.nested import narrow_losses, narrow_networks
from edgekit.tune.network import GraphNetwork
from edgekit.tune.windows import Data, Step

WARM = 0.1  # share of the steps in which the learning rate rises
CLIP = 1.0  # largest norm of a gradient
CHUNK = 512  # windows that a teacher is asked about at once


@dataclass(frozen=True)
class Epoch:
    """What an epoch came to: its number from 1, the mean loss, and per cent of validation windows decided right."""

    number: int
    loss: float
    accuracy: float


class Augment(Protocol):
    """Makes other windows of raw ones."""

    def __call__(self, x: Values, generator: torch.Generator) -> Values:
        """Windows [N, T, *shape] that are as good for the same labels."""


@dataclass(frozen=True)
class Hooks:
    """What a caller adds to a training; `augment_name` tells augmentations apart in checkpoints."""

    on_epoch: Callable[[Epoch], None] = lambda _epoch: None
    augment: Augment | None = None
    augment_name: str = ""
    thin: Thin | None = None  # by which a gradual schedule chooses the weights that go
    nesting: Nesting | None = None  # widths that are trained together, the whole one teaching the others


@dataclass(frozen=True, eq=False)
class Fitted:
    """The step with the constants of the best epoch, rounded as its program has them, and the recipe of that program.

    `best` is the number of that epoch, 0 where none was better than the compression alone.
    """

    graph: Graph
    recipe: Recipe
    masks: Masks
    best: int
    accuracy: float
    history: tuple[Epoch, ...]


def check_tuning(tuning: Tuning, teacher: Teacher | None, hooks: Hooks) -> None:
    """UsageError for parts of a training that would do nothing."""
    if tuning.epochs < 1:
        raise UsageError("tuning", "epochs = 0 trains nothing", "give 1 or more")
    if teacher is None and (tuning.traces or not tuning.hard):
        raise UsageError("tuning", "soft and traces come from a teacher, and there is none", "set hard above 0")
    if tuning.schedule == "gradual" and hooks.thin is None:
        raise UsageError("schedule gradual", "lets densities fall, and no rule asks for one", "one-shot")


def check_teacher(teacher: Teacher | None, step: Step, data: Data) -> None:
    """UsageError for a teacher whose scores are not those of the classes of the step."""
    if teacher is None:
        return
    found = tuple(teacher.teach(torch.from_numpy(np.array(data.train.x[:2], np.float32))).scores.shape)
    if found[1:] != (step.classes,):
        raise UsageError("teacher", f"gives scores {found[1:]}, the model has {step.classes} classes", "take another")


def one_cycle(optimiser: torch.optim.Optimizer, rate: float, steps: int) -> torch.optim.lr_scheduler.OneCycleLR:
    """One cycle of the learning rate over so many steps, up to `rate` in the first tenth of them."""
    share = WARM if WARM * steps != 1 else 1.5 / steps  # torch divides by the steps of the rise less one
    return torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=share)


class Fit:
    """A training of a rounded step on labelled windows: Adam on one cycle of the learning rate.

    Every epoch begins with the scales of the integer program that its constants make, those of weights up to the middle
    of the training alone: then they are settled. It ends with the share of validation windows which the integer program
    itself decides right: the best one counts. On one thread of one kind of processor, the same arguments give the same
    bits, however often the training was interrupted.
    """

    def __init__(
        self, rounding: Rounding, data: Data, tuning: Tuning, teacher: Teacher | None = None, hooks: Hooks | None = None
    ) -> None:
        self.rounding, self.data, self.tuning, self.teacher = rounding, data, tuning, teacher
        self.hooks, self.step = hooks or Hooks(), rounding.step
        check_tuning(tuning, teacher, self.hooks)
        self.step.check("training windows", data.train)
        check_teacher(teacher, self.step, data)
        self.step.check("validation windows", data.valid)
        self.network = GraphNetwork(self.step.graph)
        self.averaged = GraphNetwork(self.step.graph)
        self.narrow = narrow_networks(self.network, self.hooks.nesting) if self.hooks.nesting is not None else []
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=tuning.rate)
        self.schedule = one_cycle(self.optimiser, tuning.rate, max(1, tuning.epochs * self.batches))
        self.generator = torch.Generator().manual_seed(tuning.seed)
        self.history: list[Epoch] = []
        self.settled: Recipe | None = None  # with the scales of weights that no longer change
        self.watched = common(self.step.graph, teacher) if teacher is not None and tuning.traces else ()
        if tuning.traces and not self.watched:
            raise UsageError("traces", "are of values that both have, and teacher and model have none", "leave it at 0")
        self._x = torch.from_numpy(np.array(data.train.x, np.float32))
        self._y = torch.from_numpy(np.array(data.train.y, np.int64))
        self._taught: Values | None = None
        self.best = self._judged(0, self.network.tuned(), self.rounding.recipe)

    @property
    def batches(self) -> int:
        """Batches of an epoch."""
        return ceil(len(self.data.train.y) / self.tuning.batch)

    def run_epoch(self) -> Epoch:
        """Train on every window once, judge the integer program, keep it if it is the best so far.

        UsageError where the loss, or what the integer program would have to hold, is no number any more.
        """
        try:
            return self._epoch()
        except GraphError as error:  # of a scale: there was an integer program before
            raise self._diverged() from error

    def _diverged(self) -> UsageError:
        return UsageError("training", f"diverged in epoch {len(self.history) + 1}", "a lower rate")

    def _epoch(self) -> Epoch:
        self._thin()
        program = self.rounding.apply(self.network, self.settled)
        recipe = pinned(self.rounding.recipe, program)
        if self.settled is None and 2 * len(self.history) >= self.tuning.epochs - 1:
            self.settled = recipe
        loss = self._pass()
        self.averaged.weights, self.averaged.values = self.network.weights, self.network.values
        found = self._judged(len(self.history) + 1, self.averaged.tuned(), recipe)
        if found.accuracy > self.best.accuracy or self.best.best < self._first:
            self.best = found
        self.history.append(Epoch(found.best, loss, found.accuracy))
        return self.history[-1]

    @property
    def _first(self) -> int:
        """The first epoch that may count: with a gradual schedule, the first of the final density."""
        return ceil(self.tuning.epochs / 2) if self.tuning.schedule == "gradual" else 0

    def _thin(self) -> None:
        """Let the densities fall with the epochs of a gradual schedule: share = 1 - (1 - 2 epoch/epochs)³."""
        if self.tuning.schedule != "gradual" or self.hooks.thin is None:
            return
        on_the_way = min(1.0, 2 * (len(self.history) + 1) / self.tuning.epochs)
        self.network.weights, self.network.values = {}, {}
        masks = self.hooks.thin(self.network.tuned(), 1 - (1 - on_the_way) ** 3)
        self.rounding = replace(self.rounding, masks=masks)

    def _judged(self, number: int, graph: Graph, recipe: Recipe) -> Fitted:
        program = self.rounding.program(graph, recipe)
        accuracy = float(np.mean([self.step.accuracy(at, self.data.valid) for at in self._widths(program)]))
        return Fitted(graph, recipe, self.rounding.masks, number, accuracy, ())

    def _widths(self, program: IntegerProgram) -> list[Graph]:
        """The integer program at each of its widths."""
        if self.hooks.nesting is None:
            return [program.graph]
        whole = nested(program.graph, self.hooks.nesting)
        return [at_width(whole, percent) for percent in self.hooks.nesting.percents]

    def _pass(self) -> float:
        total = 0.0
        for chosen in torch.split(torch.randperm(len(self._y), generator=self.generator), self.tuning.batch):
            x, y = self._x[chosen], self._y[chosen]
            if self.hooks.augment is not None:
                x = self.hooks.augment(x, self.generator)
            taught = self._teach(x, chosen)
            given = self.step.normalised(x)
            out, traces = self.network(given, self.watched)
            scores = self.step.scores(out)
            loss = loss_of(self.tuning, self.step.graph, Taught(scores, traces), y, taught)
            narrow = [self.step.scores(network(given)[0]) for network in self.narrow]
            loss = (loss + narrow_losses(self.tuning, narrow, scores, y)) / (1 + len(narrow))
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
            self.optimiser.step()
            self.schedule.step()
            self._average()
            total += loss.item() * len(y)
            if not isfinite(total):
                raise self._diverged()
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.network.parameters()):
            raise self._diverged()
        return total / len(self._y)

    def _average(self) -> None:
        with torch.no_grad():
            for mean, value in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(value, 1 - self.tuning.average)

    def _teach(self, x: Values, chosen: Values) -> Taught | None:
        """What the teacher says of a batch; of windows that never change it is asked once."""
        if self.teacher is None:
            return None
        if self.hooks.augment is not None or self.watched:
            return self.teacher.teach(x, self.watched)
        if self._taught is None:
            self._taught = torch.cat([self.teacher.teach(part).scores for part in torch.split(self._x, CHUNK)])
        return Taught(self._taught[chosen])

    def fitted(self) -> Fitted:
        """The best so far, with the history of all epochs."""
        return replace(self.best, history=tuple(self.history))
