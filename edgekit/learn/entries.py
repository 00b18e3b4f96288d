"""The entries of a program that learns: `gather` after a step, `learn` after a window, `merge` after a task."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekit.ir.graph import Graph
from edgekit.learn.arithmetic import Arithmetic, Num
from edgekit.learn.draft import Draft
from edgekit.learn.lateral import Lateral, LateralSettings, orthogonal_rows
from edgekit.learn.plastic import Layer, Plastic
from edgekit.learn.settings import Learning

TARGET, TASK = "target", "task"


def add_learning(plastic: Plastic, arithmetic: Callable[[Draft], Arithmetic], asked: Learning) -> Graph:
    """The graph with entries that learn by a rule.

    With x̄ the mean presynaptic trace of a layer over the window, ȳ the mean output, t the target:
    delta: δ = t - ȳ, W += rate · δ x̄ᵀ, b += rate · δ (Widrow and Hoff, 1960).
    hlop: δ = t - softmax(ȳ), in hidden layers δ = gate · Wᵀ δ of the layer behind; W += rate · δ x̄⊥ᵀ, see `lateral`.
    `learn` takes t [C] and gives ȳ, as it was before the weights changed.
    """
    draft = Draft(plastic.graph)
    _Entries(arithmetic(draft), plastic, asked).write()
    return draft.build()


class _Entries:
    """What the entries share: the sums over a window by the state that holds the last value, and lateral neurons."""

    def __init__(self, a: Arithmetic, plastic: Plastic, asked: Learning) -> None:
        self.a, self.plastic, self.asked = a, plastic, asked
        self.sums: dict[str, Num] = {}
        self.laterals: dict[str, Lateral] = {}

    def write(self) -> None:
        """Write the entries."""
        a, draft = self.a, self.a.draft
        if self.plastic.stateful:
            self._gather()
        task = self._lateral_neurons() if self.asked.projects else None
        draft.open("learn")
        target = a.target(TARGET, self.plastic.readout.size[0])
        mean = self._mean(self.plastic.output)
        answer = a.softmax(a.scaled(mean, self.asked.gain)) if self.asked.projects else mean
        self._change(a.sub(target, answer, max(1.0, mean.bound)))
        for held in self.sums.values():
            a.clear(held)
        draft.output(mean.name)
        if task is not None:
            draft.open("merge")
            after = a.add(task, a.number("one", np.ones(())), task.bound)
            a.update(task, after)
            draft.output(after.name)

    def _gather(self) -> None:
        """Add what the last step left to the sums over the window."""
        a, draft, asked = self.a, self.a.draft, self.asked
        names = dict.fromkeys([*(layer.given for layer in self.plastic.layers), self.plastic.output])
        draft.open("gather")
        for name in names:
            value = a.value(name)
            if asked.trace and name != self.plastic.output:
                trace = a.trace(f"{name}.trace", value, value.bound / (1 - asked.trace))
                value = a.add(a.scaled(trace, asked.trace), value, trace.bound)
                a.update(trace, value)
            self.sums[name] = total = a.total(f"{name}.sum", value, asked.window)
            a.update(total, a.add(total, value, total.bound))
        draft.output(self.plastic.output)

    def _lateral_neurons(self) -> Num:
        """Lateral neurons for each presynaptic signal; returns the state that counts the tasks that are done."""
        a, asked = self.a, self.asked
        settings = LateralSettings(
            asked.subspace, asked.subspace_rate, asked.iterations, asked.momentum, asked.lateral_steps
        )
        task = a.vector(TASK, np.zeros(()), float(len(asked.subspace)), "keep")
        for layer in self.plastic.layers:
            if layer.given not in self.laterals:
                init = orthogonal_rows(asked.subspace, layer.size[1], seed=len(self.laterals))
                self.laterals[layer.given] = Lateral(a, layer.name, init, settings, task)
        return task

    def _mean(self, name: str) -> Num:
        """What a state held on average over the window, or holds."""
        if name in self.sums:
            return self.a.scaled(self.sums[name], 1 / self.asked.window)
        return self.a.value(name)

    def _change(self, error: Num) -> None:
        """Let every plastic layer learn, given the error of the output."""
        a, layers = self.a, self.plastic.layers
        means = {layer.given: self._mean(layer.given) for layer in layers}
        deltas: dict[int, Num] = {}
        for at in reversed(range(len(layers))):
            into = layers[at].into
            deltas[at] = error if into < 0 else self._behind(layers[at], means, deltas[into])
        for at, layer in enumerate(layers):
            x, weights = means[layer.given], a.value(layer.weights)
            free = self.laterals[layer.given].orthogonal(x) if self.laterals else x
            a.update(weights, a.learned(weights, deltas[at], free, self.asked.rate))
            if layer.bias:
                bias = a.value(layer.bias)
                a.update(bias, a.add(bias, a.scaled(deltas[at], self.asked.rate), bias.bound))
        for given, lateral in self.laterals.items():
            lateral.extract(means[given])

    def _behind(self, layer: Layer, means: dict[str, Num], delta: Num) -> Num:
        """The error in front of a nonlinearity: that of the layer behind it, brought back by its weights."""
        a, after = self.a, self.plastic.layers[layer.into]
        error, out = a.back(a.value(after.weights), delta, 1.0), means[after.given]
        if layer.gate in ("relu", "spike"):  # a neuron that did not fire does not learn
            return a.chosen(a.compare("gt", out, a.number("zero", np.zeros(()))), error)
        if layer.gate == "tanh":  # 1 - y²
            return a.times(error, a.sub(a.number("one", np.ones(())), a.times(out, out, 1.0), 1.0), 1.0)
        if layer.gate == "sigmoid":  # y (1 - y)
            return a.times(error, a.sub(out, a.times(out, out, 1.0), 1.0), 1.0)
        return error
