"""Hebbian learning based orthogonal projection: what earlier tasks need of a layer's weights stays as it is.

Xiao et al., Hebbian learning based orthogonal projection for continual learning of spiking neural networks,
ICLR 2024.
"""

from __future__ import annotations

import numpy as np

from edgekit.learn.arithmetic import Arithmetic, Num
from edgekit.learn.gradient import learn_layers
from edgekit.learn.lateral import Lateral, LateralSettings, orthogonal_rows
from edgekit.learn.plastic import Layer, Plastic
from edgekit.learn.settings import TARGET, TASK, Learning
from edgekit.learn.window import Window


def add_hlop(a: Arithmetic, plastic: Plastic, asked: Learning) -> None:
    """Write the entries: W += rate · δ x̄⊥ᵀ, with δ = t - softmax(ȳ) at the read-out and x̄⊥ as `Lateral` says.

    `learn` takes the target t [C] and gives the mean output ȳ, as it was before; `merge` ends a task, and gives how
    many are done.
    """
    draft, window = a.draft, Window(a, asked.window)
    if plastic.stateful:
        window.gather([layer.given for layer in plastic.layers], plastic.output, asked.trace)
    task, laterals = _lateral_neurons(a, plastic, asked)
    draft.open("learn")
    target = a.target(TARGET, plastic.readout.size[0])
    mean = window.mean(plastic.output)
    answer = a.softmax(a.scaled(mean, asked.gain))
    error = a.sub(target, answer, max(1.0, mean.bound))
    means = {layer.given: window.mean(layer.given) for layer in plastic.layers}

    def freed(layer: Layer) -> Num:
        return laterals[layer.given].orthogonal(means[layer.given])

    learn_layers(a, plastic, means, error, rate=asked.rate, freed=freed)
    for given, lateral in laterals.items():
        lateral.extract(means[given])
    window.clear()
    draft.output(mean.name)
    end_task(a, task)


def end_task(a: Arithmetic, task: Num) -> None:
    """Write the entry `merge`, which counts one more task as done."""
    a.draft.open("merge")
    after = a.add(task, a.number("one", np.ones(())), task.bound)
    a.update(task, after)
    a.draft.output(after.name)


def _lateral_neurons(a: Arithmetic, plastic: Plastic, asked: Learning) -> tuple[Num, dict[str, Lateral]]:
    """The state that counts the tasks that are done, and lateral neurons for each presynaptic signal."""
    settings = LateralSettings(
        asked.subspace, asked.subspace_rate, asked.iterations, asked.momentum, asked.lateral_steps
    )
    task = a.vector(TASK, np.zeros(()), float(len(asked.subspace)), "keep")
    laterals: dict[str, Lateral] = {}
    for layer in plastic.layers:
        if layer.given not in laterals:
            init = orthogonal_rows(asked.subspace, layer.size[1], seed=len(laterals))
            laterals[layer.given] = Lateral(a, layer.name, init, settings, task)
    return task, laterals
