"""What the cases run over: made-up inputs of STEPS steps, the same at every call."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

STEPS = 128  # of every stimulus; the subjects go round and round it, states carried
_KEEP = 0.9  # of a step's motion in the next


def noise(width: int) -> Array:
    """White noise of unit variance [STEPS, width]: no input is zero."""
    return np.random.default_rng(0).normal(size=(STEPS, width)).astype(np.float32)


def pixels(width: int) -> Array:
    """Uniform values in [0, 1) [STEPS, width]."""
    return np.random.default_rng(0).random(size=(STEPS, width), dtype=np.float32)


def motion(channels: int, steps: int = STEPS) -> Array:
    """Smooth noise of unit variance [steps, channels], correlated over about ten steps as wrist motion is."""
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=channels)]
    for _ in range(steps - 1):
        rows.append(_KEEP * rows[-1] + (1 - _KEEP**2) ** 0.5 * rng.normal(size=channels))
    return np.asarray(rows, np.float32)


def motion_windows(channels: int, length: int) -> Array:
    """Flattened windows [STEPS, length · channels] of motion, each one step after the one before."""
    windows = np.lib.stride_tricks.sliding_window_view(motion(channels, STEPS + length - 1), length, axis=0)
    return np.ascontiguousarray(windows.swapaxes(1, 2)).reshape(STEPS, length * channels)


def synaptic_spikes(width: int, rate: float) -> Array:
    """Presynaptic spikes as NeuronIO has them [STEPS, width]: +1 in the first half of the inputs, which excite, -1 in
    the second, each with probability `rate`; at rate 1 no input is zero.
    """
    fired = np.random.default_rng(0).random(size=(STEPS, width)) < rate
    return (fired * np.where(np.arange(width) < width // 2, 1, -1)).astype(np.float32)
