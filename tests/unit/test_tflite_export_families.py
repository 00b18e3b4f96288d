"""The shipped HAR models as .tflite: float, int8 weights and int8, on real windows. `pytest -s` prints accuracies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_int8 import run

from edgekit.backends.tflite import TfliteStep, check_tflite, export_tflite, measure_tflite, plan_of
from edgekit.backends.tflite.measure import real_values, stored_values
from edgekit.convert.inputs import normalisation_of, normalised
from edgekit.convert.integer import IntegerStage, stored_inputs
from edgekit.convert.options import FLOAT_PRECISIONS, Options
from edgekit.convert.progress import silent
from edgekit.ir import Graph
from edgekit.passes.pipelines import OPTIMISE, run_passes
from edgekit.reference import Interpreter
from edgekit.runtime.session import DECISIONS

pytest.importorskip("ai_edge_litert")
pytest.importorskip("torch")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
FAMILIES = ("mlp", "l2mu", "lmu", "elm")
WINDOWS, CALIBRATION = 200, 128


@dataclass(frozen=True, eq=False)
class Family:
    """A shipped model: as it was imported, its io section, and windows [N, T, *shape] in raw units with labels."""

    name: str
    imported: Graph
    meta: dict[str, Any]
    raw: np.ndarray
    labels: np.ndarray
    calibration: np.ndarray

    @property
    def input(self) -> str:
        """The name of its input."""
        return self.imported.entries["step"].inputs[0]

    def decide(self, outputs: np.ndarray) -> np.ndarray:
        """The class of each window from outputs [N, T, classes]."""
        return np.argmax(DECISIONS[self.meta["decision"]](outputs), axis=-1)


@cache
def family(name: str) -> Family:
    """A shipped model and windows of wearers that it was not trained on."""
    from edgekit.demo.har.data import load_windows
    from edgekit.frontends import import_file

    found, split = load_windows("B")
    imported = import_file(ROOT / f"examples/har/checkpoints/{name}_B.pt")
    channels = imported.graph.tensors[imported.graph.entries["step"].inputs[0]].shape[0]

    def windows(which: np.ndarray, count: int) -> np.ndarray:
        chosen = which[:: max(1, len(which) // count)][:count]
        x = np.asarray(found.x[chosen], np.float32)
        return x if x.shape[-1] == channels else x.reshape(len(x), 1, -1)

    labels = np.asarray(found.y[split.test[:: max(1, len(split.test) // WINDOWS)][:WINDOWS]])
    raw, calibration = windows(split.test, WINDOWS), windows(split.train, CALIBRATION)
    return Family(name, imported.graph, dict(imported.io or {}), raw, labels, calibration)


@pytest.mark.drawn(2)
@pytest.mark.parametrize("precision", ["fp32", "w8"])
@pytest.mark.parametrize("name", FAMILIES)
def test_float_models_equal_the_reference_and_decide_alike(shared: Path, name: str, precision: str) -> None:
    model = family(name)
    graph = FLOAT_PRECISIONS[precision](run_passes(normalised(model.imported, model.meta), OPTIMISE))
    data = export_tflite(graph, io=model.meta, precision=precision)
    found = check_tflite(data, graph, inputs={model.input: model.raw[:6]})  # each from reset, as they are decided
    assert found.steps == 6 * model.raw.shape[1]
    assert found.excused == 0
    step, decided = TfliteStep(data), []
    windows = model.raw[:40]
    for window in windows:
        decided.append(run(step, {model.input: window})[step.document.outputs[0].name])
    wanted, _ = Interpreter(graph).run({model.input: windows})
    (expected,) = wanted.values()
    np.testing.assert_array_equal(model.decide(np.stack(decided)), model.decide(expected.astype(np.float32)))


@pytest.mark.drawn(2)
@pytest.mark.parametrize("name", FAMILIES)
def test_int8_models_are_as_good_as_our_own(shared: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = family(name)
    graph, normalisation = run_passes(model.imported, OPTIMISE), normalisation_of(model.imported, model.meta)
    offset, scale = normalisation[model.input]
    plan = plan_of(graph, {model.input: model.calibration}, normalisation=normalisation)
    data = export_tflite(graph, io=model.meta, precision="int8", plan=plan)
    step, normal = TfliteStep(data), ((model.raw - offset) * scale).astype(np.float32)
    (port,), (output,) = step.document.inputs, step.document.outputs
    got = np.stack([real_values(output, run(step, {port.name: stored_values(port, w)})[output.name]) for w in normal])
    decided = model.decide(got)
    found = measure_tflite(data, graph, {model.input: model.raw[:20]}, normalisation=normalisation)
    assert found.steps == 20 * model.raw.shape[1]
    assert (found.worst if found.spikes is None else found.spikes) is not None
    exact = model.decide(next(iter(Interpreter(graph).run({model.input: normal})[0].values())).astype(np.float32))
    options = Options(precision="int8", calib=model.calibration)
    own = IntegerStage.run(model.imported, model.meta, options, {model.input: model.calibration}, silent).graph
    whole, _ = Interpreter(own).run(stored_inputs(own, {model.input: model.raw}))
    ours = model.decide(next(iter(whole.values())).astype(np.float64))
    accuracy = {"fp32": exact, "own int8": ours, "TFLite int8": decided}
    with capsys.disabled():
        shown = ", ".join(f"{kind} {100 * (d == model.labels).mean():.1f} %" for kind, d in accuracy.items())
        agreed = f"{100 * (decided == exact).mean():.1f} % (own {100 * (ours == exact).mean():.1f} %)"
        print(f"\n{name}: {len(data):,} bytes; accuracy {shown};")
        print(f"  decides like fp32 in {agreed} of {len(ours)} windows; {found}")
    assert (decided == exact).mean() >= (ours == exact).mean() - 0.03
    assert (decided == model.labels).mean() >= (ours == model.labels).mean() - 0.03
