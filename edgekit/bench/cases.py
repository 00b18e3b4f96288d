"""The models that are measured, each with the stimulus it runs over and what PyTorch answers to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.bench import files
from edgekit.bench.activity import measure_activity, tune_activity
from edgekit.bench.packages import require
from edgekit.bench.stimuli import Array, motion, motion_windows, noise, pixels, synaptic_spikes
from edgekit.bench.windows import TestWindows, real_windows
from edgekit.errors import UsageError

SPIKE_RATE = 0.02  # of the synapses of a NeuronIO cell
RING_BYTES = 16_384  # half of a small first-level cache


@dataclass(frozen=True)
class Case:
    """One model: `module` in eval mode, `stimulus` [STEPS, features] and the outputs `expected` [STEPS, outputs] over
    it from reset, which `oracle` computed.

    `weights` counts the trained numbers, and those that a step needs of the untrained. `activity` is the measured share
    of neurons that fire in a step, by population. `contrast` is a second stimulus in which no input is zero, for a
    model whose inputs mostly are. `calibration` [N, T, features], each from reset, is what integers are calibrated on
    where that is not the stimulus. `tests` are windows that are to be classified; without, `untested` says why.
    """

    name: str
    description: str
    weights: int
    module: Any
    stimulus: Array
    expected: Array
    activity: Mapping[str, float] = field(default_factory=dict)
    contrast: Array | None = None
    oracle: str = "PyTorch"
    calibration: Array | None = None
    tests: TestWindows | None = None
    untested: str = ""

    @property
    def calibrated_on(self) -> Array:
        """Windows [N, T, features], each from reset, whose ranges everybody's integers are calibrated on."""
        return self.stimulus[None] if self.calibration is None else self.calibration

    @property
    def ring(self) -> int:
        """How many rows of the stimulus the clock sees go round: as many as leave the caches to the model, because on a
        device too the input is where a driver has just put it. All of them where most inputs are zero: which ones must
        not become a habit of the branch predictor.
        """
        if self.contrast is not None:
            return len(self.stimulus)
        return max(1, min(len(self.stimulus), RING_BYTES // int(self.stimulus[0].nbytes)))


@dataclass(frozen=True)
class Recipe:
    """How a case is made; `needs` is a file without which it cannot be, and is then left out loudly."""

    make: Callable[[str], Case]
    needs: Path | None = None

    def absent(self) -> str:
        """Why the case cannot be made here; empty when it can."""
        return "" if self.needs is None or self.needs.is_file() else f"there is no {self.needs}"


def build_case(name: str) -> Case:
    """Return the case called `name`, the same at every call; UsageError when it is not in the table or lacks a file."""
    if name not in CASES:
        raise UsageError(f"model {name!r}", "is not known", f"known are {', '.join(CASES)}")
    if why := CASES[name].absent():
        raise UsageError(f"model {name!r}", why)
    require("torch", "convert")
    import torch

    torch.manual_seed(0)
    return CASES[name].make(name)


def _mlp(name: str) -> Case:
    from edgekit.models import MLP

    return make_case(name, "MLP 240-128-64-7", MLP([240, 128, 64, 7]).eval(), noise(240))


def _l2mu(name: str) -> Case:
    import torch

    from edgekit.models import L2MU

    neurons = {"u": {"beta": 0.6, "threshold": 0.6}, "m": {"beta": 0.4}, "h": {"beta": 0.6}}
    module = L2MU(inputs=6, hidden=128, memory=64, order=4, outputs=7, theta=10.0, neurons=neurons).eval()
    torch.nn.init.xavier_normal_(module.e_m.weight)  # starts at zero, which a compiler could notice
    stimulus = motion(6)
    return make_case(name, "L2MU 6-128, 64 x 4, 7", module, stimulus, tune_activity(module, stimulus))


def _lmu(name: str) -> Case:
    import torch

    from edgekit.models import LMU

    module = LMU(inputs=1, hidden=212, memory=1, order=256, outputs=10, theta=784.0).eval()
    torch.nn.init.normal_(module.e_m.weight, std=1e-3)  # starts at zero; small, or the memory drives itself up
    return make_case(name, "LMU 1-212, order 256, 10, as for psMNIST", module, pixels(1))


def _elm(name: str) -> Case:
    import torch

    from edgekit.models import ELM

    module = ELM(inputs=1260, outputs=2, memory=100, branches=45, synapses=28, version="v2").eval()
    torch.nn.init.uniform_(module._proto_w_s)  # starts at one value, which a compiler could notice
    folded = module.tau_b.numel() + 100  # the decays of the branches, and what each memory takes in
    return make_case(name, "Branch-ELM 1260-45, 100 memories, 2", module, noise(1260), folded=folded)


def _neuronio(name: str) -> Case:
    import torch

    from edgekit.models import ELM

    shape: dict[str, Any] = {"inputs": 1278, "outputs": 2, "memory": 100, "branches": 45, "synapses": 100}
    module = ELM(**shape, routing="neuronio", version="v1", memory_tau_max=150.0).eval()
    torch.nn.init.uniform_(module._proto_w_s, -0.05, 1.0)  # some below zero, as training leaves them
    return _spiking_input(name, "Branch-ELM 1278-45, 4,500 synapses, random weights", module)


def _released(name: str) -> Case:
    from edgekit.models import open_model

    module, _ = open_model(files.RELEASED_ELM, files.RELEASED_CONFIG)
    return _spiking_input(name, "Branch-ELM 1278-45, 4,500 synapses, released weights", module)


def _spiking_input(name: str, description: str, module: Any) -> Case:
    """A NeuronIO cell under presynaptic spikes; in the contrast every synapse gets one in every step."""
    stimulus = synaptic_spikes(1278, SPIKE_RATE)
    activity = {"input": float(np.count_nonzero(stimulus)) / stimulus.size}
    return make_case(name, description, module, stimulus, activity, contrast=synaptic_spikes(1278, 1.0))


def _har(name: str) -> Case:
    """A shipped HAR model without its normalisation, which no peer has: the stimulus is already of unit variance."""
    from edgekit.models import load

    family = name.removeprefix(HAR)
    module = load(files.har_checkpoint(family))
    io = module.io
    spec = io["input"]
    channels = len(spec["channels"])
    flattened = spec["layout"] == "flattened"
    stimulus = motion_windows(channels, spec["window"]) if flattened else motion(channels)
    module.io = None
    activity = measure_activity(module, stimulus) if hasattr(module, "populations") else {}
    case = make_case(name, f"HAR {family.upper()} as shipped, split B", module, stimulus, activity)
    try:
        calibration, tests = real_windows(io)
    except (FileNotFoundError, ImportError) as error:
        return replace(case, untested=str(error))
    return replace(case, calibration=calibration, tests=tests)


def make_case(
    name: str,
    description: str,
    module: Any,
    stimulus: Array,
    activity: Mapping[str, float] | None = None,
    *,
    contrast: Array | None = None,
    folded: int = 0,
) -> Case:
    """The case of a module, with what it computes over the stimulus; `folded` counts the constants that a step needs
    and that conversion computes from settings of the module.
    """
    import torch

    weights = folded + sum(parameter.numel() for parameter in module.parameters() if parameter.ndim)
    outputs, state = [], module.init_state(1)
    with torch.inference_mode():
        for x in torch.from_numpy(stimulus)[:, None]:
            y, state = module.step(x, state)
            outputs.append(y[0].numpy())
    return Case(name, description, weights, module, stimulus, np.stack(outputs), activity or {}, contrast)


FAMILIES = ("mlp", "lmu", "l2mu", "elm")  # one built-in case each
HAR = "har-"
CASES: Mapping[str, Recipe] = {
    "mlp": Recipe(_mlp),
    "l2mu": Recipe(_l2mu),
    "lmu": Recipe(_lmu),
    "elm": Recipe(_elm),
    "neuronio": Recipe(_neuronio),
    "neuronio-released": Recipe(_released, needs=files.RELEASED_ELM),
    **{f"{HAR}{family}": Recipe(_har, needs=files.har_checkpoint(family)) for family in FAMILIES},
}
