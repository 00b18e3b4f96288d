"""Hebbian learning based orthogonal projection: what earlier tasks need of a layer's weights stays as it is.

Xiao et al., Hebbian learning based orthogonal projection for continual learning of spiking neural networks,
ICLR 2024.
"""

from __future__ import annotations

import numpy as np

from edgekit.learn.arithmetic import Arithmetic, Num
from edgekit.learn.gradient import learn_layers
from edgekit.learn.lateral import Lateral, LateralSettings, orthogonal_rows
from edgekit.learn.oja import novelty
from edgekit.learn.plastic import Plastic
from edgekit.learn.settings import TARGET, TASK, Learning
from edgekit.learn.window import Window


def add_hlop(a: Arithmetic, plastic: Plastic, asked: Learning) -> None:
    """Write the entries: W += rate · δ x̄⊥ᵀ, with δ = t - softmax(ȳ) at the read-out and x̄⊥ as `Lateral` says.

    `learn` takes the target t [C] and gives the mean output ȳ, as it was before, and where drift is to be found the
    novelty of the read-out's input, which is what all lateral neurons leave of it: |x̄ - Hᵀ H x̄|² / |x̄|². `merge` ends
    a task, and gives how many are done.
    """
    draft, window = a.draft, Window(a, asked.window)
    if plastic.stateful:
        window.gather([layer.given for layer in plastic.layers], plastic.output, asked.trace)
    task, laterals = _lateral_neurons(a, plastic, asked)
    draft.open("learn")
    target = a.target(TARGET, plastic.readout.size[0])
    mean = window.mean(plastic.output)
    answer = a.softmax(a.scaled(mean, asked.logits))
    error = a.sub(target, answer, 1.0)
    means = {layer.given: window.mean(layer.given) for layer in plastic.layers}

    freed = {given: lateral.free(means[given]) for given, lateral in laterals.items()}
    found = [_novelty(a, laterals[plastic.readout.given], means[plastic.readout.given])] if asked.detect else []
    learn_layers(
        a, plastic, means, error, rate=asked.rate, freed=lambda layer: freed[layer.given].rest, budget=asked.budget
    )
    for given, lateral in laterals.items():
        lateral.extract(means[given], freed=freed[given])
    window.clear()
    draft.output(mean.name, *(a.told(n) for n in found))
    end_task(a, task)


def end_task(a: Arithmetic, task: Num) -> None:
    """Write the entry `merge`, which counts one more task as done."""
    a.draft.open("merge")
    after = a.add(task, a.number("one", np.ones(())), task.bound)
    a.update(task, after)
    a.draft.output(after.name)


def _novelty(a: Arithmetic, lateral: Lateral, x: Num) -> Num:
    h = lateral.weights
    return novelty(a, x, lateral.rest(h, x, lateral.respond(h, x, lateral.rows("le"))))


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
