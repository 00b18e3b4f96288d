"""The file that carries a training over an interruption: all that the next epoch depends on, whole or not at all."""

from __future__ import annotations

import io
import platform
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgekit._version import __version__
from edgekit.artifact.atomic import write_atomic
from edgekit.compress.recipes import Recipe
from edgekit.errors import UsageError
from edgekit.ir import Graph
from edgekit.tune.fitting import Epoch, Fit, Fitted

FORMAT = "edgekit.tuning"
START_OVER = "leave --resume out to start over"


def settings_of(fit: Fit) -> dict[str, Any]:
    """What has to be equal for a training to go on: each by a name that an error can list."""
    return {
        "format": FORMAT,
        "edgekit": __version__,
        "torch": str(torch.__version__),
        "machine": platform.machine(),
        "model": fit.step.graph.hash(),
        "recipe": repr(fit.rounding.recipe),
        "tuning": asdict(fit.tuning),
        "training data": fit.data.train.digest(),
        "validation data": fit.data.valid.digest(),
        "teacher": None if fit.teacher is None else fit.teacher.identity(),
        "augmentation": fit.hooks.augment_name,
        "nested widths": repr(fit.hooks.nesting and [(g.name, counts) for g, counts in fit.hooks.nesting.groups]),
    }


def save(fit: Fit, path: Path) -> None:
    """Write the training as it stands after an epoch."""
    best = fit.best
    content = {
        "settings": settings_of(fit),
        "parts": {name: part.state_dict() for name, part in _parts(fit).items()},
        "generator": fit.generator.get_state(),
        "history": [asdict(epoch) for epoch in fit.history],
        "masks": _tensors(fit.rounding.masks),
        "settled": None if fit.settled is None else _pins(fit.settled),
        "best": {
            "number": best.best,
            "accuracy": best.accuracy,
            "constants": _tensors({n: t.data for n, t in best.graph.consts.items()}),
            "pins": _pins(best.recipe),
            "masks": _tensors(best.masks),
        },
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomic(path, buffer.getvalue())


def restore(fit: Fit, path: Path) -> None:
    """Have a training go on where the one that `save` wrote stood.

    UsageError when there is no such file, when it is damaged, or when it is of a training with other settings.
    """
    if not path.is_file():
        raise UsageError("--resume", f"{path} does not exist: no interrupted run to go on with", START_OVER)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found = content["settings"]
        assert found["format"] == FORMAT
    except Exception as error:  # a damaged file raises RuntimeError, EOFError, KeyError, UnpicklingError and others
        raise UsageError("--resume", f"{path} is damaged, or no interrupted run", START_OVER) from error
    if other := [name for name, value in settings_of(fit).items() if found.get(name) != value]:
        raise UsageError("--resume", f"{path} is of a run with another {', '.join(other)}", START_OVER)
    for name, part in _parts(fit).items():
        part.load_state_dict(content["parts"][name])
    fit.generator.set_state(content["generator"])
    fit.history = [Epoch(**epoch) for epoch in content["history"]]
    fit.rounding = replace(fit.rounding, masks=_arrays(content["masks"]))
    best = content["best"]
    graph = _with_constants(fit.step.graph, best["constants"])
    recipe = _pinned(fit.rounding.recipe, best["pins"])
    fit.settled = None if content["settled"] is None else _pinned(fit.rounding.recipe, content["settled"])
    fit.best = Fitted(graph, recipe, _arrays(best["masks"]), best["number"], best["accuracy"], ())


def _parts(fit: Fit) -> dict[str, Any]:
    """What changes while training and keeps a state dict."""
    return {
        "network": fit.network,
        "averaged": fit.averaged,
        "optimiser": fit.optimiser,
        "schedule": fit.schedule,
    }


def _pins(recipe: Recipe) -> dict[str, Any]:
    """What a training has settled of a recipe."""
    return {
        "units": _tensors(recipe.units),
        "scales": _tensors(recipe.scales),
        "palettes": {n: p if isinstance(p, int) else list(p) for n, p in recipe.palettes.items()},
    }


def _pinned(recipe: Recipe, pins: Mapping[str, Any]) -> Recipe:
    return replace(
        recipe,
        units=_arrays(pins["units"]),
        scales=_arrays(pins["scales"]),
        palettes={n: p if isinstance(p, int) else tuple(p) for n, p in pins["palettes"].items()},
    )


def _tensors(arrays: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


def _arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _with_constants(graph: Graph, constants: Mapping[str, torch.Tensor]) -> Graph:
    tensors = dict(graph.tensors)
    tensors |= {name: replace(tensors[name], data=data.numpy()) for name, data in constants.items()}
    return graph.replace(tensors=tensors)
