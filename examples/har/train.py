"""Train an MLP or an L2MU on windows of wrist motion and write its checkpoint and model card.

    python -m examples.har.train --family l2mu --split B --seed 0

Only the validation side chooses (epoch and, by the caller, seed); the test side is read once, after training.
"""

from __future__ import annotations

import argparse
import copy
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgekit import models
from edgekit.errors import EdgekitError, UsageError
from examples.har import data
from examples.har.card import write_card
from examples.har.windows import CHANNELS, RATE_HZ, UNIT, WINDOW, Indices, Split, Windows, successors


@dataclass(frozen=True)
class Recipe:
    """How one family is trained; angles in degrees."""

    config: dict[str, Any]
    layout: str
    decision: str
    epochs: int
    learning_rate: float
    weight_decay: float
    rotation: float
    scaling: float
    label_smoothing: float
    batch: int = 256
    average: float = 0.99


RECIPES = {
    "mlp": Recipe(
        config={"sizes": [240, 128, 64, 7], "dropout": 0.3},
        layout="flattened",
        decision="last",
        epochs=150,
        learning_rate=2e-3,
        weight_decay=1e-2,
        rotation=20.0,
        scaling=0.1,
        label_smoothing=0.05,
    ),
    "l2mu": Recipe(
        config={
            **{"inputs": 6, "hidden": 96, "memory": 48, "order": 4, "outputs": 7, "theta": 10.0, "dropout": 0.2},
            "neurons": {
                "u": {"beta": 0.6, "threshold": 0.6},
                "m": {"beta": 0.4, "threshold": 0.3},
                "h": {"beta": 0.6, "threshold": 0.7},
                "o": {"beta": 0.9, "threshold": 1.0},
            },
        },
        layout="sequence",
        decision="sum",
        epochs=60,
        learning_rate=4e-3,
        weight_decay=1e-2,
        rotation=15.0,
        scaling=0.1,
        label_smoothing=0.05,
    ),
}


@dataclass(frozen=True)
class Normalisation:
    """x_n = (x - offset) * scale per channel, from the training side alone."""

    offset: list[float]
    scale: list[float]

    @classmethod
    def of(cls, x: np.ndarray[Any, np.dtype[np.float32]]) -> Normalisation:
        flat = x.reshape(-1, x.shape[-1]).astype(np.float64)
        return cls([float(v) for v in flat.mean(0)], [float(v) for v in 1 / flat.std(0)])


def io_section(recipe: Recipe, normalisation: Normalisation, class_names: tuple[str, ...]) -> dict[str, Any]:
    """What goes in and out of the model, as `convert` stores it in an artifact."""
    return {
        "input": {
            "name": "imu",
            "channels": list(CHANNELS),
            "unit": UNIT,
            "rate_hz": RATE_HZ,
            **asdict(normalisation),
            "window": WINDOW,
            "stride": WINDOW,
            "layout": recipe.layout,
        },
        "decision": recipe.decision,
        "classes": list(class_names),
    }


def rotate(x: Tensor, degrees: float, generator: torch.Generator) -> Tensor:
    """Turn accelerometer and gyroscope alike, each window [T, 6] about its own random axis by up to `degrees`."""
    axis = nn.functional.normalize(torch.randn(len(x), 3, generator=generator), dim=1)
    angle = (torch.rand(len(x), 1, 1, generator=generator) * 2 - 1) * (degrees * torch.pi / 180)
    cross = torch.zeros(len(x), 3, 3)
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -axis[:, 2], axis[:, 1], -axis[:, 0]
    cross = cross - cross.transpose(1, 2)
    turn = (torch.eye(3) + angle.sin() * cross + (1 - angle.cos()) * cross @ cross).to(x.device)
    return torch.cat([x[..., :3] @ turn, x[..., 3:] @ turn], dim=-1)


@dataclass(frozen=True)
class Batches:
    """Training windows in physical units, augmented: shifted in time within a recording, rotated, scaled."""

    x: Tensor
    following: Tensor
    has_following: Tensor
    y: Tensor
    recipe: Recipe

    @classmethod
    def of(cls, windows: Windows, indices: Indices, recipe: Recipe, device: str) -> Batches:
        following = successors(windows, indices)
        return cls(
            x=torch.from_numpy(windows.x[indices]).to(device),
            following=torch.from_numpy(windows.x[following]).to(device),
            has_following=torch.from_numpy(following != indices).to(device),
            y=torch.from_numpy(windows.y[indices]).to(device),
            recipe=recipe,
        )

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.y), generator=generator).to(self.y.device)
        steps = torch.arange(self.x.shape[1], device=self.x.device)
        for chosen in torch.split(order, self.recipe.batch):
            shift = torch.randint(0, len(steps), (len(chosen),), generator=generator).to(self.x.device)
            at = (steps + (shift * self.has_following[chosen])[:, None])[..., None].expand(-1, -1, self.x.shape[2])
            x = torch.cat([self.x[chosen], self.following[chosen]], dim=1).gather(1, at)
            x = rotate(x, self.recipe.rotation, generator)
            strength = 1 + self.recipe.scaling * (2 * torch.rand(len(x), 1, 1, generator=generator) - 1)
            yield x * strength.to(x.device), self.y[chosen]


class Classifier(nn.Module):
    """A model with its normalisation and window layout in front and its decision behind: windows in, scores out."""

    offset: Tensor
    scale: Tensor

    def __init__(self, model: Any, normalisation: Normalisation, flattened: bool) -> None:
        super().__init__()
        self.model = model
        self.flattened = flattened
        self.register_buffer("offset", torch.tensor(normalisation.offset))
        self.register_buffer("scale", torch.tensor(normalisation.scale))

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.offset) * self.scale
        scores: Tensor = self.model(x.flatten(1)) if self.flattened else self.model.scores(self.model(x))
        return scores


@torch.no_grad()
def accuracy(classifier: nn.Module, windows: Windows, indices: Indices, device: str) -> float:
    """Share of the windows at `indices` that are classified right, in per cent."""
    classifier.eval()
    right = 0
    for chosen in np.array_split(indices, max(1, len(indices) // 1024)):
        scores = classifier(torch.from_numpy(windows.x[chosen]).to(device))
        right += int((scores.argmax(-1).cpu().numpy() == windows.y[chosen]).sum())
    return 100 * right / len(indices)


def train(
    family: str,
    windows: Windows,
    split: Split,
    *,
    epochs: int,
    seed: int,
    device: str,
    report: Callable[[int, float, float], None],
    resume: Path | None = None,
) -> tuple[Any, float]:
    """The model of the best validation epoch, with its `io`, and that validation accuracy in per cent.

    AdamW under a one-cycle schedule; what is validated and kept is the running average of the weights.
    """
    torch.manual_seed(seed)
    recipe = RECIPES[family]
    generator = torch.Generator().manual_seed(seed)
    normalisation = Normalisation.of(windows.x[split.train])
    model = models.load(resume) if resume else models.build(family, recipe.config)
    if model.family != family:
        raise UsageError("--resume", f"{resume} is of family {model.family}, not {family}")
    model.io = io_section(recipe, normalisation, windows.class_names)
    classifier = Classifier(model, normalisation, recipe.layout == "flattened").to(device)
    averaged = copy.deepcopy(classifier)
    batches = Batches.of(windows, split.train, recipe, device)
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    steps = epochs * -(-len(split.train) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, total_steps=steps, pct_start=0.15)
    best, best_weights = -1.0, {}
    for epoch in range(epochs):
        classifier.train()
        total = 0.0
        for x, y in batches.epoch(generator):
            loss = nn.functional.cross_entropy(classifier(x), y, label_smoothing=recipe.label_smoothing)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                for mean, value in zip(averaged.parameters(), classifier.parameters(), strict=True):
                    mean.lerp_(value, 1 - recipe.average)
            total += loss.item() * len(y)
        reached = accuracy(averaged, windows, split.validation, device)
        report(epoch + 1, total / len(split.train), reached)
        if reached > best:
            best = reached
            best_weights = {key: value.cpu().clone() for key, value in averaged.model.state_dict().items()}
    model.load_state_dict(best_weights)
    return model.cpu().eval(), best


@contextmanager
def progress(epochs: int) -> Iterator[Callable[[int, float, float], None]]:
    """Report epochs: a bar on a terminal that has rich, else a line each."""
    if not sys.stderr.isatty():
        yield lambda epoch, loss, reached: print(
            f"epoch {epoch}/{epochs} loss {loss:.4f} val {reached:.2f} %", flush=True
        )
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("epoch {task.completed}/{task.total}"), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn()) as bars:
        task = bars.add_task("", total=epochs)
        yield lambda epoch, loss, reached: bars.update(
            task, completed=epoch, description=f"loss {loss:.4f} val {reached:.2f} %"
        )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.har.train", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", required=True, choices=sorted(RECIPES))
    parser.add_argument("--split", default="B", choices=data.SPLITS)
    parser.add_argument("--data", help="publisher's unpacked folder or .npz (default: EDGEKIT_SHARED)")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--resume", type=Path, help="start from the weights of this checkpoint")
    parser.add_argument("--out", type=Path, help="checkpoint to write (default: <family>_<split>.pt here)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    recipe = RECIPES[options.family]
    epochs = recipe.epochs if options.epochs is None else options.epochs
    out = options.out or Path(f"{options.family}_{options.split}.pt")
    try:
        if epochs < 1:
            raise UsageError("--epochs", f"{epochs} is less than one")
        windows, split = data.load_windows(options.split, options.data)
        started = time.monotonic()
        with progress(epochs) as report:
            model, validation = train(
                options.family,
                windows,
                split,
                epochs=epochs,
                seed=options.seed,
                device=options.device,
                report=report,
                resume=options.resume,
            )
        minutes = (time.monotonic() - started) / 60
        normalisation = Normalisation(model.io["input"]["offset"], model.io["input"]["scale"])
        classifier = Classifier(model, normalisation, recipe.layout == "flattened")
        test = accuracy(classifier, windows, split.test, "cpu")
        models.save(model, out)
    except EdgekitError as error:
        print(error, file=sys.stderr)
        return 2
    command = ["python", "-m", "examples.har.train", *(sys.argv[1:] if arguments is None else arguments)]
    write_card(
        out,
        {
            "family": options.family,
            "data": windows.source,
            "data_licence": "none, generated" if options.split == "synthetic" else "data licence unverified",
            "split": options.split,
            "windows": {"train": len(split.train), "validation": len(split.validation), "test": len(split.test)},
            "seed": options.seed,
            "epochs": epochs,
            "validation_accuracy_percent": validation,
            "test_accuracy_percent": test,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "training_minutes": minutes,
            "command": shlex.join(command),
            "torch": torch.__version__,
            "recipe": asdict(recipe),
            "io": model.io,
        },
    )
    print(f"{out}: {windows.source}, split {options.split}: validation {validation:.2f} %, test {test:.2f} %")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
