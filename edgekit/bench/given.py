"""A user's own model file as a case of the benchmark."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.bench.activity import measure_activity
from edgekit.bench.cases import Case, make_case
from edgekit.bench.packages import require
from edgekit.bench.stimuli import STEPS, Array, noise
from edgekit.bench.windows import TESTED, TestWindows
from edgekit.errors import DataError, UsageError
from edgekit.runtime.session import DECISIONS

SUPPORTED = "a file of edgekit.save, or a state_dict (.pt .pth .ckpt .safetensors .npz) of an MLP, LMU, L2MU or ELM"
MOST_WINDOWS, MOST_FLAT_WINDOWS = 64, 512  # of the calibration data, spread evenly; a flat one is a single step


def given_case(path: Path, calib: Path | None, config: Path | None) -> Case:
    """The case of a model file over STEPS steps of windows `calib` [N, T, features] or [T, features] in raw units,
    spread evenly; without them over white noise. Its normalisation is done beforehand, because no peer has it in its
    step. Where `calib` has classes `y` and the file says how a window is decided, its windows are classified too.

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
    windows, tests = (None, None) if calib is None else _windows(calib, width, io or {}, flat=not module.names)
    stimulus = noise(width) if windows is None else windows.reshape(-1, width)[:STEPS]
    activity = measure_activity(module, stimulus) if hasattr(module, "populations") else {}
    told = ", ".join(f"{key} = {value}" for key, value in assumed.items())
    over = "white noise" if calib is None else calib.name
    description = f"{type(module).__name__} of {path.name} over {over}" + (f"; assumed: {told}" if told else "")
    name = "".join(c if c.isalnum() else "-" for c in path.stem).strip("-").lower() or "model"
    case = make_case(name, description, module, stimulus, activity)
    return replace(case, calibration=windows, tests=tests)


def _width(module: object) -> int:
    config = getattr(module, "config", {})
    return int(config["sizes"][0] if "sizes" in config else config["inputs"])


def _windows(path: Path, width: int, io: Mapping[str, Any], *, flat: bool) -> tuple[Array, TestWindows | None]:
    """Windows [N, T, width] to calibrate on, normalised as the model's io says, and those to classify."""
    try:
        with path.open("rb") as stream:
            found = np.load(stream, allow_pickle=False)
            held: Mapping[str, Any] = {"x": found} if isinstance(found, np.ndarray) else dict(found)
        x = np.asarray(held["x"], np.float32) * np.asarray(held.get("scale", 1.0), np.float32)
        y = np.asarray(held["y"], np.int64) if "y" in held else None
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(f"--calib {path}", "is no .npy array, and no .npz with x") from error
    spec = io.get("input", {})
    if "offset" in spec:
        x = (x - np.asarray(spec["offset"], np.float32)) * np.asarray(spec["scale"], np.float32)
    x = x.reshape(-1, 1, width) if flat and x.size % width == 0 else x
    x = x[None] if x.ndim == 2 else x
    if x.ndim != 3 or x.shape[-1] != width or not x.size or not np.isfinite(x).all():
        raise DataError(f"--calib {path}", f"has shape {x.shape}", f"give finite [N, T, {width}], the model's inputs")
    x = np.ascontiguousarray(x, np.float32)
    tests = None
    if y is not None and y.shape == x.shape[:1] and io.get("decision") in DECISIONS:
        rows = _spread(len(x), TESTED)
        source = f"{len(rows)} of {len(x):,} windows of {path.name}, spread evenly"
        tests = TestWindows(x[rows], y[rows], str(io["decision"]), source)
    return x[_spread(len(x), MOST_FLAT_WINDOWS if flat else MOST_WINDOWS)], tests


def _spread(count: int, most: int) -> npt.NDArray[np.int64]:
    return np.linspace(0, count - 1, min(most, count)).astype(np.int64)
