"""A spiking network of snnTorch to a program: train, convert, verify, profile. Nothing of it is written for edgekit.

    pip install -c constraints.txt -e ".[snn]"
    python examples/snntorch_net.py
    python examples/snntorch_net.py --target smartwatch --precision int8 -o net.edge

Its neurons keep their membranes themselves (`init_hidden`); edgekit finds them, and a step of the program is one call
of the network. snnTorch: Eshraghian et al., Proceedings of the IEEE 2023.
"""

from __future__ import annotations

import numpy as np
from road import packages, parser, run, travel

with packages():
    import snntorch as snn
    import torch
    from snntorch import utils
    from torch import Tensor, nn

    from edgekit.frontends import import_module

CHANNELS, STEPS, SAMPLES = 4, 24, 256


def made_up_data(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A pulse that walks over the channels slowly (class 0) or fast (class 1): windows [N, T, 4], classes [N]."""
    y = rng.integers(2, size=SAMPLES)
    at = (rng.integers(CHANNELS, size=(SAMPLES, 1)) + np.arange(STEPS) // np.where(y, 2, 8)[:, None]) % CHANNELS
    x = np.eye(CHANNELS)[at] + 0.1 * rng.normal(size=(SAMPLES, STEPS, CHANNELS))
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y)


def spikes(net: nn.Module, x: Tensor) -> Tensor:
    """Output spikes [N, T, classes] of windows that each start from a reset."""
    utils.reset(net)
    return torch.stack([net(step) for step in x.unbind(1)], 1)


def main() -> None:
    options = parser(__doc__).parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y = made_up_data(np.random.default_rng(0))
    net = nn.Sequential(
        nn.Linear(CHANNELS, 32),
        snn.Leaky(beta=0.8, threshold=0.5, init_hidden=True),
        nn.Linear(32, 2),
        snn.Leaky(beta=0.9, threshold=0.5, init_hidden=True),
    )
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(60):
        loss = nn.functional.cross_entropy(spikes(net, x).sum(1), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    net.eval()
    print(f"trained    {(spikes(net, x).sum(1).argmax(1) == y).float().mean():.1%} of {SAMPLES} made-up windows right")

    utils.reset(net)
    net.io = {"decision": "sum", "classes": ["slow", "fast"]}  # the class that fired most over a window
    imported = import_module(net, x[:4, 0], name="snntorch")
    print(f"states     {', '.join(s.tensor for s in imported.graph.states)}: found, not declared")
    travel(options, imported, x.numpy(), y.numpy())


if __name__ == "__main__":
    run(main)
