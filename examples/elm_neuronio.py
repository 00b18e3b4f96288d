"""A released ELM neuron (a model of a cortical neuron, 1,278 synapses) to a program: convert, verify, profile.

    python examples/elm_neuronio.py neuronio_model_state.pt
    echo '{"activation": "silu", "memory_tau_max": 150.0}' > best.json
    python examples/elm_neuronio.py neuronio_best_model_state.pt --config best.json --target host --windows 4

The weights are those that Spieler et al. published with "The ELM Neuron" (arXiv 2306.16922; AaronSpieler/elmneuron on
GitHub, MIT), trained there on NeuronIO; they are not shipped. What a file does not tell has published defaults, which
are printed as assumed; where a model was trained otherwise, as the best one was, say so in a file of settings.
Inputs are made up here: spikes of 1 and -1 (excitatory, inhibitory), a step is a millisecond.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from road import parser, run, travel

from edgekit.errors import ModelError, UsageError
from edgekit.frontends import import_file

EXCITATORY_HZ, INHIBITORY_HZ, EXCITATORY = 1.5, 1.0, 0.5  # mean rates of a synapse; share of excitatory ones


def made_up_spikes(windows: int, steps: int, synapses: int) -> np.ndarray:
    """Spike trains [N, T, synapses] of 0, 1 and -1: the first half of the synapses is excitatory."""
    rng = np.random.default_rng(0)
    excitatory = np.arange(synapses) < EXCITATORY * synapses
    probability = np.where(excitatory, EXCITATORY_HZ, INHIBITORY_HZ) / 1000
    fired = rng.random((windows, steps, synapses)) < probability
    return (fired * np.where(excitatory, 1, -1)).astype(np.float32)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("weights", type=Path, help="the released file: .pt, .safetensors or .npz")
    arguments.add_argument("--config", type=Path, metavar="FILE.json", help="what the weights do not tell")
    arguments.add_argument("--windows", type=int, default=2, help="windows to verify (2)")
    arguments.add_argument("--steps", type=int, default=100, help="steps of each (100)")
    options = arguments.parse_args()
    if min(options.windows, options.steps) < 1:
        raise UsageError("--windows or --steps", "is less than 1")
    imported = import_file(options.weights, config=options.config)
    if imported.family != "elm":
        raise ModelError(str(options.weights), f"holds no ELM neuron but {imported.family or 'another model'}")
    for key, value in imported.assumed.items():
        print(f"assumed    {key} = {value}")
    (synapses,) = imported.graph.tensors[imported.graph.entries["step"].inputs[0]].shape
    travel(options, imported, made_up_spikes(options.windows, options.steps, synapses))


if __name__ == "__main__":
    run(main)
