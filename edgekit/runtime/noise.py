"""Noise for a program that comes without data: of the spread that its normalisation expects."""

from __future__ import annotations

import numpy as np

from edgekit.reference.compare import ACTIVITY
from edgekit.runtime.facts import Facts
from edgekit.runtime.streams import Array


def noise(facts: Facts, *axes: int) -> list[Array]:
    """For each input of the step noise [*axes, *shape] in raw units; the same every time."""
    rng, made = np.random.default_rng(0), []
    for port in facts.io["inputs"]:
        x = rng.normal(size=(*axes, *port["shape"]))
        if port["dtype"] == "spike":
            x = np.asarray(rng.random(x.shape) < ACTIVITY)
        elif port.get("scale"):
            repeats = port["shape"][-1] // len(port["scale"])
            x = x / np.tile(port["scale"], repeats) + np.tile(port["offset"], repeats)
        made.append(x.astype(np.float32))
    return made
