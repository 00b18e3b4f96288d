"""Hostile graphs in well-formed artifacts: whatever graph.json says, it is refused with an EdgekitError or it runs."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import pytest
from graph_samples import busy_graph

from edgekit.errors import EdgekitError
from edgekit.ir import from_document, to_document
from edgekit.reference import Interpreter

VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3, 7, 2**31, -(2**31), 2**40, 2**62, 0.0, -0.5, 1e30, 1e-30),
    *("", "x", "y", "u", "step", "linear", "add", "mul", "gt", "float32", "spike", "int8", "keep", "../x", "\0"),
    *("form", "event", "dense", "spike", "sigmoid", "axis"),
    *([], {}, [0], [1, 2], [-1], [[0, 1]], ["x"], {"a": 1}, [2**40], [2**20, 2**20]),
]


def _mutate(value: Any, rng: random.Random) -> Any:
    """`value` with one thing in it replaced, removed, doubled or swapped."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        if rng.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: _mutate(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        if rng.random() < 0.1:
            return [*value[:at], *value[at + 1 :]]
        if rng.random() < 0.1:
            return [*value, copy.deepcopy(value[at])]
        return [*value[:at], _mutate(value[at], rng), *value[at + 1 :]]
    return copy.deepcopy(rng.choice(VALUES))


@pytest.mark.parametrize("seed", range(4))
def test_mutated_graphs(seed, drawn_seed):
    rng = random.Random(f"{drawn_seed}-{seed}")
    document, weights = to_document(busy_graph())
    accepted = 0
    for _ in range(500):
        mutated = document
        for _ in range(rng.choice([1, 1, 1, 2, 5])):
            mutated = _mutate(mutated, rng)
        try:
            changed = from_document(mutated, weights)
        except EdgekitError:
            continue
        accepted += 1
        if sum(t.size for t in changed.tensors.values()) > 1 << 20:
            continue
        inputs = {n: np.zeros((1, 2, *changed.tensors[n].shape), np.float32) for n in changed.entries["step"].inputs}
        try:
            Interpreter(changed).run(inputs)
        except EdgekitError:
            continue
    assert accepted, "every mutation was refused: this tests nothing"


@pytest.mark.parametrize("shape", [[-1], [0], [2**40], [2**20, 2**20], [2**27] * 3])
def test_states_of_impossible_shapes_are_refused_before_memory_is_taken(shape):
    document, weights = to_document(busy_graph())
    for row in document["tensors"]:
        if row["name"] == "u":
            row["shape"] = shape
    with pytest.raises(EdgekitError):
        from_document(document, weights)
