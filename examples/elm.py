"""An Expressive Leaky Memory neuron (ELM) from PyTorch to a program: train, convert, verify, profile, stop and go on.

python examples/elm.py
python examples/elm.py --target smartwatch --precision int8 -o elm.edge
"""

from __future__ import annotations

import numpy as np
from road import packages, parser, run, travel

with packages():
    import torch

    from edgekit.frontends import import_module
    from edgekit.models import ELM

INPUTS, STEPS, SAMPLES = 40, 30, 256


def made_up_data(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Spike trains: excitatory inputs (+1) fire before inhibitory ones (-1, class 1) or after them (class 0)."""
    y = rng.integers(2, size=SAMPLES)
    first_half = np.arange(STEPS)[:, None] < STEPS // 2
    excitatory = np.arange(INPUTS)[None, :] < INPUTS // 2
    lively = np.where((first_half == excitatory) == y[:, None, None].astype(bool), 0.1, 0.01)
    x = (rng.random((SAMPLES, STEPS, INPUTS)) < lively) * np.where(excitatory, 1.0, -1.0)
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y)


def main() -> None:
    options = parser(__doc__).parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y = made_up_data(np.random.default_rng(0))
    branches = {"branches": 8, "synapses": 8, "routing": "neuronio"}
    model = ELM(inputs=INPUTS, outputs=2, memory=12, memory_tau_max=60.0, dropout=0.1, **branches)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(model.scores(model(x)), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    print(f"trained    {(model.decide(model(x)) == y).float().mean():.1%} of {SAMPLES} made-up windows right")

    session = travel(options, import_module(model, None, name="elm"), x.numpy(), y.numpy())
    window = x[0].numpy()
    scores = session.run(window)
    session.reset()
    first = session.run(window[: STEPS // 2])
    memory = session.save_state()  # as bytes: what a device would keep over a sleep
    session.reset()
    session.restore_state(memory)
    second = [session.step(sample) for sample in window[STEPS // 2 :]]
    whole = np.array_equal(np.concatenate([first, second]), scores)
    print(f"interrupted and restored after {STEPS // 2} steps: same values {whole}")


if __name__ == "__main__":
    run(main)
