"""How often the neurons of a spiking case fire: measured, and for the built-in L2MU tuned to a known rate."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.bench.stimuli import Array
from edgekit.errors import UsageError

ACTIVITY, ACTIVITY_WITHIN = 0.07, 0.01
TUNED = ("m", "h", "o")  # the spikes that event-driven code pays for, and those that the subjects are compared by
_SETTLED = 0.002  # the search aims closer than the benchmark promises
_MAX_TRIALS = 60


def measure_activity(module: Any, stimulus: Array) -> dict[str, float]:
    """Share of the neurons of each population of `module` that fire in a step: mean over the stimulus, which runs once
    before to forget the reset.
    """
    trace = _trace(module, stimulus)
    return {letter: float(trace[f"{letter}.spikes"].mean()) for letter, _ in module.populations()}


def tune_activity(module: Any, stimulus: Array) -> dict[str, float]:
    """Set the thresholds of m, h and o so that each fires at ACTIVITY; return the activity of every population.

    A threshold moves part of the way to the membrane quantile that ACTIVITY leaves above it, again and again, because
    the reset and the feedback move the membranes too. UsageError when the search does not settle.
    """
    import torch

    populations = dict(module.populations())
    for _ in range(_MAX_TRIALS):
        trace = _trace(module, stimulus)
        activity = {letter: float(trace[f"{letter}.spikes"].mean()) for letter in populations}
        if all(abs(activity[letter] - ACTIVITY) <= _SETTLED for letter in TUNED):
            return activity
        with torch.inference_mode():
            for letter in TUNED:
                threshold = populations[letter].threshold
                wanted = torch.quantile(trace[f"{letter}.membrane"].flatten(), 1 - ACTIVITY)
                threshold.copy_(threshold + 0.3 * (wanted - threshold))
    shown = ", ".join(f"{letter} {100 * rate:.1f} %" for letter, rate in activity.items())
    raise UsageError("benchmark L2MU", f"its activity did not settle at {100 * ACTIVITY:.0f} % ({shown})")


def _trace(module: Any, stimulus: Array) -> dict[str, Any]:
    """What every population does over the second of two rounds of the stimulus."""
    import torch

    twice = torch.from_numpy(np.concatenate([stimulus, stimulus]))[None]
    with torch.inference_mode():
        return {name: values[:, len(stimulus) :] for name, values in module.trace(twice).items()}
