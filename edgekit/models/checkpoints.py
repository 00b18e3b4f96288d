"""State dicts of other people's checkpoints: recognise the family, complete the configuration, fill the module."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor

from edgekit.errors import ModelError
from edgekit.models import FAMILIES, build

MAX_LISTED = 20


class Recognised(NamedTuple):
    """What a family reads out of a state dict: its configuration, weights under its own names, and what it assumed."""

    config: dict[str, Any]
    weights: dict[str, Tensor]
    assumed: dict[str, object]


def from_checkpoint(
    state_dict: Mapping[str, Tensor], config: Mapping[str, Any] | None = None
) -> tuple[Any, dict[str, object]]:
    """The eval-mode module of the family that `state_dict` belongs to, and what was assumed because nothing says it.

    `config` supplies what weights do not tell and may carry `io`; where it and the weights disagree, or where keys are
    missing, unused, not finite or of a wrong shape, one ModelError lists them all. Weights become float32, as stored.
    """
    options = dict(config or {})
    io = options.pop("io", None)
    weights, assumed = as_float32(state_dict)
    for family in FAMILIES:
        layout = import_module(f"edgekit.models.{family}_layout")
        if layout.matches(weights):
            found: Recognised = layout.recognise(weights, options)
            module = restore(family, found.config, found.weights)
            module.io = io
            return module, {**assumed, **found.assumed}
    raise ModelError(
        "checkpoint", f"its {len(weights)} keys belong to no known family ({', '.join(FAMILIES)})", items=_some(weights)
    )


def restore(family: str, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Any:
    """The eval-mode module of `config` holding a copy of `weights`; what does not fit is one ModelError that lists it.

    The module is built without storage and then given the weights, so that sizes in a file reserve no memory.
    """
    with torch.device("meta"):
        module = build(family, config)
    own = module.state_dict()
    faults = [f"missing: {key} {list(own[key].shape)}" for key in own if key not in weights]
    faults += [f"not used: {key} {list(weights[key].shape)}" for key in weights if key not in own]
    for key in [key for key in own if key in weights]:
        if weights[key].shape != own[key].shape:
            faults.append(f"shape: {key} is {list(weights[key].shape)}, expected {list(own[key].shape)}")
        elif weights[key].dtype != own[key].dtype:
            faults.append(f"dtype: {key} is {weights[key].dtype}, expected {own[key].dtype}")
    if faults:
        raise ModelError("checkpoint", f"{len(faults)} key(s) do not fit the model", items=_some(faults))
    module.load_state_dict({key: value.clone() for key, value in weights.items()}, assign=True)
    return module.eval()


def agree(config: Mapping[str, Any], told: Mapping[str, Any]) -> None:
    """Refuse a user's `config` that contradicts what the weights told."""
    faults = [
        f"{key}: config says {config[key]!r}, the weights say {told[key]!r}"
        for key in told
        if key in config and config[key] != told[key]
    ]
    if faults:
        raise ModelError("config", "disagrees with the weights", "leave these keys out", items=faults)


def as_float32(state_dict: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Float weights as float32, integers as they are; anything else, or a NaN or Inf, is refused."""
    faults, weights, narrowed = [], {}, set()
    for key, value in state_dict.items():
        if not isinstance(value, Tensor) or value.is_complex() or value.is_quantized:
            faults.append(f"{key}: {type(value).__name__} is not a real tensor")
            continue
        if value.is_floating_point() and value.dtype != torch.float32:
            narrowed.add(str(value.dtype).removeprefix("torch."))
        weights[key] = value.detach().to(torch.float32) if value.is_floating_point() else value.detach()
        if not torch.isfinite(weights[key]).all():
            faults.append(f"{key}: holds a NaN or Inf")
    if faults:
        raise ModelError("checkpoint", f"{len(faults)} unusable value(s)", items=_some(faults))
    return weights, {"weights": f"float32, from {', '.join(sorted(narrowed))}"} if narrowed else {}


def _some(items: Mapping[str, Any] | list[str]) -> list[str]:
    listed = list(items)
    return listed[:MAX_LISTED] + ([f"... and {len(listed) - MAX_LISTED} more"] if len(listed) > MAX_LISTED else [])
