"""A synthetic wrist IMU: seven made-up activities, for trying edgekit without data.

Nothing here is measured. A figure obtained on these windows says nothing about real activities, and is never to be put
beside one obtained on real data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.demo.har.windows import RATE_HZ, WINDOW, Windows

GRAVITY = 9.81
SOURCE = "synthetic wrist IMU (made up, not measured)"


@dataclass(frozen=True)
class Motion:
    """A periodic motion: its rate, amplitudes per axis in m/s^2 and rad/s, and the share of the second harmonic."""

    rate_hz: float
    acceleration: tuple[float, float, float]
    rotation: tuple[float, float, float]
    second_harmonic: float


MOTIONS = {
    "synthetic_bounce": Motion(1.8, (1.0, 6.0, 2.0), (0.4, 0.3, 1.2), 0.5),
    "synthetic_throw": Motion(0.7, (4.0, 3.0, 4.0), (2.0, 0.8, 1.0), 0.8),
    "synthetic_tap": Motion(4.0, (0.3, 0.4, 1.2), (0.3, 0.2, 0.1), 0.3),
    "synthetic_scribble": Motion(2.6, (0.9, 0.7, 0.2), (0.1, 0.5, 0.5), 0.2),
    "synthetic_clap": Motion(3.0, (7.0, 1.5, 1.0), (0.5, 1.6, 0.4), 0.7),
    "synthetic_scrub": Motion(3.6, (3.0, 3.5, 0.6), (0.8, 0.4, 1.5), 0.1),
    "synthetic_fold": Motion(0.5, (1.5, 2.0, 1.5), (0.9, 1.1, 0.7), 0.4),
}

GESTURE, GESTURE_MOTION = "synthetic_wave", Motion(1.2, (6.0, 1.0, 2.5), (0.3, 2.6, 0.4), 0.6)
"""A motion that no shipped model was trained on: to be taught."""


def generate(seed: int = 0, subjects: int = 20, windows_per_class: int = 40) -> Windows:
    """Deterministic windows of `subjects` made-up wearers, each doing every motion for `windows_per_class` windows.

    Wearers differ in pace, strength, watch orientation and phase between axes; windows differ in noise and drift.
    """
    rng = np.random.default_rng(seed)
    x, y, subject, position = [], [], [], []
    steps = windows_per_class * WINDOW
    for wearer in range(subjects):
        orientation = _rotation(rng, max_angle=0.5)
        for label, motion in enumerate(MOTIONS.values()):
            recording = _record(rng, motion, orientation, steps)
            x.append(recording.reshape(windows_per_class, WINDOW, 6))
            y += [label] * windows_per_class
            subject += [wearer] * windows_per_class
            position += list(range(windows_per_class))
    owners, labels = np.array(subject, dtype=np.int64), np.array(y, dtype=np.int64)
    return Windows(
        x=np.concatenate(x).astype(np.float32),
        y=labels,
        subject=owners,
        recording=owners * len(MOTIONS) + labels,
        position=np.array(position, dtype=np.int64),
        class_names=tuple(MOTIONS),
        source=SOURCE,
    )


def gesture(seed: int, windows: int) -> NDArray[np.float32]:
    """Windows [windows, 40, 6] of one made-up wearer doing GESTURE without a pause."""
    rng = np.random.default_rng(seed)
    recording = _record(rng, GESTURE_MOTION, _rotation(rng, max_angle=0.5), windows * WINDOW)
    return recording.reshape(windows, WINDOW, 6).astype(np.float32)


def _record(
    rng: np.random.Generator, motion: Motion, orientation: NDArray[np.float64], steps: int
) -> NDArray[np.float64]:
    """One wearer's recording [steps, 6] of one motion."""
    pace = motion.rate_hz * rng.uniform(0.8, 1.25)
    strength = rng.uniform(0.6, 1.5)
    wander = np.cumsum(rng.normal(0, 0.12, steps))
    phase = (2 * np.pi * pace * np.arange(steps) / RATE_HZ + wander)[:, None]
    lags = rng.uniform(-0.6, 0.6, 6) + np.array([0, 0.5, 1.0, 0.3, 0.8, 1.3]) * np.pi
    wave = np.sin(phase + lags) + motion.second_harmonic * np.sin(2 * phase + 1.7 * lags)
    signal = strength * wave * np.array(motion.acceleration + motion.rotation)
    signal[:, :3] += np.array([0.0, 0.0, GRAVITY]) @ _rotation(rng, max_angle=0.6)
    signal = np.concatenate([signal[:, :3] @ orientation, signal[:, 3:] @ orientation], axis=1)
    noise: NDArray[np.float64] = rng.normal(0, 1, signal.shape) * np.array([0.6] * 3 + [0.15] * 3)
    return signal + noise


def _rotation(rng: np.random.Generator, max_angle: float) -> NDArray[np.float64]:
    """A rotation matrix about a random axis by up to `max_angle` rad (Rodrigues' formula)."""
    axis = rng.normal(size=3)
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = rng.uniform(-max_angle, max_angle)
    turn: NDArray[np.float64] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return turn
