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
        "model": fit.step.identity(),
        "recipe": _told(fit.rounding.recipe),
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
    damaged = UsageError("--resume", f"{path} is damaged, or no interrupted run", START_OVER)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found = content["settings"]
        if found["format"] != FORMAT:
            raise damaged
    except Exception as error:  # a damaged file raises RuntimeError, EOFError, KeyError, UnpicklingError and others
        raise damaged from error
    if other := [name for name, value in settings_of(fit).items() if found.get(name) != value]:
        raise UsageError("--resume", f"{path} is of a run with another {', '.join(other)}", START_OVER)
    try:
        _take(fit, content)
    except Exception as error:  # and one that somebody wrote raises whatever its parts are good for
        raise damaged from error


def _take(fit: Fit, content: Mapping[str, Any]) -> None:
    """Put what a checkpoint holds in its place; some exception where it does not fit there."""
    for name, part in _parts(fit).items():
        part.load_state_dict(content["parts"][name])
    for parameter, state in fit.optimiser.state.items():
        if any(value.shape not in (parameter.shape, ()) for value in state.values()):
            raise ValueError("optimiser")
    fit.generator.set_state(content["generator"])
    fit.history = [Epoch(int(e["number"]), float(e["loss"]), float(e["accuracy"])) for e in content["history"]]
    graph, best = fit.step.graph, content["best"]
    if [epoch.number for epoch in fit.history] != list(range(1, len(fit.history) + 1)):
        raise ValueError("history")
    if best["number"] not in range(len(fit.history) + 1):
        raise ValueError("best")
    fit.rounding = replace(fit.rounding, masks=_masks(graph, content["masks"]))
    recipe = _pinned(fit.rounding.recipe, best["pins"])
    fit.settled = None if content["settled"] is None else _pinned(fit.rounding.recipe, content["settled"])
    known = _with_constants(graph, best["constants"])
    fit.best = Fitted(known, recipe, _masks(graph, best["masks"]), best["number"], float(best["accuracy"]), ())


def _told(recipe: Recipe) -> str:
    """A recipe as a text, in which a set is in order: its own order hangs on the hashes of a process."""
    return f"{replace(recipe, alone=frozenset())!r} {sorted(recipe.alone)}"


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


def _masks(graph: Graph, tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    found = _arrays(tensors)
    if any(mask.shape != graph.tensors[name].shape or mask.dtype != bool for name, mask in found.items()):
        raise ValueError("masks")
    return found


def _with_constants(graph: Graph, constants: Mapping[str, torch.Tensor]) -> Graph:
    """The graph with other data in its constants, each of the shape and type that it had."""
    tensors, known = dict(graph.tensors), graph.consts
    for name, data in _arrays(constants).items():
        before = np.asarray(known[name].data)
        if (data.shape, data.dtype) != (before.shape, before.dtype):
            raise ValueError(name)
        tensors[name] = replace(tensors[name], data=data)
    return graph.replace(tensors=tensors)
