"""Lateral neurons that find the subspace of a signal: y = H x, x̂ = Hᵀ y, and H learns the residual (HLOP).

Xiao et al., Hebbian learning based orthogonal projection for continual learning of spiking neural networks,
ICLR 2024.
Rows of H belong to tasks in turn. Those of tasks that are done are old: they stay as they are, and what weights learn
is freed of their subspace, x⊥ = x - H_oldᵀ H_old x. Those of the task at hand are new: they alone learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.errors import UnsupportedError
from edgekit.learn.arithmetic import Arithmetic, Array, Floats, Num

MOST_WEIGHT = 2.0  # of H, whose rows have length one
MOST_CHANGE = 10.0  # of an element of H in one iteration, before its rate


@dataclass(frozen=True)
class LateralSettings:
    """`rows` of H for each task in turn; `momentum` None: none is kept; `steps` of spiking neurons up to `scale`.

    `clip` None leaves the change of H as it is.
    """

    rows: tuple[int, ...]
    rate: float = 0.01
    iterations: int = 5
    momentum: float | None = None
    steps: float | None = None
    scale: float = 20.0
    clip: float | None = None


def orthogonal_rows(rows: Sequence[int], columns: int, seed: int = 0) -> Array:
    """First values of H [Σ rows, columns]: the rows of each task orthonormal among themselves."""
    rng, blocks = np.random.default_rng(seed), []
    for count in rows:
        tall = rng.standard_normal((max(count, columns), min(count, columns)))
        q, r = np.linalg.qr(tall)
        q = q * np.sign(np.diagonal(r))
        blocks.append(q.T if count <= columns else q)
    return np.concatenate(blocks).astype(np.float32)


@dataclass(frozen=True)
class Freed:
    """`y`, what the active rows answer to x, and `rest`, x⊥, what the old ones among them leave of it."""

    y: Num
    rest: Num


class Lateral:
    """The lateral neurons of one presynaptic signal [N], or of B rows of it; made once, used in several entries.

    `task` is a state that counts the tasks that are done. Rows are told by `kind`: those of earlier tasks are old
    (`lt`), those of the task at hand new (`eq`), both together active (`le`).
    """

    def __init__(self, a: Arithmetic, name: str, init: Array, settings: LateralSettings, task: Num) -> None:
        self._a, self.settings, self._task, self.size = a, settings, task, init.shape[1]
        self._blocks = a.number(f"{name}.task_of_row", np.repeat(np.arange(len(settings.rows)), settings.rows))
        self.weights = a.matrix(f"{name}.lateral", init, MOST_WEIGHT)
        self.momentum = None
        if settings.momentum is not None:
            self.momentum = a.matrix(f"{name}.momentum", np.zeros_like(init), MOST_CHANGE)

    def rows(self, kind: str) -> str:
        """A mask over the rows."""
        return self._a.compare(kind, self._blocks, self._task)

    def respond(self, h: Num, x: Num, rows: str) -> Num:
        """y = H x of some rows, zero of the others."""
        s, a = self.settings, self._a
        y = a.product(h, x, x.bound * np.sqrt(self.size))
        if s.steps is not None:
            y = a.stepped(y, s.scale / s.steps, s.scale)
        return a.chosen(rows, y)

    def rest(self, h: Num, x: Num, y: Num) -> Num:
        """x - Hᵀ y."""
        return self._a.sub(x, self._a.back(h, y, 2 * x.bound), 2 * x.bound)

    def free(self, x: Num) -> Freed:
        """x⊥ = x - H_oldᵀ H_old x: what weights may learn from without a change for earlier tasks."""
        y = self.respond(self.weights, x, self.rows("le"))
        return Freed(y, self.rest(self.weights, x, self._a.chosen(self.rows("lt"), y)))

    def extract(self, x: Num, count: int = 1, freed: Freed | None = None) -> Num:
        """New rows learn what the active ones leave of x, of `count` rows at once; returns the last y.

        ΔH = clip(mean of y (x - Hᵀ y)ᵀ) over the new rows, M ← momentum · M + (1 - momentum) · ΔH, H += rate · M.
        `freed`, where x was freed already, spares half of the first iteration.
        """
        a, s, h, m = self._a, self.settings, self.weights, self.momentum
        active, new = self.rows("le"), self.rows("eq")
        y = freed.y if freed is not None else self.respond(h, x, active)
        for turn in range(s.iterations):
            y = y if turn == 0 else self.respond(h, x, active)
            fresh = a.chosen(new, y)
            if turn == 0 and freed is not None:
                rest = a.sub(freed.rest, a.back(h, fresh, 2 * x.bound), 2 * x.bound)
            else:
                rest = self.rest(h, x, y)
            if m is None and s.clip is None:
                h = a.learned(h, fresh, rest, s.rate / count)
                continue
            if not isinstance(a, Floats):
                raise UnsupportedError("momentum and clip", "are for float programs", "leave them out for integers")
            change = a.rows_together(a.scaled(fresh, 1 / count), rest, MOST_CHANGE)
            if s.clip is not None:
                change = a.clipped(change, s.clip)
            if m is not None and s.momentum is not None:
                mixed = a.add(a.scaled(m, s.momentum), a.scaled(change, 1 - s.momentum), MOST_CHANGE)
                learning = a.rows_of(new, self.size)
                m, change = a.either(learning, mixed, m), a.chosen(learning, mixed)
            h = a.add(h, a.scaled(change, s.rate), MOST_WEIGHT)
        a.update(self.weights, h)
        if self.momentum is not None and m is not None:
            a.update(self.momentum, m)
        return y
