"""An exported model against the numpy reference, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.artifact.exported import state_output
from edgekit.backends.tflite.read import read_tflite
from edgekit.backends.tflite.run import KERNELS, TfliteStep
from edgekit.errors import DataError, ReplayError
from edgekit.ir import SPIKE, Graph
from edgekit.passes.own_outputs import own_outputs
from edgekit.passes.step_ports import step_alone
from edgekit.reference import Interpreter, Values

Array = npt.NDArray[Any]
TOLERANCE = 1e-5  # of a float, times max(1, |y|)
MARGIN = 1e-5  # in float64, relative: a comparison closer to a tie may come out either way
ACTIVITY = 0.3  # share of spikes among random spike inputs
STEPS = {"floor": 0.0, "round": 0.5}  # these compare with the next whole number, or that and a half
COMPARES = ("gt", "ge", "lt", "le", "eq", "ne")


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


def random_inputs(graph: Graph, steps: int, seed: int = 0) -> dict[str, Array]:
    """Inputs [T, *shape] of a step: normal numbers, and spikes of 0 and 1."""
    rng, inputs = np.random.default_rng(seed), {}
    for name in graph.entries["step"].inputs:
        tensor = graph.tensors[name]
        shape = (steps, *tensor.shape)
        drawn = rng.random(shape) < ACTIVITY if tensor.dtype is SPIKE else rng.standard_normal(shape)
        inputs[name] = drawn.astype(np.float32)
    return inputs


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
    that are not, unless a comparison of that step is closer than 1e-5 to a tie in float64; such steps are counted, and
    the states of the reference taken from there on.
    """
    graph = own_outputs(step_alone(graph))
    if read_tflite(data).document.graph_sha256 != graph.hash():
        raise DataError("TFLite model", "was not made of this graph")
    streams = streams_of(graph, inputs if inputs is not None else random_inputs(graph, steps, seed))
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
        errors = {name: _error(got[name], value, np.abs(value)) for name, value in outputs.items()}
        errors |= {state_output(s): _error(v, expected[s], np.abs(expected[s]).max()) for s, v in state.items()}
        wrong = {name: error for name, error in errors.items() if not error <= TOLERANCE}
        if not wrong:
            worst = max(worst, *errors.values())
            continue
        if not _near_tie(graph, inputs, before):
            name, error = next(iter(wrong.items()))
            raise ReplayError(
                f"TFLite model ({model.engine}, {kernels} kernels)",
                f"{name!r} differs from the reference at step {t}: off by {error:.3g}",
                items=[f"{n}: off by {e:.3g}" for n, e in wrong.items()],
            )
        excused += 1
        if model.resource:  # its states cannot be set
            return Checked(model.engine, (kernels,), t + 1, worst, excused)
        state = {s: v.astype(np.float32) for s, v in expected.items()}
    return Checked(model.engine, (kernels,), count, worst, excused)


def _error(got: Array, wanted: Array, size: Array) -> float:
    """max |y - r| / max(1, size), infinite for a spike or a special value that differs."""
    if wanted.dtype == np.bool_:
        return 0.0 if np.array_equal(got, wanted.astype(np.float32)) else np.inf
    same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(got.astype(np.float64) - wanted) / np.maximum(1.0, size))
    return float(np.max(np.where(np.isfinite(error), error, np.inf), initial=0.0))


def _near_tie(graph: Graph, inputs: Mapping[str, Array], state: Values) -> bool:
    """Whether in float64 some comparison of a step was within MARGIN of a tie."""
    exact = Interpreter(graph, np.float64)
    values = exact.trace(inputs, {n: v.astype(np.float64) if v.dtype.kind == "f" else v for n, v in state.items()})
    for op in graph.entries["step"].ops:
        if op.kind in COMPARES or op.kind in STEPS:
            left = values[op.inputs[0]] + STEPS.get(op.kind, 0.0)
            right = np.round(left) if op.kind in STEPS else values[op.inputs[1]]
            with np.errstate(invalid="ignore"):
                margin = np.abs(left - right) / np.maximum(1.0, np.abs(right))
            # 0 > 0, and whether equal numbers are equal, come out alike everywhere
            close = (margin < MARGIN) & ((margin > 0) | ((left != 0) & (op.kind not in ("eq", "ne"))))
            if close.any():
                return True
    return False


__all__ = ["KERNELS", "Checked", "check_tflite", "random_inputs"]
