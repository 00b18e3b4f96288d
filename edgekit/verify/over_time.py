"""How far a program is from its original at each step of a window, so that growing errors show."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError
from edgekit.runtime import Session
from edgekit.verify.compare import SAME, Original, program_of

Array = npt.NDArray[Any]
DERIVED = "derived"


@dataclass(frozen=True)
class ErrorOverTime:
    """At each step the largest absolute difference of all outputs and windows, and the root of its mean square.

    A program without states has one step, of all inputs.
    """

    steps: tuple[int, ...]
    max_abs: tuple[float, ...]
    rms: tuple[float, ...]
    windows: int
    against: str
    grade: str = DERIVED

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def error_over_time(session: Session, original: Original, x: Array, against: str) -> ErrorOverTime:
    """Run windows x [N, T, *shape] in raw units through both.

    DataError when there is nothing to compare, or the original is not what the program was made from.
    """
    program_of(session, original)
    ours = next(iter(session.facts.inputs.values()))
    axes = (2,) if session.stateful else (1, 2)
    if x.ndim - len(ours) not in axes or x.shape[x.ndim - len(ours) :] != ours:
        one = ", ".join(map(str, ours))
        raise DataError("data", f"has shape {x.shape}", f"the program takes [T, {one}] or [N, T, {one}]")
    if not np.isfinite(x).all():
        raise DataError("data", "holds NaN or Inf")
    expected, got = np.asarray(original.run(x)), np.asarray(session.run(x))
    if expected.shape != got.shape or not expected.size:
        raise DataError("reference", f"gives outputs {expected.shape}, the program {got.shape}", SAME)
    if not session.stateful:
        expected, got = expected[:, None], got[:, None]
    with np.errstate(invalid="ignore"):  # Inf - Inf
        error = np.abs(got.astype(np.float64) - expected)
    by_step = np.moveaxis(error, 1, 0).reshape(error.shape[1], -1)
    largest, square = by_step.max(axis=1), np.sqrt((by_step**2).mean(axis=1))
    return ErrorOverTime(
        tuple(range(len(by_step))), tuple(map(float, largest)), tuple(map(float, square)), len(expected), against
    )
