"""Tiny models of every family with labelled windows that they can learn: what the tests of fine-tuning share."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

from edgekit import models
from edgekit.frontends import Imported, import_module
from edgekit.tune.model import step_of
from edgekit.tune.windows import Data, Step, Windows

CLASSES, LENGTH, CHANNELS = 3, 12, 3
CONFIGS: dict[str, dict[str, Any]] = {
    "mlp": {"sizes": [LENGTH * CHANNELS, 24, CLASSES]},
    "lmu": {"inputs": 3, "hidden": 12, "memory": 3, "order": 4, "theta": 8.0, "outputs": 3, "readout": "mean"},
    "l2mu": {"inputs": 3, "hidden": 16, "memory": 8, "order": 3, "outputs": 3, "theta": 8.0},
    "elm": {
        **{"inputs": 3, "outputs": 3, "memory": 8, "hidden": 16, "version": "v2", "branches": 6, "routing": "tile"},
        **{"memory_tau_max": 20.0, "learn_memory_tau": True, "readout": "mean"},
    },
}
FAMILIES = tuple(CONFIGS)


@lru_cache
def imported(family: str) -> Imported:
    """A model with random weights, its graph and io section."""
    torch.manual_seed(5)
    model = models.build(family, CONFIGS[family]).eval()
    flat = family == "mlp"
    model.io = {
        "input": {
            "offset": [0.5, -0.5, 0.0],
            "scale": [1.0, 0.5, 2.0],
            **{"window": LENGTH, "stride": LENGTH, "layout": "flattened" if flat else "sequence"},
            **({} if flat else {"rate_hz": 20.0}),
        },
        "decision": {"mlp": "last", "l2mu": "sum"}.get(family, "mean"),
        "classes": ["a", "b", "c"],
    }
    return import_module(model, None, name=f"tiny_{family}", dt=None if flat else 0.05)


@lru_cache
def step(family: str) -> Step:
    return step_of(imported(family))


@lru_cache
def windows(count: int, seed: int) -> Windows:
    """Waves whose frequency is the class, in noise, in raw units."""
    random = np.random.default_rng(seed)
    y = random.integers(0, CLASSES, count)
    phase, t = random.random((count, 1, CHANNELS)), np.arange(LENGTH)[None, :, None]
    wave = np.sin(2 * np.pi * (phase + t * (1 + y[:, None, None]) / LENGTH))
    x = wave / [1.0, 0.5, 2.0] + [0.5, -0.5, 0.0] + 0.2 * random.standard_normal(wave.shape)
    return Windows(x.astype(np.float32), y)


def data(train: int = 192, valid: int = 96) -> Data:
    return Data(windows(train, 1), windows(valid, 2))
