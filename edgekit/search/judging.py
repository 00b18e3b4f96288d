"""How many points a program loses: of accuracy where windows have labels, else of likeness to the original."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.convert.agreement import Outputs, decisions
from edgekit.convert.inputs import Inputs
from edgekit.ir import Graph

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Verdict:
    """`score` reached and points of `drop` with their standard error, per cent of so many windows."""

    score: float
    drop: float
    error: float
    windows: int


@dataclass(frozen=True, eq=False)
class Jury:
    """Judges programs over windows [N, T, *shape] in raw units; `expected` are the decisions of the original.

    With `labels` the score is the accuracy and the drop what is lost of the original's; the standard error is that of a
    paired difference, √(b + c - (b - c)²/n) / n, where b windows were only decided right by one and c by the other
    (as in McNemar, 1947). Without, the score is the agreement with the original, or of programs that decide nothing
    (`rule` None) 100 less the error of their outputs in per cent of the standard deviation.
    """

    raw: Inputs
    rule: str | None
    expected: Array | None
    labels: Array | None
    outputs: Outputs | None

    @classmethod
    def of(cls, exact: Graph, raw: Inputs, rule: str | None, labels: Array | None) -> Jury:
        """A jury that has seen the original, which takes raw windows as they are."""
        if rule is None:
            return cls(raw, rule, None, None, Outputs.of(exact, raw))
        return cls(raw, rule, decisions(exact, raw, rule), labels, None)

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return len(next(iter(self.raw.values())))

    @property
    def what(self) -> str:
        """What the score is."""
        if self.labels is not None:
            return "accuracy"
        return "agreement with the original" if self.outputs is None else "likeness to the original"

    @property
    def original(self) -> float:
        """The score of the original itself, in per cent."""
        return 100.0 if self.labels is None else 100 * float(np.mean(self.expected == self.labels))

    def verdict(self, program: Graph) -> Verdict:
        """What a program reaches, and loses."""
        if self.outputs is not None or self.rule is None:
            assert self.outputs is not None
            value = 100 * self.outputs.score(program).value
            return Verdict(value, 100 - value, 0.0, self.windows)
        found = decisions(program, self.raw, self.rule)
        target = self.expected if self.labels is None else self.labels
        before, after = self.expected == target, found == target
        n, lost, won = len(found), int(np.sum(before & ~after)), int(np.sum(after & ~before))
        error = sqrt(lost + won - (lost - won) ** 2 / n) / n
        return Verdict(100 * float(np.mean(after)), 100 * (lost - won) / n, 100 * error, n)

    def thinned(self, most: int) -> Jury:
        """The same jury over so many windows at most: every k-th."""
        every = -(-self.windows // most)
        if every == 1:
            return self
        raw = {name: windows[::every] for name, windows in self.raw.items()}
        expected, labels = (None if a is None else a[::every] for a in (self.expected, self.labels))
        outputs = None if self.outputs is None else self.outputs.thinned(most)
        return Jury(raw, self.rule, expected, labels, outputs)
