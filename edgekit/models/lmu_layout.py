"""Checkpoints of LMU cells in circulation: matrices as modules (`W_h.weight`) or bare parameters (`W_h`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from edgekit.errors import ModelError
from edgekit.models.checkpoints import Recognised, agree, prefixes, unprefixed
from edgekit.models.lmu import LMU
from edgekit.models.settings import check_keys

MATRICES = ("e_x", "e_h", "e_m", "A", "B", "W_x", "W_h", "W_m")
READ_OUT = "output_transformation"


def matches(weights: Mapping[str, Tensor]) -> bool:
    """True where there are encoders and kernels of an LMU, bare or under a prefix such as `lmu.cell.`."""
    return bool(_prefixes(weights))


def recognise(weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> Recognised:
    """Read an LMU cell and, where there is one, the linear read-out of its hidden state; A and B as stored: A m + B u.

    The read-out is the cell's own, or the one other linear layer in the file. Assumed when `config` does not tell:
    tanh, and that a window decides by the mean of the cell's own read-out, else by the last step.
    """
    check_keys("lmu config", config, LMU.config_keys)
    weights = unprefixed(weights, _prefixes(weights), "LMU cell")
    weights = {f"{key}.weight" if key in MATRICES else key: value for key, value in weights.items()}
    assumed: dict[str, object] = {} if "activation" in config else {"activation": "tanh"}
    if "readout" not in config:
        assumed["readout"] = "mean" if f"{READ_OUT}.weight" in weights else "last"
    layer = _other_layer(weights)
    if layer is not None:
        assumed["read-out layer"] = layer
        for name in ("weight", "bias"):
            if f"{layer}.{name}" in weights:
                weights[f"{READ_OUT}.{name}"] = weights.pop(f"{layer}.{name}")
        weights.setdefault(f"{READ_OUT}.bias", torch.zeros(len(weights[f"{READ_OUT}.weight"])))
    told = _sizes(weights)
    agree(config, told)
    readout = {"readout": assumed["readout"]} if "readout" in assumed else {}
    return Recognised({**readout, **config, **told}, weights, assumed)


def _prefixes(weights: Mapping[str, Tensor]) -> list[str]:
    """Prefixes of all cells, each of which has e_x and W_h."""
    both = [{p for n in (name, f"{name}.weight") for p in prefixes(weights, n)} for name in ("e_x", "W_h")]
    return sorted(set.intersection(*both))


def _other_layer(weights: Mapping[str, Tensor]) -> str | None:
    """The name of the one linear layer on H values outside a cell that has no read-out of its own."""
    others = {key.rpartition(".")[0] for key in weights} - set(MATRICES)
    if len(others) != 1:
        return None
    (layer,) = others
    weight, hidden = weights.get(f"{layer}.weight"), weights.get("W_h.weight")
    fits = weight is not None and hidden is not None and weight.ndim == 2 and weight.shape[1] == len(hidden)
    return layer if fits and layer != READ_OUT else None


def _sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Every size that the shapes of the matrices tell, and whether the hidden state has a bias."""
    shapes = {name: weights[f"{name}.weight"].shape for name in ("e_x", "W_h", "A") if f"{name}.weight" in weights}
    faults = [f"missing: {name}.weight" for name in ("e_x", "W_h", "A") if name not in shapes]
    if f"{READ_OUT}.weight" in weights:
        shapes[READ_OUT] = weights[f"{READ_OUT}.weight"].shape
    faults += [f"not a matrix: {name}.weight {list(shape)}" for name, shape in shapes.items() if len(shape) != 2]
    if faults:
        raise ModelError("checkpoint", "is not a complete LMU", items=faults)
    return {
        "inputs": shapes["e_x"][1],
        "hidden": shapes["W_h"][0],
        "memory": shapes["e_x"][0],
        "order": shapes["A"][0],
        "outputs": shapes[READ_OUT][0] if READ_OUT in shapes else 0,
        "bias": "W_x.bias" in weights,
    }
