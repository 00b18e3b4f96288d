"""A spiking LMU (L2MU) on real touch: seven Braille letters read by a robot's fingertip, as events.

    python examples/braille.py                                               # train, convert, verify, profile
    python examples/braille.py --start examples/braille7.pt --epochs 0       # evaluate what is shipped

Data: an .npz with `x_packed` (bits of the events, big end first, [N, T * channels / 8]), `shape` (T, channels), `y` and
`class_names`; events of Müller-Cleve et al., Frontiers in Neuroscience 2022 (Zenodo 10.5281/zenodo.7050094). Network,
loss and optimiser are those of the authors' 7-class L2MU (neuromorphic-polito/L2MU-Braille). The split is not theirs:
it is drawn here, because only a part of their data could be had, so that accuracies cannot be compared with theirs.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from road import packages, profiled, run

import edgekit
from edgekit.convert import original_of
from edgekit.errors import DataError, UsageError
from edgekit.frontends import import_file
from edgekit.verify import verify_artifact

with packages():
    import torch
    from torch import Tensor, nn

    from edgekit import models

FILE = "braille7_events.npz"
RATE_HZ = 200.0
TEST_SHARE, SPLIT_SEED = 5, 0
CONFIG: dict[str, Any] = {
    **{"inputs": 12, "hidden": 120, "memory": 70, "order": 7, "outputs": 7, "theta": 10.0},
    "neurons": {
        "u": {"beta": 0.80, "threshold": 0.20},
        "h": {"beta": 0.45, "threshold": 0.65},
        "m": {"beta": 0.20, "threshold": 0.40},
        "o": {"beta": 0.60, "threshold": 0.15},
    },
}
LEARNING_RATE, BATCH = 0.00145, 64


@dataclass(frozen=True)
class Letters:
    """Events x [N, T, channels] as 0/1, classes y [N], and the letters' names."""

    x: Tensor
    y: Tensor
    names: list[str]


def read(path: Path) -> Letters:
    """The letters in the file at `path`."""
    if not path.is_file():
        raise DataError(str(path), "no such file", "give --data FILE, or set EDGEKIT_SHARED to the folder above data/")
    try:
        with np.load(path, allow_pickle=False) as file:
            steps, channels = (int(size) for size in file["shape"])
            bits = np.unpackbits(file["x_packed"], axis=1)[:, : steps * channels]
            x = bits.reshape(-1, steps, channels).astype(np.float32)
            y, names = file["y"].astype(np.int64), [str(name) for name in file["class_names"]]
            if len(x) != len(y) or not 0 <= y.min() <= y.max() < len(names):
                raise ValueError("its letters, labels and names do not fit one another")
    except (KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataError(
            str(path), f"does not hold Braille events ({error})", "see the first lines of this file"
        ) from error
    return Letters(torch.from_numpy(x), torch.from_numpy(y), names)


def split(y: Tensor) -> tuple[Tensor, Tensor]:
    """Indices for training and test: one in five of every letter is for the test, always the same ones."""
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    train, test = [], []
    for letter in sorted(set(y.tolist())):
        indices = torch.nonzero(y == letter)[:, 0]
        indices = indices[torch.randperm(len(indices), generator=generator)]
        test.append(indices[: len(indices) // TEST_SHARE])
        train.append(indices[len(indices) // TEST_SHARE :])
    return torch.cat(train), torch.cat(test)


def train(model: Any, letters: Letters, chosen: Tensor, epochs: int, seed: int) -> None:
    """Cross-entropy of the spike counts, Adam; the last epoch's weights stay."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    console = Console(stderr=True)
    hidden = not console.is_terminal or "CI" in os.environ
    model.train()
    for epoch in range(1, epochs + 1):
        batches, total = torch.split(chosen[torch.randperm(len(chosen), generator=generator)], BATCH), 0.0
        for batch in track(batches, f"epoch {epoch}/{epochs}", console=console, disable=hidden, transient=True):
            loss = nn.functional.cross_entropy(model.scores(model(letters.x[batch])), letters.y[batch])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total += loss.item() * len(batch)
        print(f"epoch {epoch}/{epochs}: loss {total / len(chosen):.4f}", flush=True)
    model.eval()


@torch.no_grad()
def accuracy(model: Any, letters: Letters, chosen: Tensor) -> float:
    """Share of the chosen letters that are read right."""
    right = [model.decide(model(letters.x[part])) == letters.y[part] for part in torch.split(chosen, 256)]
    return float(torch.cat(right).float().mean())


def card(options: argparse.Namespace, parameters: int, counts: dict[str, int], reached: float) -> dict[str, Any]:
    """What is to be known of a checkpoint, for the .json beside it."""
    return {
        "family": "l2mu",
        "data": "Braille letters, events (Müller-Cleve et al. 2022); data licence unverified",
        "split": "drawn by this script, one in five of every letter for the test; not the published split",
        "letters": counts,
        "start": None if options.start is None else options.start.name,
        "seed": options.seed,
        "epochs": options.epochs,
        "test_accuracy": reached,
        "parameters": parameters,
        "torch": torch.__version__,
    }


def start(options: argparse.Namespace, letters: Letters) -> Any:
    """The network to train: a new one, or that of a checkpoint."""
    torch.manual_seed(options.seed)
    model = models.load(options.start) if options.start else models.build("l2mu", CONFIG)
    sizes = {"inputs": letters.x.shape[2], "outputs": len(letters.names)}
    if model.family != "l2mu" or any(model.config[key] != size for key, size in sizes.items()):
        thing = str(options.start or "the network of this script")
        raise UsageError(thing, f"is no L2MU of {sizes['inputs']} inputs and {sizes['outputs']} letters")
    model.io = {
        "input": {"name": "touch", "unit": "event", "rate_hz": RATE_HZ, "window": letters.x.shape[1]},
        "classes": letters.names,
    }
    return model


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    shared = Path(os.environ.get("EDGEKIT_SHARED", Path(__file__).resolve().parents[1] / ".." / "shared"))
    parser.add_argument("--data", type=Path, default=shared / "data" / FILE, help="default: below EDGEKIT_SHARED")
    parser.add_argument("--epochs", type=int, default=3, help="the authors train 300")
    parser.add_argument("--start", type=Path, help="start from the weights of this checkpoint")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", default="host")
    parser.add_argument("--verify", type=int, default=20, help="letters of the test side to verify, layer by layer")
    parser.add_argument("-o", "--output", type=Path, help="checkpoint to write, with a .json beside it")
    return parser.parse_args()


def train_and_prove(options: argparse.Namespace) -> bool:
    """Train, save, convert, verify; whether the program passed."""
    if options.epochs < 0 or options.verify < 1:
        raise UsageError("--epochs or --verify", "is less than it can be", "give at least 0 epochs and 1 letter")
    letters = read(options.data)
    for_training, for_test = split(letters.y)
    model = start(options, letters)
    train(model, letters, for_training, options.epochs, options.seed)
    reached = accuracy(model, letters, for_test)
    counts = {"train": len(for_training), "test": len(for_test)}
    print(f"{options.epochs} epochs on {counts['train']} letters: {reached:.1%} of {counts['test']} test letters right")

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = options.output or Path(folder) / "braille7.pt"
        models.save(model, checkpoint)
        if options.output:
            facts = card(options, sum(p.numel() for p in model.parameters()), counts, reached)
            checkpoint.with_suffix(".json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", "utf-8")
        path = Path(folder) / f"braille7.{options.target}.edge"
        x, y = letters.x[for_test].numpy(), letters.y[for_test].numpy()
        artifact = edgekit.convert(model, target=options.target, calib=letters.x[for_training[:64]].numpy())
        artifact.save(path)
        session = edgekit.load(path)
        print(f"{path.name}: {path.stat().st_size:,} bytes, engine {session.engine}")
        read_right = np.mean(session.run(x).sum(1).argmax(1) == y)
        print(f"the program reads {read_right:.1%} of the test letters right")
        original = original_of(import_file(checkpoint))
        few = slice(0, options.verify)
        report = verify_artifact(session, original, x[few], y[few])
        verdict = "passed" if report.passed else "FAILED"
        print(f"verify on {report.windows} letters of {report.steps} steps: {verdict}: {report.rule}")
        profiled(artifact, x[few])
        return report.passed


def main() -> None:
    torch.set_num_threads(1)
    if not train_and_prove(parse()):
        raise SystemExit(1)


if __name__ == "__main__":
    run(main)
