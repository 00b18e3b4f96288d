"""The shipped HAR models as int8 programs with streams of real windows: what every engine must compute alike."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from integer_equality import Expected, reference_of

from edgekit.convert.inputs import some
from edgekit.convert.integer import IntegerStage, stored_inputs
from edgekit.convert.options import Options
from edgekit.convert.progress import silent
from edgekit.demo.har.data import load_windows
from edgekit.frontends import import_file
from edgekit.ir import Graph
from edgekit.passes.activity import measure_activity
from edgekit.passes.choose_forms import choose_forms
from edgekit.passes.pipelines import LOWER, run_passes

ROOT = Path(__file__).parent.parent
FAMILIES = ("mlp", "l2mu", "lmu", "elm")
STEPS = 240  # six windows of 40 steps, or as many whole windows of a program that takes them flattened
CALIBRATION = 64


@lru_cache
def windows() -> np.ndarray:
    """Real windows [N, 40, 6] in raw units, of many wearers."""
    found, split = load_windows("B")
    return np.asarray(found.x[split.test[:: max(1, len(split.test) // STEPS)][:STEPS]], np.float32)


def stream_of(graph: Graph) -> np.ndarray:
    """Stored inputs [STEPS, *shape] of the step, from real windows."""
    (name,) = graph.entries["step"].inputs
    raw = windows().reshape(-1, *graph.tensors[name].shape)[:STEPS]
    return next(iter(stored_inputs(graph, {name: raw}).values()))


@lru_cache
def family(name: str, precision: str = "int8") -> Expected:
    """A shipped model quantised on real windows and lowered, and what the reference says of STEPS real steps."""
    imported = import_file(ROOT / f"examples/har/checkpoints/{name}_B.pt")
    meta = imported.io or {}
    (source,) = imported.graph.entries["step"].inputs
    raw = windows()[:CALIBRATION]
    flat = imported.graph.tensors[source].shape[0] != raw.shape[-1]
    given = {source: raw.reshape(len(raw), 1, -1) if flat else raw}
    options = Options(precision=precision, calib=raw)
    stage = IntegerStage.run(imported.graph.replace(name=f"{name}_{precision}"), meta, options, given, silent)
    graph = run_passes(stage.graph, LOWER)
    graph = choose_forms(graph, measure_activity(graph, some(stored_inputs(graph, given))))
    return reference_of(graph, 0, STEPS, lambda graph, seed, steps: [stream_of(graph)])
