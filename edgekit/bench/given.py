"""A user's own model file as a case of the benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from edgekit.bench.activity import measure_activity
from edgekit.bench.cases import Case, make_case
from edgekit.bench.packages import require
from edgekit.bench.stimuli import STEPS, Array, noise
from edgekit.errors import DataError, UsageError

SUPPORTED = "a file of edgekit.save, or a state_dict (.pt .pth .ckpt .safetensors .npz) of an MLP, LMU, L2MU or ELM"
MOST_WINDOWS = 64  # of the calibration data, spread evenly


def given_case(path: Path, calib: Path | None, config: Path | None) -> Case:
    """The case of a model file over the first STEPS steps of `calib` [N, T, features] or [T, features] in raw units,
    without it over white noise. Its normalisation is done beforehand, because no peer has it in its step.

    UsageError for a file that is no model of edgekit.models, whose step alone every peer can be given.
    """
    require("torch", "convert")
    from edgekit.models import open_model

    if path.suffix in (".pt2", ".onnx", ".nir", ".edge", ".tflite"):
        raise UsageError(f"model {path}", f"is a {path.suffix} file", f"the benchmark takes {SUPPORTED}")
    try:
        settings = None if config is None else json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"--config {config}", "is no JSON") from error
    module, assumed = open_model(path, settings)
    if not hasattr(module, "init_state") or not hasattr(module, "step"):
        raise UsageError(f"model {path}", f"is a {type(module).__name__}", f"the benchmark takes {SUPPORTED}")
    io, module.io = module.io, None
    width = _width(module)
    windows = None if calib is None else _windows(calib, width, io, flat=not module.names)
    stimulus = noise(width) if windows is None else windows.reshape(-1, width)[:STEPS]
    activity = measure_activity(module, stimulus) if hasattr(module, "populations") else {}
    told = ", ".join(f"{key} = {value}" for key, value in assumed.items())
    over = "white noise" if calib is None else calib.name
    description = f"{type(module).__name__} of {path.name} over {over}" + (f"; assumed: {told}" if told else "")
    name = "".join(c if c.isalnum() else "-" for c in path.stem).strip("-").lower() or "model"
    case = make_case(name, description, module, stimulus, activity)
    return case if windows is None else Case(**{**vars(case), "calibration": windows})


def _width(module: object) -> int:
    config = getattr(module, "config", {})
    return int(config["sizes"][0] if "sizes" in config else config["inputs"])


def _windows(path: Path, width: int, io: object, *, flat: bool) -> Array:
    """Windows [N, T, width], normalised as the model's io says."""
    try:
        with np.load(path, allow_pickle=False) as found:
            x = found["x"] if hasattr(found, "files") else found
            scale = found["scale"] if hasattr(found, "files") and "scale" in found.files else 1.0
            x = np.asarray(x, np.float32) * np.asarray(scale, np.float32)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(f"--calib {path}", "is no .npy array, and no .npz with x") from error
    if isinstance(io, dict) and "offset" in io.get("input", {}):
        spec = io["input"]
        x = (x - np.asarray(spec["offset"], np.float32)) * np.asarray(spec["scale"], np.float32)
    x = x.reshape(-1, 1, width) if flat and x.size % width == 0 else x
    x = x[None] if x.ndim == 2 else x
    if x.ndim != 3 or x.shape[-1] != width or not x.size or not np.isfinite(x).all():
        raise DataError(f"--calib {path}", f"has shape {x.shape}", f"give finite [N, T, {width}], the model's inputs")
    most = MOST_WINDOWS * 8 if flat else MOST_WINDOWS
    rows = np.linspace(0, len(x) - 1, min(most, len(x))).astype(int)
    return np.ascontiguousarray(x[rows], np.float32)
