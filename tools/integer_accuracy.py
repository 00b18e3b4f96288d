"""Accuracy of integer programs against float: the HAR checkpoints of split B, the released ELM neurons, Braille-7.

python -m tools.integer_accuracy [--model mlp l2mu … braille7] [--recipe int8 auto …] [--method min-max]

HAR and Braille are calibrated on windows that the accuracy is not read from: the validation subjects, and samples that
are not among the 40 golden ones. The released neurons come without data: their golden inputs calibrate them too.
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

from edgekit.compress.calibrate import METHODS, Calibration, calibrate
from edgekit.compress.integer import IntegerProgram, quantise_program
from edgekit.compress.recipes import AUTO, RECIPES, recipe
from edgekit.compress.search import widen_until
from edgekit.convert.agreement import agreement_with, decisions
from edgekit.convert.inputs import normalisation_of, normalised
from edgekit.frontends import import_file
from edgekit.ir import Graph
from edgekit.passes.pipelines import OPTIMISE, run_passes
from edgekit.reference import Interpreter
from edgekit.runtime.codec import Codec
from tools.golden import read_golden

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("EDGEKIT_SHARED", ROOT / ".." / "shared")).resolve()
FAMILIES = ("mlp", "l2mu", "lmu", "elm")
RELEASED = ("num_memory_15", "num_memory_100", "best_elm_neuron")
BRAILLE = "braille7"
BURN_IN, MILLIVOLTS = 150, 10.0  # steps before the soma is judged, and what the neuron's unit is in mV
LEAST = 0.985  # of decisions that `auto` keeps
QUICK = 1500  # windows that the search compares on

Array = npt.NDArray[Any]
Inputs = dict[str, Array]


@dataclass(frozen=True, eq=False)
class Model:
    """A float graph in two forms, with and without its normalisation, its calibration inputs and its test inputs."""

    name: str
    graph: Graph
    exact: Graph
    normalisation: Mapping[str, tuple[Array, Array]]
    calibration: Inputs
    test: Inputs
    labels: Array | None
    rule: str | None


def har(family: str) -> Model:
    """A checkpoint of split B: calibrated on the validation subjects, scored on the test subjects."""
    from examples.har.data import load_windows

    windows, split = load_windows("B")
    imported = import_file(ROOT / f"examples/har/checkpoints/{family}_B.pt")
    meta = imported.io or {}
    name = imported.graph.entries["step"].inputs[0]

    def given(chosen: Array) -> Inputs:
        x = np.asarray(windows.x[chosen], np.float32)
        return {name: x if imported.graph.states else x.reshape(len(x), 1, -1)}

    return Model(
        family,
        run_passes(imported.graph, OPTIMISE),
        run_passes(normalised(imported.graph, meta), OPTIMISE),
        normalisation_of(imported.graph, meta),
        given(split.validation),
        given(split.test),
        windows.y[split.test],
        meta.get("decision") or "last",
    )


def neuron(name: str) -> Model:
    """A released ELM neuron over its golden inputs."""
    golden = read_golden(SHARED / "golden" / f"elm_v1_neuronio_{name}.npz")
    graph = run_passes(import_file(golden.path, config=golden.config).graph, OPTIMISE)
    given = {graph.entries["step"].inputs[0]: np.asarray(golden.x, np.float32)}
    return Model(name, graph, graph, {}, given, given, None, None)


def braille() -> Model:
    """The trained Braille-7 L2MU, scored by the decisions of its golden samples."""
    golden = SHARED / "golden" / "l2mu_trained_braille7.npz"
    with np.load(golden) as z:
        test, decided = z["X"].astype(np.float32), z["pred"]
    with np.load(SHARED / "data" / "braille7_events.npz") as z:
        events = np.unpackbits(z["x_packed"], axis=1).reshape(-1, *z["shape"]).astype(np.float32)
    known = {sample.tobytes() for sample in test}
    other = np.stack(
        [
            sample
            for sample in events[np.random.default_rng(0).permutation(len(events))]
            if sample.tobytes() not in known
        ]
    )
    graph = run_passes(import_file(golden).graph, OPTIMISE)
    name = graph.entries["step"].inputs[0]
    return Model(BRAILLE, graph, graph, {}, {name: other[:300]}, {name: test}, decided, "sum")


def model_of(name: str) -> Model:
    return har(name) if name in FAMILIES else braille() if name == BRAILLE else neuron(name)


def program_of(model: Model, precision: str, seen: Calibration) -> tuple[IntegerProgram, tuple[str, ...]]:
    """The integer program of a recipe, and what `auto` widened."""
    if precision != AUTO:
        return quantise_program(model.graph, seen, recipe(precision), model.normalisation), ()
    measure = quick = None
    if model.rule is not None:
        count = len(next(iter(model.calibration.values())))
        measure = agreement_with(model.exact, model.calibration, model.rule)
        some = {n: a[:: max(1, count // QUICK)] for n, a in model.calibration.items()}
        quick = agreement_with(model.exact, some, model.rule)
    found = widen_until(model.graph, seen, model.normalisation, agreement=measure, least=LEAST, quick=quick)
    return found.program, found.widened


def soma_error(model: Model, program: Graph) -> float:
    """The root mean square error of the soma voltage in mV after the burn-in."""
    (name,), (out,) = model.graph.entries["step"].inputs, model.graph.entries["step"].outputs
    exact = Interpreter(model.graph).run(model.test)[0][out]
    codec = Codec(program)
    stored = codec.quantize([model.test[name]])[0]
    step = program.entries["step"]
    got = codec.dequantize([Interpreter(program).run({step.inputs[0]: stored})[0][step.outputs[0]]])[0]
    return float(MILLIVOLTS * np.sqrt(np.mean((got - exact)[:, BURN_IN:, 1] ** 2)))


def weight_bytes(graph: Graph) -> int:
    """Bytes of all constants of the step, packed."""
    used = {n for op in graph.entries["step"].ops for n in op.inputs}
    return sum(t.stored_bytes for n, t in graph.tensors.items() if t.is_const and n in used)


def row(model: Model, precision: str, program: Graph) -> str:
    """One line of the table."""
    start = f"{model.name:16s} {precision:7s} {weight_bytes(program):9,d}"
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
        seen = calibrate(model.graph, model.calibration, method=options.method, normalisation=model.normalisation)
        for precision in options.recipe:
            began = time.process_time()
            program, widened = program_of(model, precision, seen)
            took = time.process_time() - began
            print(f"{row(model, precision, program.graph)}   {took:.1f} s CPU", *widened, sep="\n    ", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
