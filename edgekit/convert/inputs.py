"""Inputs for measuring and proving: the calibration windows, or noise of the spread that a normalisation expects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError
from edgekit.ir import SPIKE, Graph
from edgekit.passes.normalise import prepend_normalisation
from edgekit.reference.compare import ACTIVITY

Array = npt.NDArray[Any]
Inputs = dict[str, Array]

SELFTEST_STEPS = 32
ACTIVITY_WINDOWS = 64
NOISE_WINDOWS = 64


def normalised(graph: Graph, meta: Mapping[str, Any]) -> Graph:
    """The graph that takes raw units: the normalisation of its first input is its first op."""
    spec = meta.get("input") or {}
    if spec.get("offset") is None and spec.get("scale") is None:
        return graph
    name = graph.entries["step"].inputs[0]
    return prepend_normalisation(graph, name, spec.get("offset") or (), spec.get("scale") or ())


def normalisation_of(graph: Graph, meta: Mapping[str, Any]) -> dict[str, tuple[Array, Array]]:
    """Offset and scale of each element of the first input's last axis, where there is a normalisation."""
    spec = meta.get("input") or {}
    if spec.get("scale") is None:
        return {}
    name = graph.entries["step"].inputs[0]
    repeats = graph.tensors[name].shape[-1] // len(spec["scale"])
    offset, scale = (np.tile(np.asarray(spec[key], np.float32), repeats) for key in ("offset", "scale"))
    return {name: (offset, scale)}


def raw_inputs(graph: Graph, meta: Mapping[str, Any], calib: Array | None) -> Inputs:
    """Inputs [N, T, *shape] in raw units: all calibration windows (T = 1 for a stateless model), or noise."""
    return _noise(graph, meta) if calib is None else _windows(graph, meta, calib)


def _windows(graph: Graph, meta: Mapping[str, Any], calib: Array) -> Inputs:
    step = graph.entries["step"]
    shape = graph.tensors[step.inputs[0]].shape
    windows = np.asarray(calib, np.float32)
    spec = meta.get("input") or {}
    if spec.get("layout") == "flattened" and windows.ndim == 3 and windows.shape[1] * windows.shape[2] == shape[-1]:
        windows = windows.reshape(len(windows), -1)
    if windows.ndim == len(shape) + 1:  # stateless: every row is a window of one step
        windows = windows[:, None]
    if len(step.inputs) != 1 or windows.ndim != len(shape) + 2 or windows.shape[2:] != shape or not windows.size:
        takes = f"the model takes [N, T, {', '.join(map(str, shape))}]"
        raise DataError("calibration data", f"has shape {np.shape(calib)}", takes)
    if not np.isfinite(windows).all():
        raise DataError("calibration data", "holds NaN, Inf, or values beyond float32", "leave those windows out")
    return {step.inputs[0]: windows}


def _noise(graph: Graph, meta: Mapping[str, Any]) -> Inputs:
    rng, inputs = np.random.default_rng(0), {}
    known = normalisation_of(graph, meta)
    for name in graph.entries["step"].inputs:
        noise = rng.normal(size=(NOISE_WINDOWS, SELFTEST_STEPS, *graph.tensors[name].shape))
        if graph.tensors[name].dtype is SPIKE:
            noise = np.asarray(rng.random(noise.shape) < ACTIVITY)
        offset, scale = known.get(name, (0.0, 1.0))
        inputs[name] = (noise / scale + offset).astype(np.float32)
    return inputs


def some(inputs: Inputs) -> Inputs:
    """Windows to measure activity on. Those of a stateless model, of one step each, become one stream."""
    stateless = all(a.shape[1] == 1 for a in inputs.values())
    most = ACTIVITY_WINDOWS * (SELFTEST_STEPS if stateless else 1)
    return {n: np.moveaxis(a[:most], 0, 1) if stateless else a[:most] for n, a in inputs.items()}


def few(inputs: Inputs) -> Inputs:
    """Candidates for the self-test: eight short streams."""
    return {n: a[:8, :SELFTEST_STEPS] for n, a in inputs.items()}
