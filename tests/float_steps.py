"""Optimised float steps of a tiny model of each family, with random weights, and what they say to noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from edgekit.ir import Graph
from edgekit.passes.pipelines import FOR_INTEGERS, OPTIMISE, run_passes
from edgekit.reference import Interpreter

SNN = "snntorch"
CONFIGS: dict[str, dict[str, Any]] = {
    "mlp": {"sizes": [36, 24, 3]},
    "lmu": {"inputs": 3, "hidden": 12, "memory": 3, "order": 4, "theta": 8.0, "outputs": 3, "readout": "mean"},
    "l2mu": {"inputs": 3, "hidden": 16, "memory": 8, "order": 3, "outputs": 3, "theta": 8.0},
    "elm": {
        **{"inputs": 3, "outputs": 3, "memory": 8, "hidden": 16, "version": "v2", "branches": 6, "routing": "tile"},
        **{"memory_tau_max": 20.0, "learn_memory_tau": True, "readout": "mean"},
    },
}
STEPS = (*CONFIGS, SNN)


@lru_cache
def float_step(family: str) -> Graph:
    """The step as rules of a recipe find it."""
    torch = pytest.importorskip("torch")
    from edgekit import models
    from edgekit.frontends import import_module

    torch.manual_seed(5)
    if family == SNN:
        snn = pytest.importorskip("snntorch")
        leaky = {"beta": 0.8, "threshold": 0.4, "init_hidden": True}
        layers = [torch.nn.Linear(5, 9), snn.Leaky(**leaky), torch.nn.Linear(9, 4), snn.Leaky(**leaky)]
        imported = import_module(torch.nn.Sequential(*layers), torch.randn(2, 5), name="snn")
    else:
        imported = import_module(models.build(family, CONFIGS[family]).eval(), None, name=f"tiny_{family}")
    return run_passes(imported.graph, (*OPTIMISE, *FOR_INTEGERS))


def noise(graph: Graph, count: int = 6, steps: int = 14) -> dict[str, np.ndarray]:
    """Inputs [count, steps, *shape]."""
    random = np.random.default_rng(7)
    shapes = {n: graph.tensors[n].shape for n in graph.entries["step"].inputs}
    return {n: random.normal(scale=2, size=(count, steps, *s)).astype(np.float32) for n, s in shapes.items()}


def outputs(graph: Graph, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The first output of every step, [count, steps, *shape]."""
    run, found = Interpreter(graph), []
    count, steps = next(iter(inputs.values())).shape[:2]
    state = run.initial_state(count)
    for t in range(steps):
        made, state = run.execute({n: x[:, t] for n, x in inputs.items()}, state)
        found.append(made[graph.entries["step"].outputs[0]])
    return np.stack(found, 1)


def constant(graph: Graph, name: str) -> np.ndarray:
    """A copy of a constant."""
    return np.array(graph.tensors[name].data)


def with_constants(graph: Graph, data: Mapping[str, np.ndarray]) -> Graph:
    """The graph with other values of some constants."""
    tensors = {n: dataclasses.replace(t, data=data.get(n, t.data)) for n, t in graph.tensors.items()}
    return graph.replace(tensors=tensors)
