"""Calibration: what is observed over all windows, by every method, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.compress import calibrate as module
from edgekit.compress.calibrate import METHODS, calibrate
from edgekit.errors import DataError, UsageError
from edgekit.ir import Graph, GraphBuilder


def leaky(features: int = 3) -> Graph:
    """s' = s / 2 + x, and whether s' exceeds 1."""
    b = GraphBuilder("leaky", dt=None)
    x = b.input("x", (features,))
    b.state("s", np.zeros(features))
    sum_ = b.op("add", b.op("mul", "s", b.const("half", np.float32(0.5)), out="decayed"), x, out="sum")
    spike = b.op("gt", sum_, b.const("one", np.float32(1)), out="spike")
    y = b.op("linear", spike, b.const("w", np.ones((2, features))), out="y")
    b.update("s", sum_)
    b.output(y)
    return b.build()


def noise(count: int, steps: int = 5, features: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, steps, features)).astype(np.float32)


def test_ranges_are_those_of_every_window_and_step() -> None:
    x = noise(module.BATCH + 7)
    state, seen = np.zeros((len(x), 3), np.float32), []
    for t in range(x.shape[1]):
        state = state / 2 + x[:, t]
        seen.append(state)
    every = np.stack(seen)
    found = calibrate(leaky(), {"x": x})
    assert (found.windows, found.steps) == (len(x), 5)
    assert np.allclose(found.of("sum").lo, every.min(axis=(0, 1)))
    assert np.allclose(found.of("sum").hi, every.max(axis=(0, 1)))
    assert np.isclose(found.of("sum").largest, np.abs(every).max())
    assert np.isclose(found.of("sum").rms, np.sqrt(np.mean(every**2)), rtol=1e-4)
    fired = (every > 1).astype(np.float64).reshape(-1, 3)
    assert np.allclose(found.moments["spike"], fired.T @ fired / len(fired))
    assert found.correlation("spike") is found.correlation("spike")
    assert found.correlation("sum") is None


def test_progress_counts_windows_to_the_last() -> None:
    told: list[tuple[int, int]] = []
    count = 2 * module.BATCH + 1
    calibrate(leaky(), {"x": noise(count, 1)}, progress=lambda done, total: told.append((done, total)))
    assert told == [(module.BATCH, count), (2 * module.BATCH, count), (count, count)]


def test_raw_units_are_normalised_first() -> None:
    x, known = noise(4), (np.array([1.0, 2, 3], np.float32), np.array([0.5, 1, 2], np.float32))
    raw = x / known[1] + known[0]
    found, plain = calibrate(leaky(), {"x": raw}, normalisation={"x": known}), calibrate(leaky(), {"x": x})
    assert np.allclose(found.of("x").hi, plain.of("x").hi, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_clips_rare_peaks_as_far_as_it_says(method: str) -> None:
    x = noise(2000, 10, 1)
    x[7, 3] = 1000
    clip = calibrate(leaky(1), {"x": x}, method=method).of("x").clip
    bulk = float(np.quantile(np.abs(x), module.PERCENTILE))
    assert {"min-max": clip == 1000, "percentile": bulk <= clip < bulk * 1.05, "mse": 3 < clip < 1000}[method]


def test_the_mean_square_error_of_a_clip_is_least() -> None:
    """Against the errors of the values themselves, at every clip that was tried."""
    x = np.random.default_rng(1).standard_t(3, size=(4000, 10, 1)).astype(np.float32)
    clip = calibrate(leaky(1), {"x": x}, method="mse").of("x").clip

    def loss(limit: float) -> float:
        step = limit / 127
        return float(np.mean((np.clip(np.floor(x / step + 0.5), -127, 127) * step - x) ** 2))

    tried = np.abs(x).max() * 2.0 ** (-np.arange(300) / 50)
    assert loss(clip) <= 1.05 * min(map(loss, tried))


def test_whole_numbers_are_known_as_such() -> None:
    spikes = (noise(4) > 0).astype(np.float32)
    assert calibrate(leaky(), {"x": spikes}).of("x").whole
    assert not calibrate(leaky(), {"x": noise(4)}).of("x").whole


def test_a_silent_value_has_no_range() -> None:
    found = calibrate(leaky(), {"x": np.zeros((3, 4, 3), np.float32)}, method="mse")
    assert found.of("sum").clip == 0
    assert not found.moments["spike"].any()


def test_what_cannot_be_calibrated_is_refused() -> None:
    with pytest.raises(UsageError, match="known are min-max, percentile, mse"):
        calibrate(leaky(), {"x": noise(2)}, method="kl")
    with pytest.raises(DataError, match="no windows"):
        calibrate(leaky(), {"x": noise(0)})
    with pytest.raises(DataError, match="not the one that was calibrated"):
        calibrate(leaky(), {"x": noise(2)}).of("other")
