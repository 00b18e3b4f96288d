"""A multi-layer perceptron from PyTorch to a program: train, save, convert, run.

python examples/mlp.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

import edgekit
from edgekit.models import MLP

FEATURES, CLASSES, SAMPLES = 16, 3, 512


def made_up_data(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy copies of one random template per class."""
    templates = rng.normal(size=(CLASSES, FEATURES))
    y = rng.integers(CLASSES, size=SAMPLES)
    x = templates[y] + 0.8 * rng.normal(size=(SAMPLES, FEATURES))
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y)


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y = made_up_data(np.random.default_rng(0))
    model = MLP([FEATURES, 32, CLASSES], dropout=0.1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(model(x), y)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    model.eval()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mlp.host.edge"
        edgekit.convert(model, target="host").save(path)
        session = edgekit.load(path)
        scores = session.run(x.numpy())
        expected = model(x).detach().numpy()
        agree = float(np.mean(scores.argmax(1) == expected.argmax(1)))
        print(f"{path.name}: {path.stat().st_size:,} bytes, engine {session.engine}")
        print(f"largest difference to PyTorch {np.abs(scores - expected).max():.1e}, same class {agree:.1%}")


if __name__ == "__main__":
    main()
