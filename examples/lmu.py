"""A Legendre memory unit (LMU) from PyTorch to a program: train, save, convert, run over a stream.

python examples/lmu.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

import edgekit
from edgekit.models import LMU

DELAY, STEPS, SAMPLES, LAST_BITS = 12, 64, 64, 1e-5


def made_up_data(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Slow noise, and the same noise DELAY steps later: the present input says nothing about it."""
    noise = rng.normal(size=(SAMPLES, STEPS + DELAY + 8, 1))
    slow = np.mean([noise[:, k : k + STEPS + DELAY] for k in range(8)], axis=0) * np.sqrt(8)
    x, y = slow[:, DELAY:], slow[:, :-DELAY]
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.float32))


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y = made_up_data(np.random.default_rng(0))
    model = LMU(inputs=1, hidden=16, memory=1, order=8, theta=24.0, outputs=1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    settled = slice(2 * DELAY, None)  # before that, the memory has not seen what is asked for
    for _ in range(80):
        error = (model(x) - y)[:, settled].square().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
    model.eval()
    share = error.item() / y[:, settled].var().item()
    print(f"trained on made-up data: recalls the input of {DELAY} steps ago but for {share:.1%} of its variance")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lmu.host.edge"
        edgekit.convert(model, target="host", calib=x.numpy()).save(path)
        session = edgekit.load(path)
        print(f"{path.name}: {path.stat().st_size:,} bytes, engine {session.engine}")

        window = x[0].numpy()
        recalled = session.run(window)
        session.reset()
        streamed = np.stack([session.step(sample) for sample in window])
        print(f"step by step and as one run: same values {np.array_equal(streamed, recalled)}")

        trace = model.trace(x[:1])["y"][0].detach().numpy()
        error_to_torch = np.abs(recalled - trace).max()
        print(f"largest difference to PyTorch {error_to_torch:.1e}, last bits only: {error_to_torch < LAST_BITS}")


if __name__ == "__main__":
    main()
