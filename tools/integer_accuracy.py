"""Accuracy of integer programs against float: the HAR checkpoints of split B, the released ELM neurons, Braille-7.

python -m tools.integer_accuracy [--model mlp l2mu … braille7] [--recipe int8 auto …] [--method min-max]

HAR and Braille are calibrated on windows that the accuracy is not read from: the validation subjects, and samples that
are not among the 40 golden ones. The released neurons come without data: the first 150 steps of their golden inputs
calibrate them, which are not scored.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.compress.calibrate import METHODS
from edgekit.compress.recipes import AUTO, RECIPES
from edgekit.compress.search import stored_bytes
from edgekit.convert.agreement import decision_rule, decisions
from edgekit.convert.inputs import normalised
from edgekit.convert.integer import IntegerStage
from edgekit.convert.options import Options
from edgekit.convert.progress import silent
from edgekit.frontends import import_file
from edgekit.ir import Graph
from edgekit.passes.pipelines import OPTIMISE, run_passes
from edgekit.runtime.codec import real_outputs
from tools.golden import read_golden

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("EDGEKIT_SHARED", ROOT / ".." / "shared")).resolve()
FAMILIES = ("mlp", "l2mu", "lmu", "elm")
RELEASED = ("num_memory_15", "num_memory_100", "best_elm_neuron")
BRAILLE = "braille7"
BURN_IN, MILLIVOLTS = 150, 10.0  # steps before the soma is judged, and what the neuron's unit is in mV

Array = npt.NDArray[Any]
Inputs = dict[str, Array]


@dataclass(frozen=True, eq=False)
class Model:
    """An imported graph and what is known of its input and decision, its calibration inputs and its test inputs."""

    name: str
    graph: Graph
    meta: Mapping[str, Any]
    calibration: Inputs
    test: Inputs
    labels: Array | None = None

    @property
    def exact(self) -> Graph:
        """The float program that takes raw units."""
        return run_passes(normalised(self.graph, self.meta), OPTIMISE)

    @property
    def rule(self) -> str | None:
        return decision_rule(self.graph, self.meta)

    def integer(self, precision: str, method: str) -> IntegerStage:
        """The integer program of a recipe, as `edgekit convert` makes it."""
        (windows,) = self.calibration.values()
        options = Options(precision=precision, calib=windows, calib_method=method)
        return IntegerStage.run(self.graph, self.meta, options, self.calibration, silent)


def har(family: str) -> Model:
    """A checkpoint of split B: calibrated on the validation subjects, scored on the test subjects."""
    from edgekit.demo.har.data import load_windows

    windows, split = load_windows("B")
    imported = import_file(ROOT / f"examples/har/checkpoints/{family}_B.pt")
    (name,) = imported.graph.entries["step"].inputs

    def given(chosen: Array) -> Inputs:
        x = np.asarray(windows.x[chosen], np.float32)
        return {name: x if imported.graph.states else x.reshape(len(x), 1, -1)}

    sides = given(split.validation), given(split.test)
    return Model(family, imported.graph, imported.io or {}, *sides, windows.y[split.test])


def neuron(name: str) -> Model:
    """A released ELM neuron over its golden inputs, calibrated on the steps before those that are scored."""
    golden = read_golden(SHARED / "golden" / f"elm_v1_neuronio_{name}.npz")
    graph = import_file(golden.path, config=golden.config).graph
    (source,), x = graph.entries["step"].inputs, np.asarray(golden.x, np.float32)
    return Model(name, graph, {}, {source: x[:, :BURN_IN]}, {source: x})


def braille() -> Model:
    """The trained Braille-7 L2MU, scored by the decisions of its golden samples."""
    golden = SHARED / "golden" / "l2mu_trained_braille7.npz"
    with np.load(golden) as z:
        test, decided = z["X"].astype(np.float32), z["pred"]
    with np.load(SHARED / "data" / "braille7_events.npz") as z:
        events = np.unpackbits(z["x_packed"], axis=1).reshape(-1, *z["shape"]).astype(np.float32)
    known = {sample.tobytes() for sample in test}
    order = np.random.default_rng(0).permutation(len(events))
    other = np.stack([sample for sample in events[order] if sample.tobytes() not in known])
    graph = import_file(golden).graph
    (name,) = graph.entries["step"].inputs
    return Model(BRAILLE, graph, {"decision": "sum"}, {name: other[:300]}, {name: test}, decided)


def model_of(name: str) -> Model:
    return har(name) if name in FAMILIES else braille() if name == BRAILLE else neuron(name)


def soma_error(model: Model, program: Graph) -> float:
    """The root mean square error of the soma voltage in mV after the burn-in."""
    (exact,), (got,) = (real_outputs(graph, model.test) for graph in (model.exact, program))
    return float(MILLIVOLTS * np.sqrt(np.mean((got - exact)[:, BURN_IN:, 1] ** 2)))


def row(model: Model, precision: str, program: Graph) -> str:
    """One line of the table."""
    start = f"{model.name:16s} {precision:7s} {stored_bytes(program):9,d}"
    if model.rule is None:
        return f"{start}   soma RMSE {soma_error(model, program):.4f} mV"
    before, after = (decisions(g, model.test, model.rule) for g in (model.exact, program))
    agreed, labels = np.mean(before == after), model.labels
    return f"{start}   {np.mean(before == labels):7.2%} {np.mean(after == labels):7.2%}   {agreed:7.2%}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.integer_accuracy", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--model", nargs="+", default=[*FAMILIES, *RELEASED, BRAILLE], metavar="MODEL")
    parser.add_argument("--recipe", nargs="+", default=["int8", AUTO], choices=[*RECIPES, AUTO])
    parser.add_argument("--method", default=METHODS[0], choices=METHODS)
    options = parser.parse_args(arguments)
    print(f"{'model':16s} {'recipe':7s} {'bytes':>9s}   {'float':>7s} {'integer':>7s}   {'agree':>7s}")
    for name in options.model:
        model = model_of(name)
        for precision in options.recipe:
            began = time.process_time()
            found = model.integer(precision, options.method)
            took = time.process_time() - began
            print(f"{row(model, precision, found.graph)}   {took:.1f} s CPU")
            print(f"    calibrated: {found.score}", *found.widened, sep="\n    ", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
