"""Windows for validation where none were given: a part of those for calibration, by subject or in runs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError
from edgekit.search.problem import Array, Windows

SHARE = 5  # one in so many is held out
RUNS = 50  # of neighbouring windows, which may overlap: single ones would be nearly known


def hold_out(windows: Windows, subject: Array | None = None) -> tuple[Windows, Windows, str]:
    """The windows that are left, a fifth that is held out, and in words which: every fifth subject, or run of windows.

    DataError for fewer than 50 windows, and subjects that do not fit.
    """
    count = len(windows)
    if count < RUNS:
        raise DataError("--calib", f"holds {count} windows: too few to hold out a fifth", "give others with --valid")
    if subject is not None and subject.shape != (count,):
        raise DataError("--calib", f"has subjects of shape {subject.shape} for {count} windows", "one for each window")
    names = None if subject is None else np.unique(subject)
    if names is not None and subject is not None and len(names) >= SHARE:
        held = np.isin(subject, names[SHARE - 1 :: SHARE])
        words = f"{len(names[SHARE - 1 :: SHARE])} of {len(names)} subjects"
    else:
        held = np.arange(count) * RUNS // count % SHARE == SHARE - 1
        words = f"every {SHARE}th of {RUNS} runs of windows"
    return _part(windows, ~held), _part(windows, held), words


def _part(windows: Windows, chosen: npt.NDArray[np.bool_]) -> Windows:
    return Windows(windows.x[chosen], None if windows.y is None else windows.y[chosen])
