"""Windows of wrist-worn accelerometer and gyroscope samples, and the sides of a split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CHANNELS = ("acc_x", "acc_y", "acc_z", "gyr_x", "gyr_y", "gyr_z")
UNIT = "m/s^2 (acc), rad/s (gyr)"
RATE_HZ = 20
WINDOW = 40

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """N windows of WINDOW steps and 6 channels in physical units.

    `x` float32 [N, 40, 6] in m/s^2 and rad/s, `y` int64 [N]; windows of one `recording` with consecutive `position` are
    contiguous in time. `source` says where they are from: a figure is only comparable within one source.
    """

    x: NDArray[np.float32]
    y: Indices
    subject: Indices
    recording: Indices
    position: Indices
    class_names: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class Split:
    """Indices of the windows to train on, to choose on, and to report on."""

    train: Indices
    validation: Indices
    test: Indices


def successors(windows: Windows, indices: Indices) -> Indices:
    """For each of `indices`, the window among `indices` that continues it in time, or itself when there is none."""
    at = {(windows.recording[i], windows.position[i]): i for i in indices}
    following = [at.get((windows.recording[i], windows.position[i] + 1), i) for i in indices]
    return np.array(following, dtype=np.int64)
