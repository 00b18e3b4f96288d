"""A Legendre memory unit (LMU) from PyTorch to a program: train, convert, verify, profile, run over a stream.

python examples/lmu.py
python examples/lmu.py --target smartwatch --precision int8 -o lmu.edge
"""

from __future__ import annotations

import numpy as np
from road import packages, parser, run, travel

with packages():
    import torch

    from edgekit.frontends import import_module
    from edgekit.models import LMU

DELAY, STEPS, SAMPLES = 12, 64, 64


def made_up_data(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Slow noise [N, T, 1], and the same noise DELAY steps later: the present input says nothing about it."""
    noise = rng.normal(size=(SAMPLES, STEPS + DELAY + 8, 1))
    slow = np.mean([noise[:, k : k + STEPS + DELAY] for k in range(8)], axis=0) * np.sqrt(8)
    x, y = slow[:, DELAY:], slow[:, :-DELAY]
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.float32))


def main() -> None:
    options = parser(__doc__).parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y = made_up_data(np.random.default_rng(0))
    model = LMU(inputs=1, hidden=16, memory=1, order=8, theta=24.0, outputs=1)
    model.io = {"decision": None}  # it recalls a signal and decides nothing
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    settled = slice(2 * DELAY, None)  # before that, the memory has not seen what is asked for
    for _ in range(80):
        error = (model(x) - y)[:, settled].square().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
    model.eval()
    share = error.item() / y[:, settled].var().item()
    print(f"trained    recalls the made-up input of {DELAY} steps ago but for {share:.1%} of its variance")

    session = travel(options, import_module(model, None, name="lmu"), x.numpy())
    window = x[0].numpy()
    recalled = session.run(window)
    session.reset()
    streamed = np.stack([session.step(sample) for sample in window])
    print(f"step by step and as one run: same values {np.array_equal(streamed, recalled)}")


if __name__ == "__main__":
    run(main)
