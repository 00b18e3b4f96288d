"""Checkpoints of plain MLPs: a Sequential's numbered layers, bare or under a prefix."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from edgekit.errors import ModelError
from edgekit.models.checkpoints import Recognised, agree
from edgekit.models.mlp import MLP
from edgekit.models.settings import check_keys

NUMBERED = re.compile(r"(?P<prefix>(?:.*\D)?)(?P<index>\d+)\.(?P<leaf>\w+)")
LEAVES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def matches(weights: Mapping[str, Tensor]) -> bool:
    """True for numbered layers such as `0.weight` or `net.fc1.weight`."""
    return any((match := NUMBERED.fullmatch(key)) and match["leaf"] == "weight" for key in weights)


def recognise(weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> Recognised:
    """Read a Sequential of linear layers, with or without batch normalisation, under any prefix.

    Assumed when `config` does not tell: relu where the numbering leaves room for an activation, and batch
    normalisation with eps 1e-5.
    """
    check_keys("mlp config", config, MLP.config_keys)
    layers = _numbered_layers(weights)
    linears = [index for index, leaves in layers.items() if "running_mean" not in leaves]
    norms = [index for index in layers if index not in linears]
    sizes = [layers[linears[0]]["weight"].shape[1], *(layers[index]["weight"].shape[0] for index in linears)]
    told: dict[str, Any] = {"sizes": sizes, "batch_norm": _norm_place(linears, norms)}
    told["bias"] = any("bias" in layers[index] for index in linears)
    agree(config, told)

    assumed: dict[str, object] = {"batch_norm_eps": 1e-5} if norms else {}
    if "activation" not in config and len(linears) > 1:
        between = [b - a - 1 - sum(a < norm < b for norm in norms) for a, b in pairwise(linears)]
        if min(between) < 1:
            check_keys("mlp config", config, MLP.config_keys, required=("activation",))
        assumed["activation"] = "relu"
    module = MLP.from_config({**config, **told})
    return Recognised(module.config, _renamed(module, layers), assumed)


def _numbered_layers(weights: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """{index: {leaf: tensor}} in order, after checking that these are linear layers that fit one another."""
    layers: dict[int, dict[str, Tensor]] = {}
    prefixes, faults = set(), []
    for key, tensor in weights.items():
        match = NUMBERED.fullmatch(key)
        if match is None or match["leaf"] not in LEAVES:
            faults.append(f"not used: {key} {list(tensor.shape)}")
            continue
        prefixes.add(match["prefix"])
        layers.setdefault(int(match["index"]), {})[match["leaf"]] = tensor
    if len(prefixes) > 1:
        faults.append("layers under more than one name: " + ", ".join(repr(prefix) for prefix in sorted(prefixes)))
    layers = dict(sorted(layers.items()))
    width = None
    for index, leaves in layers.items():
        weight = leaves.get("running_mean", leaves.get("weight"))
        if weight is None or weight.ndim != (1 if "running_mean" in leaves else 2):
            faults.append(f"layer {index} is neither linear nor batch normalisation")
            continue
        if width not in (None, weight.shape[-1]):
            faults.append(f"layer {index} takes {weight.shape[-1]} values, the one before gives {width}")
        width = weight.shape[0]
    if not faults and ("running_mean" in layers[min(layers)] or "running_mean" in layers[max(layers)]):
        faults.append("a batch normalisation before the first or after the last linear layer")
    if faults:
        raise ModelError("checkpoint", "is not a plain MLP", items=faults)
    return layers


def _norm_place(linears: list[int], norms: list[int]) -> str:
    """Where the numbering puts batch normalisation: right after every hidden linear layer, or behind its activation."""
    if not norms:
        return "none"
    owners = [max(index for index in linears if index < norm) for norm in norms]
    adjacent = {norm - owner == 1 for norm, owner in zip(norms, owners, strict=True)}
    if owners != linears[:-1] or len(adjacent) > 1:
        raise ModelError("checkpoint", "batch normalisation does not follow every hidden layer in the same way")
    return "before_activation" if adjacent == {True} else "after_activation"


def _renamed(module: MLP, layers: Mapping[int, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The weights under the module's own names; an absent bias is zero, an absent scale of a norm one."""
    own = module.state_dict()
    weights: dict[str, Tensor] = {}
    for norm in (False, True):
        kind = nn.BatchNorm1d if norm else nn.Linear
        names = [name for name, layer in module.network.named_children() if isinstance(layer, kind)]
        found = [leaves for leaves in layers.values() if ("running_mean" in leaves) == norm]
        for name, leaves in zip(names, found, strict=True):
            key = f"network.{name}."
            absent = {"bias": torch.zeros(len(own[f"{key}weight"]))} if f"{key}bias" in own else {}
            if norm:
                absent |= {leaf: own[key + leaf] for leaf in ("weight", "num_batches_tracked")}
            weights |= {key + leaf: value for leaf, value in {**absent, **leaves}.items()}
    return weights
