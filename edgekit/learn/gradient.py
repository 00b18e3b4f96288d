"""How plastic layers change by an error of the output, and how the error finds back to those in front."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edgekit.learn.arithmetic import Arithmetic, Num
from edgekit.learn.plastic import Layer, Plastic


def learn_layers(
    a: Arithmetic,
    plastic: Plastic,
    means: Mapping[str, Num],
    error: Num,
    *,
    rate: float,
    freed: Callable[[Layer], Num] | None = None,
    budget: float | None = None,
) -> None:
    """Let every plastic layer learn from the error of the output: W += rate · δ xᵀ, b += rate · δ.

    δ is the error at the read-out, and gate · Wᵀ δ of the layer behind in others. `means` are the inputs x of the
    layers, by the state that holds them; `freed` says what W learns from instead of x. No weight moves further than
    `budget` from its first value.
    """

    def change(state: Num, value: Num) -> None:
        a.update(state, value if budget is None else a.kept_near(value, state, budget))

    layers = plastic.layers
    deltas: dict[int, Num] = {}
    for at in reversed(range(len(layers))):
        into = layers[at].into
        deltas[at] = error if into < 0 else _behind(a, layers[at], layers[into], means, deltas[into])
    for at, layer in enumerate(layers):
        weights = a.value(layer.weights)
        x = freed(layer) if freed is not None else means[layer.given]
        change(weights, a.learned(weights, deltas[at], x, rate))
        if layer.bias:
            bias = a.value(layer.bias)
            change(bias, a.add(bias, a.scaled(deltas[at], rate), bias.bound))


def _behind(a: Arithmetic, layer: Layer, after: Layer, means: Mapping[str, Num], delta: Num) -> Num:
    """The error in front of a nonlinearity: that of the layer behind it, brought back by its weights."""
    error, out = a.back(a.value(after.weights), delta, 1.0), means[after.given]
    if layer.gate in ("relu", "spike"):  # a neuron that did not fire does not learn
        return a.chosen(a.compare("gt", out, a.number("zero", np.zeros(()))), error)
    if layer.gate == "tanh":  # 1 - y²
        return a.times(error, a.sub(a.number("one", np.ones(())), a.times(out, out, 1.0), 1.0), 1.0)
    if layer.gate == "sigmoid":  # y (1 - y)
        return a.times(error, a.sub(out, a.times(out, out, 1.0), 1.0), 1.0)
    return error
