"""An Expressive Leaky Memory neuron (ELM) from PyTorch to a program: train, save, convert, run, stop and go on.

python examples/elm.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

import edgekit
from edgekit.models import ELM

INPUTS, STEPS, SAMPLES, LAST_BITS = 40, 30, 256, 1e-5


def made_up_data(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Spike trains: excitatory inputs (+1) fire before inhibitory ones (-1, class 1) or after them (class 0)."""
    y = rng.integers(2, size=SAMPLES)
    first_half = np.arange(STEPS)[:, None] < STEPS // 2
    excitatory = np.arange(INPUTS)[None, :] < INPUTS // 2
    lively = np.where((first_half == excitatory) == y[:, None, None].astype(bool), 0.1, 0.01)
    x = (rng.random((SAMPLES, STEPS, INPUTS)) < lively) * np.where(excitatory, 1.0, -1.0)
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y)


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y = made_up_data(np.random.default_rng(0))
    model = ELM(
        inputs=INPUTS,
        outputs=2,
        memory=12,
        branches=8,
        synapses=8,
        routing="neuronio",
        memory_tau_max=60.0,
        dropout=0.1,
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(model.scores(model(x)), y)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    model.eval()
    accuracy = (model.decide(model(x)) == y).float().mean().item()
    print(f"trained on made-up data: {accuracy:.1%} of {SAMPLES} windows right")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "elm.host.edge"
        edgekit.convert(model, target="host", calib=x.numpy()).save(path)
        session = edgekit.load(path)
        print(f"{path.name}: {path.stat().st_size:,} bytes, engine {session.engine}")

        windows = x.numpy()
        scores = session.run(windows)
        first = session.run(windows[0, : STEPS // 2])
        memory = session.save_state()
        session.reset()
        session.restore_state(memory)
        second = session.run(windows[0, STEPS // 2 :])
        whole = np.array_equal(np.concatenate([first, second]), scores[0])
        print(f"interrupted and restored after {STEPS // 2} steps: same values {whole}")

        expected = model.trace(x)["y"].detach().numpy()
        agree = float(np.mean(scores[:, -1].argmax(1) == expected[:, -1].argmax(1)))
        error = np.abs(scores - expected).max()
        print(f"largest difference to PyTorch {error:.1e}, last bits only: {error < LAST_BITS}, same class {agree:.1%}")


if __name__ == "__main__":
    main()
