"""What the demo stands on: recordings of people or made-up motion, with the models that were trained on their kind."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.demo.har import wisdm
from edgekit.demo.har.data import load_windows
from edgekit.demo.har.windows import Indices, Split, Windows
from edgekit.errors import DataError

REAL, SYNTHETIC = "B", "synthetic"
CALIBRATION = 256  # windows of wearers who trained the model

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Material:
    """The models of a `split`, and its windows with their sides; None where no recordings are here."""

    split: str
    windows: Windows | None
    sides: Split | None
    why_not: str = ""

    @property
    def calibration(self) -> Array | None:
        """Windows [N, T, channels] of training wearers, spread evenly, that integer scales are read off."""
        if self.windows is None or self.sides is None:
            return None
        train = self.sides.train
        return self.windows.x[train[:: max(1, len(train) // CALIBRATION)]]

    def held_out(self, each: int) -> Indices:
        """So many windows of each class, spread evenly over the wearers that no model has seen."""
        if self.windows is None or self.sides is None:
            return np.zeros(0, np.int64)
        test, found = self.sides.test, list[Indices]()
        for label in range(len(self.windows.class_names)):
            mine = test[self.windows.y[test] == label]
            found.append(mine[np.linspace(0, len(mine) - 1, min(each, len(mine))).astype(int)])
        return np.concatenate(found)


def made_up() -> Material:
    """The made-up wearers, and the models that were trained on them."""
    return Material(SYNTHETIC, *load_windows(SYNTHETIC))


def recorded(path: str | os.PathLike[str] | None) -> Material:
    """The smartwatch recordings at `path` (None: where they are looked for), and the models trained on them.

    DataError where they are not there, damaged, or of other activities.
    """
    windows, sides = load_windows(REAL, path)
    if windows.class_names != (known := tuple(wisdm.CLASSES.values())):
        cause = f"holds other activities than the models know: {', '.join(windows.class_names)}"
        raise DataError(str(path or wisdm.default_path()), cause, f"they know {', '.join(known)}")
    return Material(REAL, windows, sides)


def recorded_if_here(path: str | os.PathLike[str] | None) -> Material:
    """The same for a sensor of one's own, which needs no recordings: without a `path` they may be missing."""
    if path is not None:
        return recorded(path)
    try:
        return recorded(None)
    except DataError as error:
        return Material(REAL, None, None, f"no recordings are here ({error.thing}: {error.cause})")
