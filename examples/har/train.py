"""Train a model on windows of wrist motion and write its checkpoint and model card.

    python -m examples.har.train --family elm --split B --seed 0

Ctrl-C loses at most the epoch it interrupts: the same command with --resume goes on. Only the validation side chooses
(epoch and, by the caller, seed); the test side is read once, after training.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from edgekit.cli.exits import INTERRUPTED, answered
from edgekit.demo.har import data
from edgekit.errors import UsageError
from examples.har.card import write_card
from examples.har.recipes import RECIPES
from examples.road import packages

with packages():
    import torch

    from edgekit import models
    from examples.har.classifier import Classifier, accuracy
    from examples.har.training import Training

Report = Callable[[int, float, float], None]


@contextmanager
def progress(epochs: int, done: int) -> Iterator[Report]:
    """Report (epoch, loss, validation accuracy): a bar on a terminal, else a line each; `done` epochs lie behind."""
    if not sys.stderr.isatty():
        yield lambda epoch, loss, reached: print(
            f"epoch {epoch}/{epochs} loss {loss:.4f} val {reached:.2f} %", flush=True
        )
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("epoch {task.completed}/{task.total}"), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        task = bars.add_task("", total=epochs, completed=done)
        yield lambda epoch, loss, reached: bars.update(
            task, completed=epoch, description=f"loss {loss:.4f} val {reached:.2f} %"
        )


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.har.train", allow_abbrev=False, description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--family", required=True, choices=list(RECIPES))
    parser.add_argument("--split", default="B", choices=data.SPLITS)
    parser.add_argument("--data", help="publisher's unpacked folder or .npz (default: EDGEKIT_SHARED)")
    parser.add_argument("--epochs", type=int, help="default: as the family's recipe says")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; results depend on it in the last bits")
    parser.add_argument("--resume", action="store_true", help="go on with the interrupted run of the same command")
    parser.add_argument("--out", type=Path, help="checkpoint to write (default: <family>_<split>.pt here)")
    options = parser.parse_args(arguments)
    options.out = options.out or Path(f"{options.family}_{options.split}.pt")
    if options.epochs is None:
        options.epochs = RECIPES[options.family].epochs
    return options


def check(options: argparse.Namespace) -> None:
    """Refuse what would only fail after an epoch, or with a traceback."""
    for name in ("epochs", "threads"):
        if getattr(options, name) < 1:
            raise UsageError(f"--{name}", f"{getattr(options, name)} is less than one")
    if not 0 <= options.seed < 2**63:
        raise UsageError("--seed", f"{options.seed} is not in 0 … 2^63 - 1")
    if options.out.suffix != ".pt":
        raise UsageError("--out", f"{options.out} does not end in .pt")
    if not options.out.parent.is_dir():
        raise UsageError("--out", f"there is no folder {options.out.parent}")
    try:
        torch.empty(0, device=options.device)
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        raise UsageError("--device", f"torch has no {options.device!r} here") from error


def run(options: argparse.Namespace, command: str) -> str:
    """Train, write checkpoint and card, and say what was reached."""
    check(options)
    torch.set_num_threads(options.threads)
    windows, split = data.load_windows(options.split, options.data)
    training = Training(options.family, windows, split, epochs=options.epochs, seed=options.seed, device=options.device)
    unfinished = unfinished_of(options.out)
    if options.resume:
        training.restore(unfinished)
    with progress(training.epochs, training.epoch) as report:
        while training.epoch < training.epochs:
            loss, reached = training.run_epoch()
            training.save(unfinished)
            report(training.epoch, loss, reached)
    model = training.best_model()
    test = accuracy(Classifier(model), windows, split.test, "cpu")
    models.save(model, options.out)
    write_card(
        options.out,
        {
            "family": options.family,
            "data": windows.source,
            "data_licence": "none, generated" if options.split == "synthetic" else "data licence unverified",
            "split": options.split,
            "windows": {"train": len(split.train), "validation": len(split.validation), "test": len(split.test)},
            "seed": options.seed,
            "epochs": training.epochs,
            "validation_accuracy_percent": training.best,
            "test_accuracy_percent": test,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "training_minutes": training.seconds / 60,
            "command": command,
            "torch": torch.__version__,
            "recipe": asdict(RECIPES[options.family]),
            "io": model.io,
        },
    )
    unfinished.unlink()
    figures = f"validation {training.best:.2f} %, test {test:.2f} %"
    return f"{options.out}: {windows.source}, split {options.split}: {figures}"


def unfinished_of(out: Path) -> Path:
    """Where a run that writes `out` keeps its state until it is done."""
    return out.with_suffix(".training.pt")


def main(arguments: list[str] | None = None) -> int:
    """Train as `arguments` say; 0 done, 2 bad usage or input, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse(arguments)
    lasting = [argument for argument in arguments if argument != "--resume"]
    command = shlex.join(["python", "-m", "examples.har.train", *lasting])
    return answered(lambda: _train(options, command))


def _train(options: argparse.Namespace, command: str) -> int:
    try:
        print(run(options, command))
    except KeyboardInterrupt:
        left = unfinished_of(options.out)
        how = f"go on with: {command} --resume" if left.is_file() else "no epoch was finished, nothing is kept"
        print(f"interrupted; {how}", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
