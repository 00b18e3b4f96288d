"""The models that are timed, each with the stimulus it runs over and what PyTorch answers to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.bench.packages import require
from edgekit.errors import UsageError

Array = npt.NDArray[np.float32]

STEPS = 128  # of the stimulus; every subject goes round and round it, states carried
ACTIVITY, ACTIVITY_WITHIN = 0.07, 0.01
TUNED = ("m", "h", "o")  # the spikes that event-driven code pays for, and those that the subjects are compared by
_SETTLED = 0.002  # the search aims closer than the benchmark promises
_MAX_TRIALS = 60


@dataclass(frozen=True)
class Case:
    """One model: `module` in eval mode, `stimulus` [STEPS, features] and the outputs [STEPS, classes] of `module`
    over it from reset. `activity` is the measured share of neurons that fire in a step, by population.
    """

    name: str
    description: str
    weights: int
    module: Any
    stimulus: Array
    expected: Array
    activity: Mapping[str, float]


def build_case(name: str) -> Case:
    """Return the model called `name`, the same at every call; UsageError when it is not in the table."""
    if name not in CASES:
        raise UsageError(f"model {name!r}", "is not known", f"known are {', '.join(CASES)}")
    require("torch", "convert")
    return CASES[name]()


def _mlp() -> Case:
    import torch

    from edgekit.models import MLP

    torch.manual_seed(0)
    module = MLP([240, 128, 64, 7]).eval()
    stimulus = np.random.default_rng(0).normal(size=(STEPS, 240)).astype(np.float32)
    return _case("mlp", "MLP 240-128-64-7", module, stimulus, {})


def _l2mu() -> Case:
    import torch

    from edgekit.models import L2MU

    torch.manual_seed(0)
    neurons = {"u": {"beta": 0.6, "threshold": 0.6}, "m": {"beta": 0.4}, "h": {"beta": 0.6}}
    module = L2MU(inputs=6, hidden=128, memory=64, order=4, outputs=7, theta=10.0, neurons=neurons).eval()
    torch.nn.init.xavier_normal_(module.e_m.weight)  # starts at zero, which a compiler could notice
    stimulus = _motion(np.random.default_rng(0), 6)
    activity = tune_activity(module, stimulus)
    return _case("l2mu", "L2MU 6-128, 64 x 4, 7", module, stimulus, activity)


CASES: Mapping[str, Callable[[], Case]] = {"mlp": _mlp, "l2mu": _l2mu}


def _motion(rng: np.random.Generator, channels: int) -> Array:
    """Smooth noise of unit variance [STEPS, channels], correlated over about ten steps as wrist motion is."""
    keep = 0.9
    rows = [rng.normal(size=channels)]
    for _ in range(STEPS - 1):
        rows.append(keep * rows[-1] + (1 - keep**2) ** 0.5 * rng.normal(size=channels))
    return np.asarray(rows, np.float32)


def tune_activity(module: Any, stimulus: Array) -> dict[str, float]:
    """Set the thresholds of m, h and o so that each fires at ACTIVITY; return the activity of every population.

    A threshold moves part of the way to the membrane quantile that ACTIVITY leaves above it, again and again, because
    the reset and the feedback move the membranes too. Activity is the mean over the stimulus, run once before to
    forget the reset. UsageError when the search does not settle.
    """
    import torch

    twice = torch.from_numpy(np.concatenate([stimulus, stimulus]))[None]
    populations = dict(module.populations())
    for _ in range(_MAX_TRIALS):
        with torch.inference_mode():
            trace = {name: values[:, len(stimulus) :] for name, values in module.trace(twice).items()}
            activity = {letter: float(trace[f"{letter}.spikes"].mean()) for letter in populations}
            if all(abs(activity[letter] - ACTIVITY) <= _SETTLED for letter in TUNED):
                return activity
            for letter in TUNED:
                threshold = populations[letter].threshold
                wanted = torch.quantile(trace[f"{letter}.membrane"].flatten(), 1 - ACTIVITY)
                threshold.copy_(threshold + 0.3 * (wanted - threshold))
    shown = ", ".join(f"{letter} {100 * rate:.1f} %" for letter, rate in activity.items())
    raise UsageError("benchmark L2MU", f"its activity did not settle at {100 * ACTIVITY:.0f} % ({shown})")


def _case(name: str, description: str, module: Any, stimulus: Array, activity: Mapping[str, float]) -> Case:
    import torch

    weights = sum(p.numel() for k, p in module.named_parameters() if k.endswith(("weight", "bias")))
    outputs, state = [], module.init_state(1)
    with torch.inference_mode():
        for x in torch.from_numpy(stimulus)[:, None]:
            y, state = module.step(x, state)
            outputs.append(y[0].numpy())
    return Case(name, description, weights, module, stimulus, np.stack(outputs), activity)
