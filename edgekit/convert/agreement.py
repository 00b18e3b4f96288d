"""How much a program is like the original: by its decisions, or by its outputs where it decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.compress.search import Judge
from edgekit.convert.inputs import Inputs
from edgekit.ir import SPIKE, Graph
from edgekit.runtime.codec import real_outputs
from edgekit.runtime.session import DECISIONS
from edgekit.verify import output_error

Array = npt.NDArray[Any]

BATCH = 256  # windows that the interpreter runs at once: more fall out of the caches
SHORT = 128  # windows after which a hopeless program is given up
MOST = 4096  # windows that a program is judged by
CONFIDENCE, DEVIATIONS = 0.95, 1.6449  # one-sided, and what that is in standard deviations


def decision_rule(graph: Graph, meta: Mapping[str, Any]) -> str | None:
    """The rule of `meta`; None where nothing is decided.

    Without one, the last output of a stateless program is taken to decide, and of output spikes their number.
    """
    outputs = graph.entries["step"].outputs
    if len(outputs) != 1 or len(graph.tensors[outputs[0]].shape) != 1 or graph.tensors[outputs[0]].shape[0] < 2:
        return None
    declared = meta.get("decision")
    if declared is not None:
        return str(declared)
    return "last" if not graph.states else "sum" if graph.tensors[outputs[0]].dtype is SPIKE else None


def judge_of(exact: Graph, raw: Inputs, rule: str | None) -> Judge:
    """A judge of programs over windows [N, T, *shape] in raw units, which `exact` takes as they are."""
    some = thinned(raw, MOST)
    return Outputs.of(exact, some) if rule is None else Decisions(some, decisions(exact, some, rule), rule)


def thinned(raw: Inputs, most: int) -> Inputs:
    """Every k-th window, so that there are `most` at most."""
    every = -(-len(next(iter(raw.values()))) // most)
    return {name: windows[::every] for name, windows in raw.items()}


def decisions(graph: Graph, raw: Inputs, rule: str) -> npt.NDArray[np.int64]:
    """The class of each window [N, T, *shape] in raw units."""
    count = len(next(iter(raw.values())))
    classes = [
        np.argmax(DECISIONS[rule](real_outputs(graph, {n: a[at : at + BATCH] for n, a in raw.items()})[0]), axis=-1)
        for at in range(0, count, BATCH)
    ]
    return np.concatenate(classes).astype(np.int64)


@dataclass(frozen=True)
class Agreement:
    """How many of so many windows two programs decide alike."""

    equal: int
    windows: int

    @property
    def value(self) -> float:
        return self.equal / self.windows

    @property
    def at_least(self) -> float:
        """What share of all possible windows that stands for, with 95 % confidence: Wilson's lower bound.

        (p + z²/2n - z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n) with z = 1.645.
        """
        p, n, z = self.value, self.windows, DEVIATIONS
        bound = (p + z * z / (2 * n) - z * sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)) / (1 + z * z / n)
        return min(p, max(0.0, bound))

    def reaches(self, least: float) -> bool:
        """Whether that share is large enough; of few windows, which cannot show so much, all have to be equal."""
        return self.equal == self.windows or self.at_least >= least

    def __str__(self) -> str:
        shown = f"{self.equal:,} of {self.windows:,} windows decided as by the original"
        return f"{shown}: with {CONFIDENCE:.0%} confidence at least {100 * self.at_least:.2f} % of others"


@dataclass(frozen=True, eq=False)
class Decisions:
    """Judges programs by the share of windows that they decide as the original does."""

    raw: Inputs
    expected: npt.NDArray[np.int64]
    rule: str

    def score(self, program: Graph, least: float = 0.0, /) -> Agreement:
        """The agreement over all windows, or over the first ones if they already differ too often for `least`."""
        count, equal, done = len(self.expected), 0, 0
        while done < count and (done == 0 or Agreement(equal + count - done, count).reaches(least)):
            stop = min(done + SHORT, count)
            found = decisions(program, {n: a[done:stop] for n, a in self.raw.items()}, self.rule)
            equal, done = equal + int(np.sum(found == self.expected[done:stop])), stop
        return Agreement(equal, done)

    def thinned(self, most: int) -> Decisions:
        every = -(-len(self.expected) // most)
        return Decisions(thinned(self.raw, most), self.expected[::every], self.rule)


@dataclass(frozen=True)
class Likeness:
    """How far outputs are off: the root mean square of the error over the standard deviation, of the worst output."""

    error: float

    @property
    def value(self) -> float:
        return max(0.0, 1 - self.error)

    def reaches(self, least: float) -> bool:
        return self.value >= least

    def __str__(self) -> str:
        return f"outputs differ from the original's by {self.error:.2%} of their standard deviation"


@dataclass(frozen=True, eq=False)
class Outputs:
    """Judges programs that decide nothing by how near their outputs are to the original's."""

    raw: Inputs
    expected: tuple[Array, ...]

    @classmethod
    def of(cls, exact: Graph, raw: Inputs) -> Outputs:
        return cls(raw, tuple(np.asarray(y, np.float64) for y in real_outputs(exact, raw)))

    def score(self, program: Graph, _least: float = 0.0, /) -> Likeness:
        return Likeness(max(map(output_error, self.expected, real_outputs(program, self.raw))))

    def thinned(self, most: int) -> Outputs:
        every = -(-len(self.expected[0]) // most)
        return Outputs(thinned(self.raw, most), tuple(y[::every] for y in self.expected))
