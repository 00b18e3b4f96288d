"""Checkpoints of associative memories: a matrix of patterns, bare or under a prefix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from edgekit.errors import ModelError
from edgekit.models.checkpoints import Recognised, agree, prefixes, unprefixed
from edgekit.models.memory import Memory
from edgekit.models.settings import check_keys

PATTERNS = "patterns"


def matches(weights: Mapping[str, Tensor]) -> bool:
    """True for a key `patterns`."""
    return bool(prefixes(weights, PATTERNS))


def recognise(weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> Recognised:
    """Read stored patterns [M, N]; exponential separation with sharpness 1 is assumed when `config` tells no other."""
    check_keys("memory config", config, Memory.config_keys)
    weights = unprefixed(weights, prefixes(weights, PATTERNS), "memory")
    patterns = weights[PATTERNS]
    if patterns.ndim != 2:
        raise ModelError("checkpoint", f"patterns are {list(patterns.shape)}, not [capacity, inputs]")
    told = {"inputs": patterns.shape[1], "capacity": patterns.shape[0]}
    agree(config, told)
    assumed: dict[str, object] = {}
    if "power" not in config and "sharpness" not in config:
        assumed = {"power": None, "sharpness": 1.0}
    module = Memory.from_config({**config, **told})
    return Recognised(module.config, weights, assumed)
