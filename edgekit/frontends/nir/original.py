"""A NIR program as an original: its simulation beside the graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.frontends.original import CHUNK, Streams
from edgekit.ir import printable
from edgekit.nir.nodes import SPIKING
from edgekit.nir.program import Program
from edgekit.nir.simulate import Simulation

Array = npt.NDArray[Any]

BATCH = 3
PROBED = 12
LARGEST_INPUT = 1e6


class NirOriginal:
    """The equations of a NIR graph, stepped in numpy."""

    def __init__(self, thing: str, program: Program) -> None:
        self.thing, self.program = thing, program

    @property
    def batch(self) -> int:
        return BATCH

    @property
    def most(self) -> int:
        return CHUNK

    def draw(self, batch: int, random: np.random.Generator) -> list[Array] | None:  # noqa: ARG002  (any number will do)
        return None

    def start(self, batch: int, *, native: bool = False) -> Streams:  # noqa: ARG002  (one form serves both)
        return _Streams(self.program, batch)

    def loud(self) -> list[Array]:
        """An input of one sample that makes neurons fire: noise of the least power of ten that does, else of one."""
        names = _named(self.program, "Input")
        random = np.random.default_rng(7)
        noise = [random.standard_normal((PROBED, *self.program.given[n])) for n in names]
        scale = 1.0
        while scale <= LARGEST_INPUT:
            run, fired = Simulation(self.program), False
            for t in range(PROBED):
                run.step({n: scale * x[t][None] for n, x in zip(names, noise, strict=True)})
                fired |= any(run.values[n].any() for n in run.values if self.program.node(n).kind in SPIKING)
            if fired:
                return [(scale * x[0]).astype(np.float32) for x in noise]
            scale *= 10
        return [x[0].astype(np.float32) for x in noise]


class _Streams:
    def __init__(self, program: Program, batch: int) -> None:
        self._run = Simulation(program, batch)
        self._inputs, self._outputs = _named(program, "Input"), _named(program, "Output")

    def step(self, inputs: Sequence[Array]) -> list[Array]:
        given = self._run.step(dict(zip(self._inputs, inputs, strict=True)))
        return [given[name] for name in self._outputs]

    def states(self) -> Mapping[str, Array]:
        run, p = self._run, self._run.program
        found: dict[str, Array] = {f"{n}.v": v for n, v in run.membrane.items()}
        found.update({f"{n}.i": i for n, i in run.current.items()})
        found.update({f"{n}.line": np.stack(past[::-1], axis=1) for n, past in run.history.items() if past})
        found.update({f"{source}.out": run.values[source] for source in {a for a, _ in p.flat.edges}})
        taken = Counter(printable(name) for name in found)  # where two names print alike, neither is compared
        return {printable(name): value for name, value in found.items() if taken[printable(name)] == 1}


def _named(program: Program, kind: str) -> list[str]:
    return [name for name, node in program.flat.nodes.items() if node.kind == kind]
