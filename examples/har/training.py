"""Training of one model, an epoch at a time, and the file that carries a run over an interruption."""

from __future__ import annotations

import copy
import io
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgekit import models
from edgekit.artifact.atomic import write_atomic
from edgekit.demo.har.windows import Split, Windows
from edgekit.errors import UsageError
from examples.har.batches import Batches
from examples.har.classifier import Classifier, Normalisation, accuracy, io_section
from examples.har.recipes import RECIPES

START_OVER = "leave --resume out to start over"


class Training:
    """A run of `epochs` epochs by the recipe of `family`: AdamW under a one-cycle schedule.

    What is validated, and kept when it is the best so far, is the running average of the weights. On the CPU, one seed
    and one number of threads give one result, bit for bit, whether the run was interrupted or not.
    """

    def __init__(
        self, family: str, windows: Windows, split: Split, *, epochs: int, seed: int, device: str = "cpu"
    ) -> None:
        torch.manual_seed(seed)
        recipe = RECIPES[family]
        model = models.build(family, recipe.config)
        model.io = io_section(model, recipe.layout, Normalisation.of(windows.x[split.train]), windows.class_names)
        self.epochs, self.epoch, self.seconds, self.best = epochs, 0, 0.0, -1.0
        self._best_weights: dict[str, torch.Tensor] = {}
        self._recipe, self._windows, self._split, self._device = recipe, windows, split, device
        self._batches = Batches.of(windows, split.train, recipe, device)
        self._classifier = Classifier(model).to(device)
        self._averaged = copy.deepcopy(self._classifier)
        self._optimiser = torch.optim.AdamW(
            self._classifier.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimiser, recipe.learning_rate, total_steps=epochs * len(self._batches), pct_start=0.15
        )
        self._generator = torch.Generator().manual_seed(seed)
        self._settings = {
            **{"family": family, "data": windows.source, "windows": len(split.train), "epochs": epochs, "seed": seed},
            **{"device": device, "threads": torch.get_num_threads()},
            **{"recipe": asdict(recipe), "io": model.io},
        }

    def run_epoch(self) -> tuple[float, float]:
        """Train on every window once: (mean loss, validation accuracy of the averaged weights in per cent)."""
        started = time.monotonic()
        loss = self._fit()
        reached = accuracy(self._averaged, self._windows, self._split.validation, self._device)
        if reached > self.best:
            self.best = reached
            weights = self._averaged.model.state_dict()
            self._best_weights = {key: value.cpu().clone() for key, value in weights.items()}
        self.epoch += 1
        self.seconds += time.monotonic() - started
        return loss, reached

    def best_model(self) -> Any:
        """The eval-mode model of the best validation epoch so far, with its `io`, on the CPU."""
        model = copy.deepcopy(self._averaged.model).cpu()
        model.load_state_dict(self._best_weights)
        return model.eval()

    def save(self, path: Path) -> None:
        """Write all that the next epoch depends on to `path`, whole or not at all."""
        content = {
            "settings": self._settings,
            "reached": {"epoch": self.epoch, "seconds": self.seconds, "best": self.best},
            "best_weights": self._best_weights,
            "state_dicts": {name: part.state_dict() for name, part in self._parts().items()},
            "generators": {"augmentation": self._generator.get_state(), "dropout": torch.get_rng_state()},
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_atomic(path, buffer.getvalue())

    def restore(self, path: Path) -> None:
        """Go on where the run that `save` wrote to `path` stood.

        UsageError when there is no such file, when it is damaged, or when it is of a run with other settings.
        """
        if not path.is_file():
            raise UsageError("--resume", f"{path} does not exist: no interrupted run to go on with", START_OVER)
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            settings = content["settings"]
        # A damaged file raises RuntimeError, EOFError, KeyError, UnpicklingError and others.
        except Exception as error:
            raise UsageError("--resume", f"{path} is damaged or no training state", START_OVER) from error
        if differing := [name for name, value in self._settings.items() if settings.get(name) != value]:
            raise UsageError("--resume", f"{path} is of a run with other settings", START_OVER, items=differing)
        for name, part in self._parts().items():
            part.load_state_dict(content["state_dicts"][name])
        self.epoch, self.seconds, self.best = (content["reached"][name] for name in ("epoch", "seconds", "best"))
        self._best_weights = content["best_weights"]
        self._generator.set_state(content["generators"]["augmentation"])
        torch.set_rng_state(content["generators"]["dropout"])

    def _parts(self) -> dict[str, Any]:
        """What changes while training and keeps a state dict."""
        return {
            "model": self._classifier,
            "averaged": self._averaged,
            "optimiser": self._optimiser,
            "schedule": self._schedule,
        }

    def _fit(self) -> float:
        """One pass over the training windows: the mean loss."""
        self._classifier.train()
        total = 0.0
        for x, y in self._batches.epoch(self._generator):
            loss = nn.functional.cross_entropy(self._classifier(x), y, label_smoothing=self._recipe.label_smoothing)
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self._classifier.parameters(), 1.0)
            self._optimiser.step()
            self._schedule.step()
            with torch.no_grad():
                for mean, value in zip(self._averaged.parameters(), self._classifier.parameters(), strict=True):
                    mean.lerp_(value, 1 - self._recipe.average)
            total += loss.item() * len(y)
        return total / len(self._batches.y)
