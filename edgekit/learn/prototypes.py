"""Hebbian class prototypes: a few labelled windows of a class become rows that its later windows lie near.

Nearest class means as in Mensink et al., Distance-based image classification, PAMI 2013; rows move by the Hebbian
running mean of competitive learning (MacQueen 1967; Kohonen 1982).

z [K] is the centred and whitened mean of a signal over the window (see `Basis`). With y the mean output of the model,
which learns nothing itself, D = Σ |z - w| over the elements of a row w, D_known the least over the rows that are known
from the start, of whatever class, and D_c the least over the rows that were learned of class c:

    score_c = y_c + tau · max(0, D_known - gate - D_c)               of the model's classes
    score_c = max y + tau · (D_known + margin - D_c)                 of classes in reserve

The model decides as it did unless a learned row is nearer than all known ones. A class in reserve without rows scores
lower than any other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgekit.errors import UsageError
from edgekit.ir.dtypes import SPIKE
from edgekit.learn.arithmetic import MOST_COUNT, Arithmetic, Num, first_of, moved, rewritten_output
from edgekit.learn.basis import Basis
from edgekit.learn.hlop import end_task
from edgekit.learn.plastic import Plastic
from edgekit.learn.settings import LAST, TARGET, TASK, Learning

MEMORY = 64  # windows after which a row moves by no smaller part, and follows its class
WHOLE = 2.0**15  # a bound that makes the scale of integers one
BITS_LEFT = 1 - 2.0**-10  # of a bound, so that a row is taken out as it is held


def add_prototypes(a: Arithmetic, plastic: Plastic, asked: Learning) -> None:
    """Write the entries: a step gives the scores [classes], those of the window's last step count.

    `learn` takes the class [classes] and gives z: of the rows that the task has for the class the one with fewest
    windows moves, w += (z - w) / n for its n-th window, n = 64 from there on. `merge` ends a task (a wearer): the next
    ones learn rows of their own, and none when all tasks are done. In integers z and w have 16 bits over the reach of
    the basis, and a change below half a unit is lost: a row that has seen n windows no longer notices |z - w| below
    n / 2 units.
    """
    _Prototypes(a, plastic, asked, asked_basis(asked)).write()


def asked_basis(asked: Learning) -> Basis:
    """The basis that was asked for; UsageError where there is none."""
    if asked.basis is None:
        cause = "needs a basis: the space in which windows are near one another is estimated from some"
        raise UsageError(f"learning rule {asked.rule!r}", cause, "--calib windows.npz, with y if they are labelled")
    return asked.basis


def described(asked: Learning, meta: Mapping[str, Any], outputs: int) -> dict[str, Any]:
    """What a model's io section becomes: the last step decides, and classes in reserve have names."""
    changed = dict(meta)
    if meta.get("decision") is not None:
        changed["decision"] = LAST
    if meta.get("classes") is not None and asked.classes is not None:
        changed["classes"] = [*meta["classes"], *(f"new {at + 1}" for at in range(asked.classes - outputs))]
    return changed


class _Prototypes:
    """What the entries share."""

    def __init__(self, a: Arithmetic, plastic: Plastic, asked: Learning, basis: Basis) -> None:
        self.a, self.plastic, self.asked, self.basis = a, plastic, asked, basis
        self.output = plastic.output
        self.layer = plastic.layers[-1]
        known = a.draft.tensor(self.output).size
        self.classes = known if asked.classes is None else asked.classes
        self.known = known
        self.shape = (asked.tasks, asked.rows, self.classes)
        _check(basis, self.layer.size[1], known, self.classes)
        count, self.size = int(np.prod(self.shape)), len(basis.whiten)
        self.far = 2 * self.size * basis.reach
        self.rows = a.matrix("prototypes", np.zeros((count, self.size)), basis.reach)
        self.counts = a.vector("prototypes.windows", np.zeros(count), float(MOST_COUNT), "keep")
        self.signal = a.vector("signal", np.zeros(self.size), basis.reach, "scratch")
        self.task = a.vector(TASK, np.zeros(()), WHOLE, "keep") if asked.tasks > 1 else None

    def write(self) -> None:
        """Write the entries."""
        self._step()
        self._learn()
        if self.task is not None:
            end_task(self.a, self.task)

    # --- a step ---

    def _step(self) -> None:
        a, draft = self.a, self.a.draft
        old = draft.resume("step", forget=(self.layer.given, self.output))
        x, y = (self._mean(state, old.updates[state]) for state in (self.layer.given, self.output))
        z = self._whitened(x)
        a.update(self.signal, z)
        z = a.alike(z, self.signal)
        known = a.number("known", self.basis.rows.reshape(-1, self.size), self.basis.reach)
        nearest = moved(a, "amax", self._nearness(known, z), axis=0, keepdims=True)
        learned = self._nearness(self.rows, z)
        learned = a.either(self._used(), learned, a.lowest(learned))
        by_class = moved(a, "amax", moved(a, "reshape", learned, shape=(self._blocks, self.classes)), axis=0)
        rewritten_output(a, self._scores(y, a.sub(by_class, nearest, self.far)))

    def _scores(self, y: Num, ahead: Num) -> Num:
        """The scores from the model's output and by how much learned rows are nearer than known ones, D_known - D_c."""
        a, draft, asked = self.a, self.a.draft, self.asked
        bound = max(y.bound, asked.tau * self.far)
        of_model = np.arange(self.classes) < self.known
        nearer = a.number("nearer", np.where(of_model, -asked.gate, asked.margin), self.far, fine=True)
        gain = a.add(ahead, a.alike(nearer, ahead), self.far)
        none = a.alike(a.number("none", np.zeros(())), gain)
        own = a.finer(y, bound)
        if self.classes == self.known:
            gain = moved(a, "maximum", gain, none)
            return a.add(own, a.finer(a.scaled(gain, asked.tau), bound), bound)
        model = draft.const("known", of_model, SPIKE)
        gain = a.either(model, moved(a, "maximum", gain, none), gain)
        most = moved(a, "amax", own, axis=0, keepdims=True)
        own = moved(a, "concat", own, moved(a, "expand", most, shape=(self.classes - self.known,)), axis=0)
        score = a.add(own, a.finer(a.scaled(gain, asked.tau), bound), bound)
        used = draft.emit("amax", draft.emit("reshape", self._used(), shape=(self._blocks, self.classes)), axis=0)
        return a.either(draft.emit("logical_or", used, model), score, a.lowest(score))

    def _mean(self, state: str, value: str) -> Num:
        """What a value of the step is: over the window so far, counted as whole, or now if the last step decides."""
        a, asked = self.a, self.asked
        spikes = a.draft.tensor(value).dtype is SPIKE
        now = a.value(value) if spikes else dataclasses.replace(a.value(state), name=value)
        shape = a.draft.tensor(now.name).shape
        if len(shape) != 1:
            now = moved(a, "reshape", now, shape=(a.draft.tensor(now.name).size,))
        if asked.decision == LAST or not self.plastic.stateful:
            return now
        total = a.total(f"{state}.sum", now, asked.window, policy="reset")
        whole = a.add(total, now, total.bound)
        a.update(total, whole)
        return a.scaled(whole, 1 / asked.window)

    def _whitened(self, x: Num) -> Num:
        a, basis = self.a, self.basis
        middle = a.number("center", basis.center, x.bound, fine=True)
        apart = a.weighted(a.sub(x, middle, x.bound + middle.bound), 1 / basis.spread, basis.standard)
        return a.product(a.number("whiten", basis.whiten), apart, basis.reach)

    def _nearness(self, rows: Num, z: Num) -> Num:
        """-Σ |z - w| of rows w: [R]."""
        a, apart = self.a, self.a.distance(rows, z)
        return a.sub(a.alike(a.number("none", np.zeros(())), apart), apart, self.far)

    # --- learning ---

    def _learn(self) -> None:
        a, draft, basis = self.a, self.a.draft, self.basis
        draft.open("learn")
        target = a.target(TARGET, self.classes)
        one = a.number("one", np.ones(()), float(MOST_COUNT))
        mask = self._row_of(a.compare("gt", target, a.number("half", np.asarray(0.5))), one)
        more = moved(a, "minimum", a.add(self.counts, one, self.counts.bound), self._most())
        chosen = a.value(mask)
        old = a.back(self.rows, chosen, basis.reach * BITS_LEFT)
        part = moved(a, "amax", a.chosen(mask, a.part(more, MEMORY)), axis=0, keepdims=True)
        change = a.times(a.sub(self.signal, old, basis.reach), part, basis.reach * BITS_LEFT)
        rows = a.learned(self.rows, chosen, change, 1.0)
        a.update(self.rows, rows)
        a.update(self.counts, a.either(mask, more, self.counts))
        draft.output(self.signal.name)

    def _row_of(self, of_class: str, one: Num) -> str:
        """Which row learns: of those of the task for the class the first of those with fewest windows."""
        a, draft = self.a, self.a.draft
        lone = draft.emit("reshape", of_class, shape=(1, self.classes))
        mask = draft.emit("expand", lone, shape=(self._blocks, self.classes))
        if self.task is not None:
            tasks = np.repeat(np.arange(self.asked.tasks), self.asked.rows)[:, None]
            blocks = a.number("task_of_row", tasks, WHOLE)
            current = draft.emit("expand", a.compare("eq", blocks, self.task), shape=(self._blocks, self.classes))
            mask = draft.emit("logical_and", mask, current)
        mask = draft.emit("reshape", mask, shape=(self._blocks * self.classes,))
        if self.asked.rows == 1:
            return mask
        room = a.chosen(mask, a.add(a.sub(self._most(), self.counts, self.counts.bound), one, self.counts.bound))
        fewest = moved(a, "amax", room, axis=0, keepdims=True)
        mask = draft.emit("logical_and", mask, a.compare("eq", room, fewest))
        first = first_of(a, draft.emit("reshape", mask, shape=self.shape), axis=1)
        return draft.emit("reshape", first, shape=(self._blocks * self.classes,))

    # --- both ---

    @property
    def _blocks(self) -> int:
        """Rows of one class."""
        return self.asked.tasks * self.asked.rows

    def _most(self) -> Num:
        return self.a.number("most", np.asarray(float(MOST_COUNT - 1)), float(MOST_COUNT))

    def _used(self) -> str:
        """Whether rows have seen a window."""
        return self.a.compare("gt", self.counts, self.a.number("none", np.zeros(()), float(MOST_COUNT)))


def _check(basis: Basis, inputs: int, known: int, classes: int) -> None:
    if len(basis.center) != inputs:
        cause = f"is of {len(basis.center)} signals, the layer is given {inputs}"
        raise UsageError("basis of prototypes", cause)
    if basis.rows.shape[1] != known:
        raise UsageError("basis of prototypes", f"has rows for {basis.rows.shape[1]} classes, the model has {known}")
    if classes < known:
        raise UsageError("--classes", f"{classes} are fewer than the {known} of the model")
