"""A layer of lateral neurons by itself: a program that extracts the subspace of what it is given, and projects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.ir.dtypes import FLOAT32
from edgekit.ir.graph import Graph
from edgekit.learn.arithmetic import Array, Floats, Num
from edgekit.learn.draft import Draft
from edgekit.learn.lateral import Lateral, LateralSettings

TASK = "task"


@dataclass(frozen=True, eq=False)
class SubspaceLayer:
    """What the layer is made of: first H [Σ rows, N], and W [M, N] of the layer whose gradient is to be projected."""

    init: Array
    weights: Array
    batch: int
    settings: LateralSettings

    def graph(self, name: str = "subspace") -> Graph:
        """The program, over B rows x [B, N] at a time.

        `step`: the response y = H x and what it explains, Hᵀ y, over the active rows. `learn`: one batch; the new rows
        learn, y of the last iteration is given. `project`: x⊥. `gradient`: from x and the gradient δ [B, M] of W x: W x
        itself, Σ δ x⊥ᵀ, and Wᵀ δ. `merge`: a task is done.
        """
        size, outputs = self.init.shape[1], self.weights.shape[0]
        rows = (self.batch, size)
        draft = Draft(Graph(name, {}, (), {}))
        a = Floats(draft)
        task = a.vector(TASK, np.zeros(()), float(len(self.settings.rows)), "keep")
        lateral = Lateral(a, "layer", self.init, self.settings, task)
        draft.open("step")
        x = Num(draft.input("x", rows))
        y = lateral.respond(lateral.weights, x, lateral.rows("le"))
        draft.output(y.name, a.back(lateral.weights, y, 1.0).name)
        draft.open("learn")
        draft.output(lateral.extract(Num(draft.input("learn.x", rows)), self.batch).name)
        draft.open("project")
        draft.output(lateral.free(Num(draft.input("project.x", rows))).rest.name)
        draft.open("gradient")
        x = Num(draft.input("gradient.x", rows))
        delta = Num(draft.input("gradient.delta", (self.batch, outputs)))
        weights = Num(draft.const("weights", self.weights, FLOAT32))
        whole, back = a.product(weights, x, 1.0), a.back(weights, delta, 1.0)
        draft.output(whole.name, a.rows_together(delta, lateral.free(x).rest, 1.0).name, back.name)
        draft.open("merge")
        merged(a, task)
        return draft.build()


def merged(a: Floats, task: Num) -> None:
    """End a task: its rows become old, and the next ones new."""
    after = a.add(task, a.number("one", np.ones(())), task.bound)
    a.update(task, after)
    a.draft.output(after.name)
