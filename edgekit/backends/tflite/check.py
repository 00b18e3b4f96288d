"""An exported model against the numpy reference, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.artifact.exported import state_output
from edgekit.backends.tflite.read import read_tflite
from edgekit.backends.tflite.run import TfliteStep
from edgekit.errors import DataError, ReplayError
from edgekit.ir import Graph
from edgekit.passes.own_outputs import own_outputs
from edgekit.passes.step_ports import step_alone
from edgekit.reference import Interpreter, Values, largest_error, outcomes, random_inputs

Array = npt.NDArray[Any]
TOLERANCE = 1e-5  # of a float, times max(1, |y|)


@dataclass(frozen=True)
class Checked:
    """What a comparison found: steps and kernels compared, the largest error max |y - r| / max(1, |r|) of floats, and
    how many steps differed because a comparison was within 1e-5 of a tie.
    """

    engine: str
    kernels: tuple[str, ...]
    steps: int
    worst: float
    excused: int


def check_tflite(
    data: bytes,
    graph: Graph,
    *,
    steps: int = 100,
    seed: int = 0,
    inputs: Mapping[str, Array] | None = None,
    kernels: tuple[str, ...] = ("xnnpack", "reference"),
) -> Checked:
    """Compare a float model with the optimised graph it was made of, over `inputs` or random ones.

    Inputs are one stream [T, *shape], or several [N, T, *shape], each from first values.
    Spikes must be equal, outputs within 1e-5 · max(1, |y|), and states within 1e-5 · max(1, largest |y| of the state):
    what an integrator rounded when it was large stays when it has come back. ReplayError names the first value and step
    that are not. A step where a comparison is within 1e-5 of a tie in float64 may come out as that comparison decides;
    such steps are counted, and the reference goes on from there. A model that keeps its states is not compared behind
    one: `steps` says how far it was.
    """
    graph = own_outputs(step_alone(graph))
    if read_tflite(data).document.graph_sha256 != graph.hash():
        raise DataError("TFLite model", "was not made of this graph")
    streams = streams_of(graph, inputs if inputs is not None else random_inputs(graph, steps, seed=seed))
    found = {name: [_check(TfliteStep(data, kernels=name), name, graph, s) for s in streams] for name in kernels}
    every = [c for checked in found.values() for c in checked]
    return Checked(
        every[0].engine,
        tuple(kernels),
        min(sum(c.steps for c in checked) for checked in found.values()),
        max(c.worst for c in every),
        sum(c.excused for c in every),
    )


def streams_of(graph: Graph, inputs: Mapping[str, Array]) -> list[dict[str, Array]]:
    """Inputs [T, *shape] of each stream; DataError where there is none."""
    step = graph.entries["step"]
    arrays = {name: np.asarray(inputs[name]) for name in step.inputs}
    ranks = {array.ndim - len(graph.tensors[name].shape) for name, array in arrays.items()}
    lengths = {array.shape[: max(ranks)] for array in arrays.values()}
    if ranks not in ({1}, {2}) or len(lengths) != 1 or 0 in next(iter(lengths)):
        raise DataError("inputs", "are no streams [T, *shape] or [N, T, *shape] of one length")
    count = len(next(iter(arrays.values()))) if ranks == {2} else 1
    return [{name: a[n] if ranks == {2} else a for name, a in arrays.items()} for n in range(count)]


def _check(model: TfliteStep, kernels: str, graph: Graph, given: Mapping[str, Array]) -> Checked:
    reference = Interpreter(graph)
    expected, state = reference.initial_state(), model.initial_state()
    count, worst, excused = len(next(iter(given.values()))), 0.0, 0
    for t in range(count):
        inputs = {name: array[t][None] for name, array in given.items()}
        before = expected
        outputs, expected = reference.execute(inputs, before)
        got, state = model.execute(inputs, state)
        errors = _errors(got, state, outputs, expected)
        wrong = {name: error for name, error in errors.items() if not error <= TOLERANCE}
        if not wrong:
            worst = max(worst, *errors.values())
            continue
        tried = ((_errors(got, state, *way), way[1]) for way in outcomes(graph, inputs, before))
        found = next(((e, following) for e, following in tried if max(e.values()) <= TOLERANCE), None)
        if found is None:
            name, error = next(iter(wrong.items()))
            raise ReplayError(
                f"TFLite model ({model.engine}, {kernels} kernels)",
                f"{name!r} differs from the reference at step {t}: off by {error:.3g}",
                items=[f"{n}: off by {e:.3g}" for n, e in wrong.items()],
            )
        errors, expected = found
        worst, excused = max(worst, *errors.values()), excused + 1
        if model.resource:  # which of the ways its states went cannot be seen
            return Checked(model.engine, (kernels,), t + 1, worst, excused)
    return Checked(model.engine, (kernels,), count, worst, excused)


def _errors(got: Values, state: Values, outputs: Values, following: Values) -> dict[str, float]:
    """The error of each output and of each next state that is seen: of those by the size of the whole state."""
    errors = {name: largest_error(got[name], value) for name, value in outputs.items()}
    sizes = {name: np.abs(following[name], dtype=np.float64) for name in state}
    largest = {name: size.max(initial=0.0, where=np.isfinite(size)) for name, size in sizes.items()}
    return errors | {state_output(s): largest_error(v, following[s], largest[s]) for s, v in state.items()}
