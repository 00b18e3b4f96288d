"""Checkpoints of the published L2MU cell, bare or under the prefix of the module that held it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from edgekit.errors import ModelError
from edgekit.models.checkpoints import Recognised, agree, prefixes, skeleton, unprefixed
from edgekit.models.l2mu import L2MU, NEURON_DEFAULTS, POPULATIONS
from edgekit.models.settings import check_keys

ANCHOR = "e_x.weight"
LETTERS = {attribute: letter for letter, attribute in POPULATIONS.items()}
SNNTORCH_SETTINGS = {
    "reset_mechanism_val": ("reset", "subtract", 0),
    "graded_spikes_factor": ("graded spikes factor", 1, 1),
}
"""snnTorch's buffer -> what it sets, the only value an L2MU has here, and how the buffer holds that value."""


def matches(weights: Mapping[str, Tensor]) -> bool:
    """True for the published layout, bare or under a prefix such as `l2mu_cell.`: an LMU with spiking populations."""
    spiking = any(part.startswith("spk_") for key in weights for part in key.split("."))
    return spiking and bool(prefixes(weights, ANCHOR))


def recognise(weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> Recognised:
    """Read a published checkpoint: sizes from shapes, Synaptic where there is an alpha, A and B as stored.

    Assumed when nothing tells: subtractive reset, delayed one step, ungraded spikes, read-out by spike count.
    """
    check_keys("l2mu config", config, L2MU.config_keys)
    weights, assumed = _without_settings(unprefixed(weights, prefixes(weights, ANCHOR), "L2MU cell"))
    told = _sizes(weights)
    told["neuron"] = "synaptic" if any(key.endswith(".alpha") for key in weights) else "leaky"
    agree(config, told)
    if "readout" not in config:
        assumed["readout"] = "spike_count"
    constants = [key for key in weights if _constant(key)]
    neurons: dict[str, dict[str, float]] = {}
    for key in constants:
        if weights[key].numel() == 1:
            letter, name = _constant(key)
            neurons.setdefault(letter, {})[name] = float(weights[key])
    per_neuron = [".".join(_constant(key)) for key in constants if weights[key].numel() > 1]
    full = {**config, **told, "neurons": neurons, "per_neuron": per_neuron}
    own = skeleton("l2mu", full).state_dict()
    return Recognised(full, {key: _spread(value, own.get(key)) for key, value in weights.items()}, assumed)


def _without_settings(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Take snnTorch's setting buffers out after checking them; a setting that no buffer tells is assumed."""
    kept: dict[str, Tensor] = {}
    told, faults = set(), []
    for key, value in weights.items():
        setting = SNNTORCH_SETTINGS.get(key.rpartition(".")[2])
        if setting is None:
            kept[key] = value
            continue
        name, meaning, stored = setting
        told.add(name)
        if not bool((value == stored).all()):
            faults.append(f"{key} = {value.tolist()}: only {name} {meaning} ({stored}) is supported")
    if faults:
        raise ModelError("checkpoint", "its neurons behave in a way an L2MU does not", items=faults)
    assumed = {name: meaning for name, meaning, _ in SNNTORCH_SETTINGS.values() if name not in told}
    return kept, {**assumed, "reset delay": "one step"}


def _sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Every size that the shapes of the matrices tell."""
    needed = ("e_x", "W_h", "A", "output_transformation")
    faults = [f"missing: {name}.weight" for name in needed if f"{name}.weight" not in weights]
    shapes = {name: weights[f"{name}.weight"].shape for name in (*needed, "encoder") if f"{name}.weight" in weights}
    faults += [f"not a matrix: {name}.weight {list(shape)}" for name, shape in shapes.items() if len(shape) != 2]
    if faults:
        raise ModelError("checkpoint", "is not a complete L2MU", items=faults)
    return {
        "inputs": shapes.get("encoder", shapes["e_x"])[1],
        "hidden": shapes["W_h"][0],
        "memory": shapes["e_x"][0],
        "order": shapes["A"][0],
        "outputs": shapes["output_transformation"][0],
        "encoder": shapes["encoder"][0] if "encoder" in shapes else 0,
    }


def _constant(key: str) -> tuple[str, ...]:
    """("u", "beta") of `spk_u.beta`; empty for any other key."""
    attribute, _, name = key.partition(".")
    return (LETTERS[attribute], name) if attribute in LETTERS and name in NEURON_DEFAULTS else ()


def _spread(value: Tensor, own: Tensor | None) -> Tensor:
    """A constant stored for fewer axes than its population has, broadcast as torch would; others as they are."""
    if own is None or value.shape == own.shape:
        return value
    if value.numel() == own.numel() == 1:
        return value.reshape(own.shape)
    try:
        return value.broadcast_to(own.shape).clone()
    except RuntimeError:
        return value
