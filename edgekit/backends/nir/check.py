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
"""A spike may differ where a membrane is this close to its threshold, relative to the largest membrane of its sample
(at least 1): constants of the graph are float32. Its stream is no longer compared."""
TOLERANCE = 1e-4
"""Of float outputs, relative to the largest of a sample, at least 1."""
SCALES = (1.0, 0.3, 3.0, 10.0)


@dataclass(frozen=True)
class Difference:
    """What noise shows: spikes of the graph and how many the network gives otherwise, in how many of the steps.

    `worst_error` is that of float outputs; `ties` are the streams given up because rounding decides a spike.
    """

    spikes: int
    differing: int
    steps: int
    differing_steps: int
    worst_error: float
    ties: int

    @property
    def share(self) -> float:
        """Share of the steps (of all streams) in which some output spike differs."""
        return self.differing_steps / self.steps if self.steps else 0.0

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return self.differing == 0 and self.worst_error <= TOLERANCE

    def __str__(self) -> str:
        spikes = (
            f"{self.differing:,} of {self.spikes:,} spikes differ, in {100 * self.share:.2f} % of {self.steps:,} steps"
        )
        return f"{spikes}; worst error of other outputs {self.worst_error:.2g}"


def compare(graph: Graph, program: Program, *, exact: bool) -> Difference:
    """Run both over the same noise of several scales; `exact` leaves out streams in which rounding decides a spike."""
    oracle, network = Interpreter(graph, np.float64), Simulation(program, BATCH)  # rounding decides few spikes there
    entry, state = graph.entries["step"], oracle.initial_state(BATCH)
    names = [name for name, node in program.flat.nodes.items() if node.kind == "Input"]
    random = np.random.default_rng(SEED)
    alive = np.ones(BATCH, dtype=bool)
    spikes = differing = steps = differing_steps = 0
    worst = 0.0
    for _ in range(STEPS):
        fed = {n: _noise(random, graph.tensor(n).shape) for n in entry.inputs}
        outputs, state = oracle.execute(fed, state)
        given = network.step(dict(zip(names, fed.values(), strict=True)))
        if exact:
            alive &= network.margin >= MARGIN
        off = np.zeros(BATCH, dtype=bool)
        for (name, mine), theirs in zip(outputs.items(), given.values(), strict=True):
            x, y = (v.reshape(BATCH, -1)[alive].astype(np.float64) for v in (mine, theirs))
            if graph.tensor(name).dtype is SPIKE:
                spikes, differing = spikes + int(x.sum()), differing + int((x != y).sum())
                off[alive] |= (x != y).any(axis=1)
            elif x.size:
                scale = np.maximum(1.0, np.abs(x).max(axis=1, keepdims=True))
                worst = max(worst, float((np.abs(x - y) / scale).max()))
        steps, differing_steps = steps + int(alive.sum()), differing_steps + int(off.sum())
    return Difference(spikes, differing, steps, differing_steps, worst, int((~alive).sum()))


def _noise(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    scales = np.resize(SCALES, BATCH).reshape(-1, *(1,) * len(shape))
    return (scales * random.standard_normal((BATCH, *shape))).astype(np.float32)
