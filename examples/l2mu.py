"""A spiking LMU (L2MU) from PyTorch to a program: train, convert, verify, profile, stop and go on.

python examples/l2mu.py
python examples/l2mu.py --target smartwatch --precision int8 -o l2mu.edge
"""

from __future__ import annotations

import numpy as np
from road import packages, parser, run, travel

with packages():
    import torch

    from edgekit.frontends import import_module
    from edgekit.models import L2MU

CHANNELS, STEPS, SAMPLES = 4, 24, 256


def made_up_data(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """A pulse that walks over the channels upwards (class 1) or downwards (class 0): only its history tells."""
    y = rng.integers(2, size=SAMPLES)
    start = rng.integers(CHANNELS, size=SAMPLES)
    at = (start[:, None] + np.where(y, 1, -1)[:, None] * (np.arange(STEPS) // 2)) % CHANNELS
    x = np.eye(CHANNELS)[at] + 0.1 * rng.normal(size=(SAMPLES, STEPS, CHANNELS))
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y)


def main() -> None:
    options = parser(__doc__).parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y = made_up_data(np.random.default_rng(0))
    neurons = {letter: {"beta": 0.6, "threshold": 0.4} for letter in "umho"}
    model = L2MU(inputs=CHANNELS, hidden=24, memory=12, order=4, outputs=2, theta=8.0, neurons=neurons)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(model.scores(model(x)), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    print(f"trained    {(model.decide(model(x)) == y).float().mean():.1%} of {SAMPLES} made-up windows right")

    session = travel(options, import_module(model, None, name="l2mu"), x.numpy(), y.numpy())
    window = x[0].numpy()
    spikes = session.run(window)
    session.reset()
    first = [session.step(sample) for sample in window[: STEPS // 2]]
    memory = session.save_state()  # as bytes: what a device would keep over a sleep
    session.reset()
    session.restore_state(memory)
    second = [session.step(sample) for sample in window[STEPS // 2 :]]
    print(f"interrupted and restored after {STEPS // 2} steps: same spikes {np.array_equal(first + second, spikes)}")


if __name__ == "__main__":
    run(main)
