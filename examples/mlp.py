"""A multi-layer perceptron from PyTorch to a program: train, convert, verify, profile.

python examples/mlp.py
python examples/mlp.py --target smartwatch --precision int8 -o mlp.edge
"""

from __future__ import annotations

import numpy as np
from road import packages, parser, run, travel

with packages():
    import torch

    from edgekit.frontends import import_module
    from edgekit.models import MLP

FEATURES, CLASSES, SAMPLES = 16, 3, 512


def made_up_data(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy copies of one random template per class: features [N, 16], classes [N]."""
    templates = rng.normal(size=(CLASSES, FEATURES))
    y = rng.integers(CLASSES, size=SAMPLES)
    x = templates[y] + 0.8 * rng.normal(size=(SAMPLES, FEATURES))
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y)


def main() -> None:
    options = parser(__doc__).parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y = made_up_data(np.random.default_rng(0))
    model = MLP([FEATURES, 32, CLASSES], dropout=0.1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(model(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    print(f"trained    {(model(x).argmax(1) == y).float().mean():.1%} of {SAMPLES} made-up samples right")

    travel(options, import_module(model, None, name="mlp"), x.numpy(), y.numpy())


if __name__ == "__main__":
    run(main)
