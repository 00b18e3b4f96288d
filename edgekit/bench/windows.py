"""Real windows for the shipped activity models: those to calibrate on and those that are to be classified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.bench import files
from edgekit.bench.stimuli import Array
from edgekit.runtime.session import DECISIONS

TESTED = 200
CALIBRATED, CALIBRATED_FLAT = 24, 256  # windows; a flattened one is a single step


@dataclass(frozen=True)
class TestWindows:
    """Windows `x` [N, T, features] as the model takes them, their classes `y` [N], how the outputs of a window become
    a class, and what the windows are.
    """

    x: Array
    y: npt.NDArray[np.int64]
    decision: str
    source: str

    def decide(self, outputs: Array) -> npt.NDArray[np.int64]:
        """The classes [N] of step outputs [N, T, classes]; ties go to the lowest."""
        scores = DECISIONS[self.decision](outputs)
        return np.asarray(np.argmax(scores, axis=-1), np.int64)

    def accuracy(self, decided: npt.NDArray[np.int64]) -> float:
        """Share of the windows that are classified right."""
        return float((decided == self.y).mean())


def real_windows(io: Mapping[str, Any]) -> tuple[Array, TestWindows]:
    """Windows of training wearers to calibrate on, and of test wearers of split B, normalised as `io` says; both spread
    evenly. FileNotFoundError or ImportError with the reason where the recordings or the split are not here.
    """
    if not files.WISDM.is_file():
        raise FileNotFoundError(f"there is no {files.WISDM}")
    data: Any = import_module("edgekit.demo.har.data")  # by name: that room is above this one
    windows, split = data.load_windows("B", files.WISDM)
    spec = io["input"]
    flattened = spec["layout"] == "flattened"

    def chosen(side: npt.NDArray[np.int64], count: int) -> tuple[Array, npt.NDArray[np.int64]]:
        rows = side[np.linspace(0, len(side) - 1, min(count, len(side))).astype(int)]
        x = np.asarray((windows.x[rows] - np.asarray(spec["offset"])) * np.asarray(spec["scale"]), np.float32)
        return (x.reshape(len(x), 1, -1) if flattened else x), windows.y[rows]

    calibration, _ = chosen(split.train, CALIBRATED_FLAT if flattened else CALIBRATED)
    x, y = chosen(split.test, TESTED)
    source = f"{len(y)} of {len(split.test):,} test windows of split B ({files.WISDM.name}), spread evenly"
    return calibration, TestWindows(x, y, str(io["decision"]), source)
