"""A graph of the Neuromorphic Intermediate Representation (NIR) to a program: convert, verify, profile.

    pip install -c constraints.txt -e ".[nir]"
    python examples/nir_graph.py
    python examples/nir_graph.py net.nir --dt 1e-3 --reset v_reset

snnTorch, Norse, Sinabs, Lava, Rockpool and others write NIR (Pedersen et al., Nature Communications 2024). NIR has no
time step and leaves open what a reset does: you say both. Without a file, a network of leaky neurons is made here,
whose read-out is fitted to its own spikes by least squares.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from road import packages, parser, run, travel

from edgekit.errors import UsageError
from edgekit.frontends.files import import_with
from edgekit.frontends.options import ImportOptions
from edgekit.reference import Interpreter

with packages():
    import nir

CHANNELS, NEURONS, STEPS, SAMPLES, DT = 4, 48, 40, 128, 1e-3


def made_up_data(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Events of two patterns of which channel is lively: windows [N, T, 4], classes [N]."""
    y = rng.integers(2, size=SAMPLES)
    lively = np.where((np.arange(CHANNELS) < CHANNELS // 2) == (y == 0)[:, None], 0.5, 0.15)
    return (rng.random((SAMPLES, STEPS, CHANNELS)) < lively[:, None]).astype(np.float32), y


def chain(rng: np.random.Generator, readout: np.ndarray) -> nir.NIRGraph:
    """Input, a random layer of leaky integrate-and-fire neurons, read-out."""
    weights = rng.normal(size=(NEURONS, CHANNELS)) * 6
    tau = rng.uniform(5e-3, 20e-3, NEURONS)
    one, zero = np.ones(NEURONS), np.zeros(NEURONS)
    lif = nir.LIF(tau=tau, r=one, v_leak=zero, v_threshold=one, v_reset=zero)
    return nir.NIRGraph.from_list(
        nir.Input(np.array([CHANNELS])),
        nir.Linear(weights),
        lif,
        nir.Linear(readout),
        nir.Output(np.array([len(readout)])),
    )


def train(path: Path, x: np.ndarray, y: np.ndarray) -> None:
    """Write a graph whose read-out is fitted to the spike counts of its neurons."""
    nir.write(path, chain(np.random.default_rng(1), np.eye(NEURONS)))
    graph = import_with(path, ImportOptions(dt=DT, reset="v_reset")).graph
    outputs, _ = Interpreter(graph).run({graph.entries["step"].inputs[0]: x})
    counts = next(iter(outputs.values())).sum(axis=1)
    readout = np.linalg.lstsq(counts, np.eye(2)[y] - 0.5, rcond=1e-3)[0].T
    nir.write(path, chain(np.random.default_rng(1), readout))
    print(f"trained    {np.mean((counts @ readout.T).argmax(1) == y):.1%} of {len(x)} made-up windows right")


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("graph", type=Path, nargs="?", metavar="FILE.nir", help="a graph; without it one is made")
    arguments.add_argument("--dt", type=float, help="seconds of a step of a given graph")
    arguments.add_argument("--reset", help="what a spike does to a membrane of it: v_reset, subtract or zero")
    options = arguments.parse_args()
    if options.graph is not None:
        imported = import_with(options.graph, ImportOptions(dt=options.dt, reset=options.reset))
        shape = imported.graph.tensors[imported.graph.entries["step"].inputs[0]].shape
        events = np.random.default_rng(0).random((8, STEPS, *shape)) < 0.3
        travel(options, imported, events.astype(np.float32))
        return
    if options.dt is not None or options.reset is not None:
        raise UsageError("--dt and --reset", "are for a graph that is given", "name a file, or leave them out")
    x, y = made_up_data(np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.nir"
        train(path, x, y)
        imported = import_with(path, ImportOptions(dt=DT, reset="v_reset"))
    decided = {"decision": "sum", "classes": ["lower channels", "upper channels"]}
    travel(options, replace(imported, io=decided), x, y)


if __name__ == "__main__":
    run(main)
