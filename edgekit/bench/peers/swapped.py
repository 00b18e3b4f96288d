"""A step with buffers bound once: two sets of states take turns as input and output, so that no state is copied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgekit.bench.cases import Case
from edgekit.bench.peers.step import initial
from edgekit.bench.stimuli import Array
from edgekit.bench.subject import PythonSubject, Subject

Bind = Callable[[Sequence[Array], Sequence[Array]], Any]


def swapped(name: str, detail: str, case: Case, bind: Bind, run: Callable[[Any], object]) -> Subject:
    """`bind` binds the inputs (x, *states) and the outputs (y, *next states), `run` runs what it returned."""
    x, y = np.zeros((1, case.stimulus.shape[1]), np.float32), np.zeros((1, case.expected.shape[1]), np.float32)
    sets = initial(case), initial(case)
    bound = [bind((x, *now), (y, *following)) for now, following in (sets, sets[::-1])]
    turn = 0

    def reset() -> None:
        nonlocal turn
        turn = 0
        for buffer, value in zip(sets[0], initial(case), strict=True):
            buffer[...] = value

    def step(row: Array) -> Array:
        nonlocal turn
        x[...] = row
        run(bound[turn])
        turn ^= 1
        return y

    return PythonSubject(name, detail, case, lambda row: row[None].copy(), reset, step)
