"""What a sensor tells at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
MISSING = float("nan")


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading: `time` in seconds on any clock, None where it was not given, and raw values, one of each channel.

    A value that is NaN, Inf or beyond float32 is missing: it never reaches a program.
    """

    time: float | None
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """One step of the program's clock: when, in seconds, and what goes in, [channels]."""

    time: float
    values: Floats
