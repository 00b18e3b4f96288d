"""A spiking network of Norse to a program: train, convert, verify, profile. Nothing of it is written for edgekit.

    pip install -c constraints.txt -e ".[norse]"
    python examples/norse_net.py
    python examples/norse_net.py --target smartwatch --precision int8 -o net.edge

Its states are an argument and a result of each call: currents and voltages, which edgekit finds. Norse (LGPL-3): Pehle
and Pedersen, Zenodo 10.5281/zenodo.4422025.
"""

from __future__ import annotations

import warnings

import numpy as np
from road import packages, parser, run, travel

with packages(), warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit, which Norse still uses
    import norse.torch as norse
    import torch
    from torch import Tensor, nn

    from edgekit.frontends import import_module

CHANNELS, STEPS, SAMPLES, GAIN = 4, 32, 256, 8.0


def made_up_data(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Two bursts, on the lower two channels first (class 0) or on the upper two (class 1): [N, T, 4], [N]."""
    y = rng.integers(2, size=SAMPLES)
    lower = np.arange(CHANNELS) < CHANNELS // 2
    early = np.arange(STEPS)[:, None] < STEPS // 2
    x = np.where((lower == early) == (y == 0)[:, None, None], 1.0, 0.0) * (rng.random((SAMPLES, STEPS, CHANNELS)) < 0.5)
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y)


def spikes(net: nn.Module, x: Tensor) -> Tensor:
    """Output spikes [N, T, classes] of windows that each start from a reset."""
    state, fired = None, []
    for step in x.unbind(1):
        y, state = net(step, state)
        fired.append(y)
    return torch.stack(fired, 1)


def main() -> None:
    options = parser(__doc__).parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y = made_up_data(np.random.default_rng(0))
    net = norse.SequentialState(
        nn.Linear(CHANNELS, 24),
        norse.LIFCell(norse.LIFParameters(alpha=torch.tensor(10.0))),
        nn.Linear(24, 2),
        norse.LIFCell(norse.LIFParameters(alpha=torch.tensor(10.0))),
    )
    with torch.no_grad():  # a step is a millisecond: without large weights nothing fires
        net[0].weight.mul_(GAIN)
        net[2].weight.mul_(GAIN)
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-2)
    for _ in range(40):
        loss = nn.functional.cross_entropy(spikes(net, x).sum(1), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    net.eval()
    print(f"trained    {(spikes(net, x).sum(1).argmax(1) == y).float().mean():.1%} of {SAMPLES} made-up windows right")

    net.io = {"decision": "sum", "classes": ["lower first", "upper first"]}  # the class that fired most
    imported = import_module(net, x[:4, 0], name="norse", dt=1e-3)
    print(f"states     {', '.join(s.tensor for s in imported.graph.states)}: found, not declared")
    travel(options, imported, x.numpy(), y.numpy())


if __name__ == "__main__":
    run(main)
