"""State dicts of other people's checkpoints: recognise the family, complete the configuration, fill the module."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
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
    for family in FAMILIES:
        layout = import_module(f"edgekit.models.{family}_layout")
        if layout.matches(state_dict):
            weights, assumed = as_float32(state_dict, getattr(layout, "UNBOUNDED", ()))
            found: Recognised = layout.recognise(weights, options)
            module = restore(family, found.config, found.weights)
            module.io = io
            return module, {**assumed, **found.assumed}
    cause = f"its {len(state_dict)} keys belong to no known family ({', '.join(FAMILIES)})"
    raise ModelError("checkpoint", cause, items=_some(state_dict))


def restore(family: str, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Any:
    """The eval-mode module of `config` with a copy of `weights`; one ModelError lists what does not fit."""
    module = skeleton(family, config)
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
    if hasattr(module, "check_weights"):
        module.check_weights()
    return module.eval()


def skeleton(family: str, config: Mapping[str, Any]) -> Any:
    """The module of `config` without storage, to be given weights: sizes in a file reserve no memory."""
    try:
        with torch.device("meta"):
            return build(family, config)
    except RuntimeError as error:  # torch counts the bytes of every tensor in 64 bits
        raise ModelError(f"{family} config", "its sizes make a model that no computer can hold") from error


def agree(config: Mapping[str, Any], told: Mapping[str, Any]) -> None:
    """Refuse a user's `config` that contradicts what the weights told."""
    faults = [
        f"{key}: config says {config[key]!r}, the weights say {told[key]!r}"
        for key in told
        if key in config and config[key] != told[key]
    ]
    if faults:
        raise ModelError("config", "disagrees with the weights", "leave these keys out", items=faults)


def prefixes(keys: Iterable[str], anchor: str) -> list[str]:
    """What stands before `anchor` in every key that ends in it: empty, or the dotted name of the module around it."""
    heads = (key.removesuffix(anchor) for key in keys if key.endswith(anchor))
    return [head for head in heads if not head or head.endswith(".")]


def unprefixed(weights: Mapping[str, Tensor], found: list[str], thing: str) -> dict[str, Tensor]:
    """The weights without the one prefix in `found`; keys outside it stay. Several are several models, and refused."""
    if len(found) > 1:
        raise ModelError("checkpoint", f"holds {len(found)} {thing}s", "convert one at a time", items=_some(found))
    return {key.removeprefix(found[0]): value for key, value in weights.items()}


def as_float32(
    state_dict: Mapping[str, Any], unbounded: Collection[str] = ()
) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Float weights as float32, integers as they are; anything else, or a NaN, is refused, and so is an Inf.

    Weights whose last name is in `unbounded` may be infinite.
    """
    faults, weights, narrowed = [], {}, set()
    for key, value in state_dict.items():
        if not isinstance(value, Tensor) or value.is_complex() or value.is_quantized:
            faults.append(f"{key}: {type(value).__name__} is not a real tensor")
            continue
        if value.is_floating_point() and value.dtype != torch.float32:
            narrowed.add(str(value.dtype).removeprefix("torch."))
        weights[key] = value.detach().to(torch.float32) if value.is_floating_point() else value.detach()
        may_be_infinite = key.rpartition(".")[2] in unbounded
        if bool((weights[key].isnan() if may_be_infinite else ~weights[key].isfinite()).any()):
            faults.append(f"{key}: holds a NaN" + ("" if may_be_infinite else " or Inf"))
    if faults:
        raise ModelError("checkpoint", f"{len(faults)} unusable value(s)", items=_some(faults))
    return weights, {"weights": f"float32, from {', '.join(sorted(narrowed))}"} if narrowed else {}


def _some(items: Mapping[str, Any] | list[str]) -> list[str]:
    listed = list(items)
    return listed[:MAX_LISTED] + ([f"... and {len(listed) - MAX_LISTED} more"] if len(listed) > MAX_LISTED else [])
