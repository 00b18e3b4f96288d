"""The model of each family for wrist motion, and how it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """The model's `config` and how it is trained; `rotation` in degrees, `scaling` as a share of the signal."""

    config: dict[str, Any]
    layout: str
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
        epochs=60,
        learning_rate=4e-3,
        weight_decay=1e-2,
        rotation=15.0,
        scaling=0.1,
        label_smoothing=0.05,
    ),
    "lmu": Recipe(
        config={
            **{"inputs": 6, "hidden": 64, "memory": 12, "order": 6, "theta": 40.0, "outputs": 7},
            **{"readout": "mean", "dropout": 0.2},
        },
        layout="sequence",
        epochs=60,
        learning_rate=5e-3,
        weight_decay=1e-2,
        rotation=20.0,
        scaling=0.1,
        label_smoothing=0.05,
    ),
    "elm": Recipe(
        config={
            **{"inputs": 6, "outputs": 7, "memory": 64, "hidden": 128, "version": "v2"},
            **{"branches": 24, "routing": "tile", "tau": [tau for tau in (0.5, 2.0, 6.0, 15.0) for _ in range(6)]},
            **{"memory_tau_max": 150.0, "learn_memory_tau": True, "readout": "mean", "dropout": 0.2},
        },
        layout="sequence",
        epochs=50,
        learning_rate=3e-3,
        weight_decay=5e-2,
        rotation=20.0,
        scaling=0.1,
        label_smoothing=0.05,
    ),
}
