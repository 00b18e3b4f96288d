"""A released ELM neuron (a model of a cortical neuron, 1,278 synapses) to a program: convert, verify, profile.

    python examples/elm_neuronio.py neuronio_best_model_state.pt
    python examples/elm_neuronio.py model_state.pt --config config.json --target host --windows 4

The weights are those that Spieler et al. published with "The ELM Neuron" (AaronSpieler/elmneuron, MIT; trained there on
NeuronIO); they are not shipped. What the weights do not tell has published defaults, which are printed.
Inputs are made up here: Poisson spikes, 1 millisecond a step, excitatory (+1) and inhibitory (-1).
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
    for note in imported.notes:
        print(f"read       {note}")
    (synapses,) = imported.graph.tensors[imported.graph.entries["step"].inputs[0]].shape
    travel(options, imported, made_up_spikes(options.windows, options.steps, synapses))


if __name__ == "__main__":
    run(main)
