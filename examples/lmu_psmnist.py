"""An LMU of the size that permuted sequential MNIST is known for: 212 units, order 256, theta 784, one pixel a step.

    python examples/lmu_psmnist.py                           # made-up digits, three batches: the road alone
    python examples/lmu_psmnist.py --data mnist.npz --batches 2000 --batch 100

Pixels of a digit come one by one in an order that is drawn once (Voelker, Kajić and Eliasmith, NeurIPS 2019). Data: an
.npz with `x_train` (uint8 [N, 28, 28]) and `y_train` [N]; without it, digits are made up. The few batches of the
default teach it nothing: they are there for the size of the network, whose program is real.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from road import packages, parser, run, travel

from edgekit.errors import DataError, UsageError

with packages():
    import torch
    from torch import Tensor

    from edgekit.frontends import import_module
    from edgekit.models import LMU

PIXELS, CLASSES, ORDER_SEED = 784, 10, 92


def read(path: Path | None) -> tuple[Tensor, Tensor]:
    """Pixels [N, 784, 1] from 0 to 1 in the drawn order, and digits [N]; made up without a file."""
    order = np.random.default_rng(ORDER_SEED).permutation(PIXELS)
    if path is None:
        rng = np.random.default_rng(0)
        y = rng.integers(CLASSES, size=1024)
        strokes = rng.random((CLASSES, PIXELS)) < 0.2
        x = strokes[y] * rng.uniform(0.5, 1, (len(y), PIXELS))
    else:
        try:
            with np.load(path, allow_pickle=False) as file:
                x, y = file["x_train"].reshape(-1, PIXELS) / 255, file["y_train"].astype(np.int64)
        except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(str(path), f"does not hold digits ({error})", "see the first lines of this file") from error
        except OSError as error:
            raise DataError(str(path), f"cannot be read: {error.strerror}", "give a file of digits") from error
    return torch.from_numpy(x[:, order, None].astype(np.float32)), torch.from_numpy(y)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, metavar="FILE.npz", help="digits; without it they are made up")
    arguments.add_argument("--batches", type=int, default=3, help="of training (3)")
    arguments.add_argument("--batch", type=int, default=16, help="digits in a batch (16)")
    arguments.add_argument("--verify", type=int, default=2, help="digits to verify, 784 steps each (2)")
    options = arguments.parse_args()
    if min(options.batches, options.batch, options.verify) < 1:
        raise UsageError("--batches, --batch or --verify", "is less than 1")
    torch.manual_seed(0)
    x, y = read(options.data)
    if options.verify >= len(x):
        raise UsageError(f"--verify {options.verify}", f"leaves none of {len(x)} digits to train on", "verify fewer")
    held_out, chosen = x[-options.verify :], torch.randint(len(x) - options.verify, (options.batches, options.batch))
    model = LMU(inputs=1, hidden=212, memory=1, order=256, theta=784.0, outputs=CLASSES)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for at, batch in enumerate(chosen, 1):
        loss = torch.nn.functional.cross_entropy(model.scores(model(x[batch])), y[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if at == options.batches or at % 50 == 0:
            source = "made-up digits" if options.data is None else options.data.name
            print(f"trained    batch {at} of {options.batches} ({source}): loss {loss.item():.3f}", flush=True)
    model.eval()

    travel(options, import_module(model, None, name="psmnist"), held_out.numpy())


if __name__ == "__main__":
    run(main)
