"""The delta rule: W += rate · (t - ȳ) x̄ᵀ and b += rate · (t - ȳ) (Widrow and Hoff, 1960)."""

from __future__ import annotations

from edgekit.learn.arithmetic import Arithmetic
from edgekit.learn.gradient import learn_layers
from edgekit.learn.plastic import Plastic
from edgekit.learn.settings import TARGET, Learning
from edgekit.learn.window import Window


def add_delta(a: Arithmetic, plastic: Plastic, asked: Learning) -> None:
    """Write the entries: `learn` takes the target t [C] and gives the mean output ȳ, as it was before."""
    window = Window(a, asked.window)
    if plastic.stateful:
        window.gather([layer.given for layer in plastic.layers], plastic.output, asked.trace)
    a.draft.open("learn")
    target = a.target(TARGET, plastic.readout.size[0])
    mean = window.mean(plastic.output)
    error = a.sub(target, mean, max(1.0, mean.bound))
    means = {layer.given: window.mean(layer.given) for layer in plastic.layers}
    learn_layers(a, plastic, means, error, rate=asked.rate, budget=asked.budget)
    window.clear()
    a.draft.output(mean.name)
