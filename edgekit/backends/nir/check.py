"""An exported network beside the graph it comes from: equal spikes, or how many differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.ir import SPIKE, Graph
from edgekit.nir.program import Program
from edgekit.nir.simulate import Simulation
from edgekit.reference import Interpreter

Array = npt.NDArray[Any]

STEPS, BATCH, SEED = 48, 8, 40
MARGIN = 1e-5
"""A stream may differ once a membrane of it came this close to its threshold, relative to the largest membrane of its
sample (at least 1): constants of the graph are float32. From the difference on it is no longer compared."""
MOST_EXCUSED = BATCH // 2
"""Streams that may be given up so: of a network that is another one, all are."""
TOLERANCE = 1e-4
"""Of float outputs, relative to the largest of a sample, at least 1."""
SCALES = (1.0, 0.3, 3.0, 10.0)


@dataclass(frozen=True)
class Difference:
    """What noise shows: spikes of the graph and how many the network gives otherwise, in how many of the steps.

    `worst_error` is that of float outputs; `excused` are the streams given up where rounding may have decided.
    """

    spikes: int
    differing: int
    steps: int
    differing_steps: int
    worst_error: float
    excused: int

    @property
    def share(self) -> float:
        """Share of the steps (of all streams) in which some output spike differs."""
        return self.differing_steps / self.steps if self.steps else 0.0

    @property
    def equal(self) -> bool:
        """Whether nothing differs in the streams that rounding did not decide, and those are enough to tell."""
        return self.differing == 0 and self.worst_error <= TOLERANCE and self.excused <= MOST_EXCUSED

    def __str__(self) -> str:
        spikes = (
            f"{self.differing:,} of {self.spikes:,} spikes differ, in {100 * self.share:.2f} % of {self.steps:,} steps"
        )
        given_up = f"; {self.excused} of {BATCH} streams differ after a tie" if self.excused else ""
        return f"{spikes}; worst error of other outputs {self.worst_error:.2g}{given_up}"


def compare(graph: Graph, program: Program, *, exact: bool) -> Difference:
    """Run both over the same noise of several scales; `exact` gives up streams that differ after a tie."""
    oracle, network = Interpreter(graph, np.float64), Simulation(program, BATCH)  # rounding decides few spikes there
    entry, state = graph.entries["step"], oracle.initial_state(BATCH)
    names = [name for name, node in program.flat.nodes.items() if node.kind == "Input"]
    random = np.random.default_rng(SEED)
    alive, tied = np.ones(BATCH, dtype=bool), np.zeros(BATCH, dtype=bool)
    spikes = differing = steps = differing_steps = 0
    worst = 0.0
    for _ in range(STEPS):
        fed = {n: _noise(random, graph.tensor(n).shape) for n in entry.inputs}
        outputs, state = oracle.execute(fed, state)
        given = network.step(dict(zip(names, fed.values(), strict=True)))
        fired, off, error = np.zeros(BATCH, np.int64), np.zeros(BATCH, np.int64), np.zeros(BATCH)
        for (name, mine), theirs in zip(outputs.items(), given.values(), strict=True):
            x, y = (v.reshape(BATCH, -1).astype(np.float64) for v in (mine, theirs))
            if graph.tensor(name).dtype is SPIKE:
                fired += np.count_nonzero(x, axis=1)
                off += np.count_nonzero(x != y, axis=1)
            else:
                error = np.maximum(error, np.abs(x - y).max(axis=1) / np.maximum(1.0, np.abs(x).max(axis=1)))
        if exact:
            tied |= network.margin < MARGIN
            alive &= ~(tied & ((off > 0) | (error > TOLERANCE)))
        spikes, differing = spikes + int(fired[alive].sum()), differing + int(off[alive].sum())
        steps, differing_steps = steps + int(alive.sum()), differing_steps + int((off[alive] > 0).sum())
        worst = max(worst, float(error[alive].max(initial=0.0)))
    return Difference(spikes, differing, steps, differing_steps, worst, int((~alive).sum()))


def _noise(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    scales = np.resize(SCALES, BATCH).reshape(-1, *(1,) * len(shape))
    return (scales * random.standard_normal((BATCH, *shape))).astype(np.float32)
