"""Golden files of HLOP against `edgekit.learn.torch`: lateral neurons, DSR and OTTT neurons, full training steps.

python -m tools.hlop_torch [FILE.npz …]
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgekit.learn.torch import DsrNeuron, DsrSettings, Lateral, LateralSettings, Layer, SpikingMLP, SurrogateSettings
from edgekit.learn.torch.surrogate import membranes, traces
from edgekit.learn.torch.train import descend

ROOT = Path(__file__).parent.parent
FOLDER = Path(os.environ.get("EDGEKIT_SHARED", ROOT / ".." / "shared")).resolve() / "golden"
TOLERANCE = 5e-6
"""The largest absolute difference allowed of anything in a file."""

Arrays = Mapping[str, Tensor]
Errors = dict[str, float]


def check_hlop(path: Path) -> Errors:
    """The largest absolute difference from each array that a file of an HLOP kind expects, computed by its `meta`."""
    with np.load(path, allow_pickle=False) as z:
        meta = json.loads(str(z["meta"]))
        arrays = {name: torch.from_numpy(np.array(z[name])) for name in z.files if name != "meta"}
    check = KINDS.get(str(meta.get("kind")))
    if check is None:
        raise SystemExit(f"error: {path} holds {meta.get('kind')}, not one of {', '.join(KINDS)}")
    return check(arrays, meta)


def _error(got: Tensor | float, expected: Tensor) -> float:
    got = torch.as_tensor(got, dtype=expected.dtype)
    if got.shape != expected.shape:
        return float("inf")
    return float((got.detach() - expected).abs().max()) if expected.numel() else 0.0


def _subspace(z: Arrays, meta: dict[str, Any]) -> Errors:
    spikes = {"spike_steps": int(meta["spiking_timesteps"]), "scale": meta["spiking_scale"]} if meta["spiking"] else {}
    settings = LateralSettings(meta["lr"], meta["momentum"], meta["iterations_per_batch"], **spikes)
    lateral = Lateral(z["H_init_task1"].shape[1], settings)
    errors = _iterations(z, settings)
    for task in (1, 2):
        start = z[f"H_init_task{task}"]
        lateral.grow(len(start) - lateral.old)
        errors[f"H_init_task{task}.old"] = _error(lateral.rows[: lateral.old], start[: lateral.old])
        lateral.rows[lateral.old :] = start[lateral.old :]
        for at, batch in enumerate(z[f"X_task{task}"]):
            if task == 2:
                name = "X_task2_orth_to_task1"
                errors[f"{name}.{at}"] = _error(lateral.residual(batch), z[name][at])
            lateral.learn(batch)
            errors[f"H_task{task}.{at}"] = _error(lateral.rows, z[f"H_task{task}_after_batch"][at])
            if f"M_task{task}_after_batch" in z:
                errors[f"M_task{task}.{at}"] = _error(lateral.momenta, z[f"M_task{task}_after_batch"][at])
        if task == 1:
            lateral.merge()
    errors["H_final"] = _error(lateral.rows, z["H_final"])
    return {**errors, **_projected(z, lateral)}


def _iterations(z: Arrays, settings: LateralSettings) -> Errors:
    """The first batch one iteration at a time."""
    lateral = Lateral(z["H_init_task1"].shape[1], LateralSettings(**{**vars(settings), "iterations": 1}))
    lateral.grow(len(z["H_init_task1"]))
    lateral.rows[:] = z["H_init_task1"]
    x, errors = z["X_task1"][0], {}
    for at, expected in enumerate(z["H_iter_batch0"]):
        y = lateral.answers(x, lateral.rows)
        errors[f"y.{at}"] = _error(y, z["y_iter_batch0"][at])
        if at == 0:
            errors["x_hat"] = _error(y @ lateral.rows, z["xhat_iter_batch0_first"])
        lateral.learn(x)
        errors[f"H.{at}"] = _error(lateral.rows, expected)
    return errors


def _projected(z: Arrays, lateral: Lateral) -> Errors:
    """The projected gradient; this file projects on the first task's rows alone."""
    layer, x = Layer(lateral, len(z["lin_W"])), z["lin_x"].clone().requires_grad_()
    layer.weight.data = z["lin_W"].clone()
    out = layer(x, lateral.residual(x.detach()))
    grad_weight, grad_x = torch.autograd.grad(out, [layer.weight, x], z["lin_gout"])
    return {
        "lin_out": _error(out, z["lin_out"]),
        "lin_gW": _error(grad_weight, z["lin_gW_projected"]),
        "lin_gx": _error(grad_x, z["lin_gx"]),
    }


def _dsr(z: Arrays, meta: dict[str, Any]) -> Errors:
    settings = DsrSettings(meta["T"], meta["tau"], meta["delta_t"], meta["Vth"], meta["alpha"])
    neuron = DsrNeuron(settings)
    shape = (meta["T"], meta["B"], -1)
    current = (z["x"].reshape(*shape) @ z["W"].T).requires_grad_()
    spikes = neuron(current)
    grad_current, grad_threshold = torch.autograd.grad(
        spikes, [current, neuron.threshold], z["gout"].reshape(spikes.shape)
    )
    return {
        "I": _error(current, z["I"].reshape(current.shape)),
        "spikes": _error(spikes, z["spikes_scaled"].reshape(spikes.shape)),
        "wfr": _error(settings.rate(spikes), z["wfr"]),
        "gI": _error(grad_current, z["gI"].reshape(current.shape)),
        "gVth": _error(grad_threshold, z["gVth"]),
    }


def _ottt(z: Arrays, meta: dict[str, Any]) -> Errors:
    if meta.get("v_reset") is not None or meta.get("decay_input"):
        raise SystemExit("error: OTTT neurons here reset by subtraction and take their input undecayed")
    settings = SurrogateSettings(len(z["x"]), meta["tau"], meta["v_threshold"])
    spikes, before = membranes(z["x"], settings)
    return {
        "spikes": _error(spikes, z["spikes"]),
        "v": _error(before - settings.threshold * spikes, z["v_after_reset"]),
        "trace": _error(traces(spikes, settings), z["trace"]),
    }


def _layers(z: Arrays, prefix: str) -> list[str]:
    """The weights' names in a file, in order of layers."""
    found = sorted(name.removeprefix(prefix) for name in z if re.fullmatch(re.escape(prefix) + r"fc\d+\.weight", name))
    return [*found, "classifiers.0.weight"]


def _steps(z: Arrays, meta: dict[str, Any]) -> Errors:
    names, snn = _layers(z, "init."), meta["snn"]
    weights = [z[f"init.{name}"] for name in names]
    settings = DsrSettings(
        *(snn["timesteps"], snn["tau"], snn["delta_t"], snn["Vth"], snn["alpha"], snn["Vth_bound"], snn["train_Vth"])
    )
    sizes = [weight.shape[1] for weight in weights] + [len(weights[-1])]
    net = SpikingMLP(sizes, "dsr", settings=settings, rates=meta["hlop_lr"])
    theirs = {f"layers.{at}.weight": name for at, name in enumerate(names)}
    theirs |= {f"neurons.{at}.threshold": f"sn{at + 1}.Vth" for at in range(len(names) - 1)}
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if parameter.requires_grad:  # a threshold that never learns is in the settings, not among the weights
                parameter.copy_(z[f"init.{theirs[name]}"])
    errors: Errors = {}
    for task in sorted({int(match[1]) for name in z if (match := re.match(r"t(\d+)s", name))}):
        net.begin_task(meta[f"k_task{task}"])
        start = "init" if task == 0 else f"task{task}_init"
        for at, lateral in enumerate(net.laterals):
            given = z[f"{start}.hlop_modules.{at}.weight"]
            errors[f"{start}.hlop.{at}.old"] = _error(lateral.rows[: lateral.old], given[: lateral.old])
            lateral.rows[:] = given
        for step in sorted({int(match[1]) for name in z if (match := re.match(rf"t{task}s(\d+)\.", name))}):
            key = f"t{task}s{step}."
            made = descend(net, z[key + "x"].flatten(1), z[key + "y"], meta["lr"])
            errors[key + "out"] = _error(made.logits, z[key + "out"])
            errors[key + "loss"] = _error(made.loss, z[key + "loss"])
            for name, gradient in made.gradients.items():
                errors[key + theirs[name]] = _error(gradient, z[f"{key}grad.{theirs[name]}"])
            for at, lateral in enumerate(net.laterals):
                errors[f"{key}hlop.{at}"] = _error(lateral.rows, z[f"{key}hlop.{at}"])
        net.end_task()
    for name, parameter in net.named_parameters():
        if f"init.{theirs[name]}" in z:
            errors[f"final.{theirs[name]}"] = _error(parameter, z[f"final.{theirs[name]}"])
    return errors


KINDS: dict[str, Callable[[Arrays, dict[str, Any]], Errors]] = {
    "HLOP_subspace": _subspace,
    "HLOP_DSR_LIF": _dsr,
    "HLOP_OTTT_LIF": _ottt,
    "HLOP_MLP_step": _steps,
}
"""Kind of a file -> its check."""


def golden_files(folder: Path) -> list[Path]:
    """The files of these kinds, in order of name."""
    return [path for path in sorted(folder.glob("hlop_*.npz")) if path.name != "hlop_reduced_cl_digits.npz"]


def main(arguments: list[str] | None = None) -> int:
    """Check the files; exit code 1 when an error is larger than allowed."""
    parser = argparse.ArgumentParser(prog="python -m tools.hlop_torch", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    files = parser.parse_args(arguments).files or golden_files(FOLDER)
    if not files:
        raise SystemExit(f"error: no golden files in {FOLDER}; set EDGEKIT_SHARED")
    failed = 0
    for path in files:
        errors = check_hlop(path)
        worst = max(errors, key=lambda name: np.nan_to_num(errors[name], nan=np.inf))
        wrong = not errors[worst] <= TOLERANCE
        failed += wrong
        print(
            f"{path.stem:28}{len(errors):4} arrays  largest error {errors[worst]:.1e} ({worst})"
            f" of {TOLERANCE:.0e} allowed{'  WRONG' if wrong else ''}"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
