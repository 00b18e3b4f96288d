"""Checkpoints of the published ELM neuron, v1 and v2, bare or under the prefix of the module that held it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from edgekit.errors import ModelError
from edgekit.models.checkpoints import Recognised, agree, prefixes, skeleton, unprefixed
from edgekit.models.elm import ELM, filter_times
from edgekit.models.routing import route
from edgekit.models.settings import check_keys, check_size

ANCHOR = "_proto_w_s"
UNBOUNDED = ("_proto_tau_m",)
"""In float32 the published initial value of the slowest memory is often +inf: the upper end of its range."""

PUBLISHED = {
    "num_input": "inputs",
    "num_output": "outputs",
    "num_memory": "memory",
    "mlp_hidden_size": "hidden",
    "mlp_num_layers": "layers",
    "mlp_activation": "activation",
    "num_branch": "branches",
    "num_synapse_per_branch": "synapses",
    "input_to_synapse_routing": "routing",
    "delta_t": "dt",
}
"""Key of the published model_config.json -> key here; keys with the same name are not listed."""

INITIAL = ("tau_s_value", "tau_b_value")
"""Published keys that only start a training: the weights hold what became of them."""

UNTOLD = ("activation", "dt", "lambda_value", "memory_tau_min", "memory_tau_max", "readout")
"""What a state dict says nothing about; all have published defaults."""


def matches(weights: Mapping[str, Tensor]) -> bool:
    """True for the published layout, bare or under a prefix."""
    return bool(prefixes(weights, ANCHOR))


def recognise(weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> Recognised:
    """Read a published checkpoint; `config` may be the model_config.json beside it.

    Sizes come from shapes, v1 from tau_s and v2 from tau_b, the routing from its table. What the weights do not tell
    has published defaults, which are assumed, but for the number of inputs of a random routing.
    """
    config = _translated(config)
    weights = _normalised(unprefixed(weights, prefixes(weights, ANCHOR), "ELM neuron"))
    told = _sizes(weights)
    told |= _routed(weights, config, told)
    agree(config, told)
    told["tau"] = _filter_tau(weights, config, told)
    full = skeleton("elm", {**config, **told}).config
    return Recognised(full, weights, {key: full[key] for key in UNTOLD if key not in config})


def _translated(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` in the names used here, without what is null (the default) or an initial value."""
    check_keys("elm config", config, (*ELM.config_keys, *PUBLISHED, *INITIAL))
    own: dict[str, Any] = {}
    for key, value in config.items():
        if value is None or key in INITIAL:
            continue
        name = PUBLISHED.get(key, key)
        known = value.removesuffix("_routing") if name == "routing" and isinstance(value, str) else value
        if own.setdefault(name, known) != known:
            raise ModelError("elm config", f"{name} is given twice, as {own[name]!r} and as {known!r}")
    return own


def _normalised(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The routing tables as int64 and bool, whatever integers they were stored as; empty ones are often float32."""
    tables = {"input_to_synapse_indices": torch.int64, "valid_indices_mask": torch.bool}
    known = {name: weights[name] for name in tables if name in weights}
    integers = {name: table for name, table in known.items() if not (table.is_floating_point() and table.numel())}
    return {**weights, **{name: table.to(tables[name]) for name, table in integers.items()}}


def _sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The version, and every size that shapes tell."""
    tau = "tau_s" if "tau_s" in weights else "tau_b"
    ranks = {ANCHOR: 1, tau: 1, "_proto_tau_m": 1, "mlp.network.0.weight": 2, "w_y.weight": 2}
    faults = [f"missing: {key}" for key in ranks if key not in weights]
    faults += [
        f"{key}: {list(weights[key].shape)} is not a {'vector' if rank == 1 else 'matrix'}"
        for key, rank in ranks.items()
        if key in weights and weights[key].ndim != rank
    ]
    if not faults:
        synapses, memory = len(weights[ANCHOR]), len(weights["_proto_tau_m"])
        branches = weights["mlp.network.0.weight"].shape[1] - memory
        filters = synapses if tau == "tau_s" else branches
        if branches < 1 or not synapses or synapses % branches or len(weights[tau]) != filters:
            faults = [
                f"{ANCHOR} tells {synapses} synapses, _proto_tau_m {memory} memories, mlp.network.0.weight then "
                f"{branches} branches, and {tau} has {len(weights[tau])} values"
            ]
    if faults:
        raise ModelError("checkpoint", "is not a complete ELM", items=faults)
    return {
        "version": "v1" if tau == "tau_s" else "v2",
        "outputs": len(weights["w_y.weight"]),
        "memory": memory,
        "hidden": len(weights["mlp.network.0.weight"]),
        "layers": sum(re.fullmatch(r"mlp\.network\.\d+\.weight", key) is not None for key in weights) - 1,
        "branches": branches,
        "synapses": synapses // branches,
    }


def _routed(weights: Mapping[str, Tensor], config: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """The routing that makes the stored table and the number of inputs; a table that none makes was drawn at random."""
    table, mask = (weights.get(key) for key in ("input_to_synapse_indices", "valid_indices_mask"))
    count = len(weights[ANCHOR])
    if table is None or mask is None or not len(table):
        return {"routing": "none", "inputs": count}
    if "inputs" in config:
        check_size("elm inputs", config["inputs"])
    last = int(table.max())
    # neuronio never reads the last of an odd number of inputs
    for inputs in [config["inputs"]] if "inputs" in config else [last + 1, last + 2]:
        for routing in ("neuronio", "tile"):
            if not 0 < inputs <= count:  # more inputs than synapses: neither routing leaves inputs unread
                continue
            own = route(routing, inputs, told["branches"], told["synapses"])
            if torch.equal(own[0], table) and torch.equal(own[1], mask):
                return {"routing": routing, "inputs": inputs}
    check_keys("elm config", config, ELM.config_keys, required=("inputs",))
    return {"routing": "random", "inputs": config["inputs"]}


def _filter_tau(
    weights: Mapping[str, Tensor], config: Mapping[str, Any], told: Mapping[str, Any]
) -> float | list[float]:
    """The stored filter times: one number where all are equal, one a branch where those of a branch are, else all."""
    key = "tau_s" if told["version"] == "v1" else "tau_b"
    stored, synapses = weights[key], told["synapses"]
    if "tau" in config:
        given = filter_times(config["tau"], told["version"], told["branches"], synapses)
        if not torch.equal(given, stored):
            fault = f"tau: config says {config['tau']!r}, {key} holds {stored.min():g} to {stored.max():g}"
            raise ModelError("config", "disagrees with the weights", "leave these keys out", items=[fault])
        return config["tau"]  # type: ignore[no-any-return]
    if len(stored) and bool((stored == stored[0]).all()):
        return float(stored[0])
    by_branch = stored.view(-1, synapses) if key == "tau_s" else stored[:, None]
    same = bool((by_branch == by_branch[:, :1]).all())
    return [float(value) for value in (by_branch[:, 0] if same else stored)]
