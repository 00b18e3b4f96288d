"""An exported file in ONNX Runtime against the numpy reference: many steps, one stream and several at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.artifact.exported import state_output
from edgekit.backends.onnx.program import Program, make_program
from edgekit.backends.onnx.session import OnnxRuntime
from edgekit.compress.calibrate import Calibration
from edgekit.errors import DataError, ReplayError
from edgekit.ir import SPIKE, Graph
from edgekit.reference import Interpreter, Values, near_ties, outcomes

Array = npt.NDArray[Any]

TOLERANCE = 1e-5  # of a float, times max(1, |y|)
ACTIVITY = 0.3  # share of spikes among random spike inputs


@dataclass(frozen=True)
class Checked:
    """What a comparison found: values compared, the largest error |y - r| / max(1, |r|), and how many steps of a stream
    came out otherwise because a comparison was within 1e-5 of a tie.
    """

    form: str
    streams: int
    steps: int
    values: int
    worst: float
    excused: int


def random_inputs(graph: Graph, streams: int, steps: int, seed: int = 0) -> dict[str, Array]:
    """Inputs [N, T, *shape] of a step: normal numbers, and spikes of 0 and 1."""
    rng, inputs = np.random.default_rng(seed), {}
    for name in graph.entries["step"].inputs:
        tensor = graph.tensors[name]
        shape = (streams, steps, *tensor.shape)
        drawn = rng.random(shape) < ACTIVITY if tensor.dtype is SPIKE else rng.standard_normal(shape)
        inputs[name] = drawn.astype(np.float32)
    return inputs


def check_onnx(
    data: bytes,
    graph: Graph,
    *,
    calibration: Calibration | None = None,
    inputs: Mapping[str, Array] | None = None,
    streams: int = 3,
    steps: int = 32,
    seed: int = 0,
) -> Checked:
    """Compare a file with the optimised graph it was made of, over `inputs` [N, T, *shape] or random ones.

    Runs all streams at once, then the first alone. Spikes must be equal, floats within 1e-5 · max(1, |y|), next states
    included. A step where a comparison is within 1e-5 of a tie in float64 may come out as that comparison decides; such
    steps are counted. ReplayError names the first value and step that are not, DataError a file of another graph.
    """
    engine = OnnxRuntime(data)
    document = engine.document
    if document.graph_sha256 != graph.hash():
        raise DataError("ONNX file", "was not made of this graph")
    program = make_program(graph, document.precision, calibration)
    given = dict(inputs) if inputs is not None else random_inputs(program.graph, streams, steps, seed)
    first = {name: array[:1] for name, array in given.items()}
    check = _check_step if engine.form == "step" else _check_sequence
    found = [check(engine, program, some) for some in (given, first)]
    shape = next(iter(given.values())).shape
    return Checked(
        engine.form,
        shape[0],
        shape[1],
        sum(f.values for f in found),
        max(f.worst for f in found),
        sum(f.excused for f in found),
    )


@dataclass
class _Found:
    values: int = 0
    worst: float = 0.0
    excused: int = 0


def _check_step(engine: OnnxRuntime, program: Program, given: Mapping[str, Array]) -> _Found:
    graph = program.reference()
    reference, found = Interpreter(graph), _Found()
    streams, steps = next(iter(given.values())).shape[:2]
    expected, state = reference.initial_state(streams), engine.initial_state(streams)
    for t in range(steps):
        inputs = {name: array[:, t] for name, array in given.items()}
        outputs, following = reference.execute(inputs, expected)
        got = engine.run({**inputs, **state})
        wanted = _ports(outputs, following)
        for n in range(streams):
            alone = {name: value[n] for name, value in wanted.items()}
            errors = _errors({name: got[name][n] for name in alone}, alone)
            if not max(errors.values()) <= TOLERANCE:
                ways = outcomes(graph, _stream(inputs, n), _stream(expected, n))
                shown = _shown(ways, {k: v[n] for k, v in got.items()})
                if shown is None:
                    raise _mismatch(errors, t)
                chosen, errors = shown
                following = {k: _replaced(v, n, chosen[k]) for k, v in following.items()}
                found.excused += 1
            found.worst = max(found.worst, *errors.values())
        found.values += sum(value.size for value in wanted.values())
        expected = following
        state = {s.input: got[s.output] for s in engine.document.states}
    return found


def _ports(outputs: Values, states: Values) -> Values:
    return {**outputs, **{state_output(name): value for name, value in states.items()}}


def _replaced(values: Array, n: int, value: Array) -> Array:
    changed = np.array(values)
    changed[n] = value
    return changed


def _stream(values: Mapping[str, Array], n: int) -> Values:
    return {name: value[n : n + 1] for name, value in values.items()}


def _shown(ways: tuple[Values, Values] | None, got: Values) -> tuple[Values, dict[str, float]] | None:
    """Next states and errors of the outcome that a stream shows in place of the reference's; None if it shows none."""
    if ways is None:
        return None
    wanted = _ports(*ways)
    for way in range(len(next(iter(wanted.values())))):
        errors = _errors(got, {name: value[way] for name, value in wanted.items()})
        if max(errors.values()) <= TOLERANCE:
            return {name: value[way] for name, value in ways[1].items()}, errors
    return None


def _mismatch(errors: Mapping[str, float], t: int) -> ReplayError:
    wrong = {name: error for name, error in errors.items() if not error <= TOLERANCE}
    items = [f"{name}: off by {error:.3g}" for name, error in wrong.items()]
    return ReplayError(
        "ONNX file in ONNX Runtime", f"{next(iter(wrong))!r} differs from the reference at step {t}", items=items
    )


def _errors(got: Mapping[str, Array], wanted: Mapping[str, Array]) -> dict[str, float]:
    """max |y - r| / max(1, |r|) of each value, infinite for a spike, a shape or a special value that differs."""
    return {name: _error(np.asarray(got[name]), np.asarray(value)) for name, value in wanted.items()}


def _error(got: Array, wanted: Array) -> float:
    if got.shape != wanted.shape:
        return np.inf
    if wanted.dtype == np.bool_:
        return 0.0 if np.array_equal(got, wanted.astype(np.float32)) else np.inf
    same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    with np.errstate(invalid="ignore"):
        error = np.abs(got.astype(np.float64) - wanted) / np.maximum(1.0, np.abs(wanted, dtype=np.float64))
    return float(np.max(np.where(same, 0.0, np.where(np.isfinite(error), error, np.inf)), initial=0.0))


def _check_sequence(engine: OnnxRuntime, program: Program, given: Mapping[str, Array]) -> _Found:
    """All steps in one call: outputs of every step and the last states."""
    graph = program.reference()
    reference, found = Interpreter(graph), _Found()
    streams, steps = next(iter(given.values())).shape[:2]
    got = engine.run({**given, **engine.initial_state(streams)})
    state, open_streams = reference.initial_state(streams), set(range(streams))
    tied: set[int] = set()
    for t in range(steps):
        inputs = {name: array[:, t] for name, array in given.items()}
        outputs, following = reference.execute(inputs, state)
        here = {name: got[name][:, t] for name in outputs}
        wanted = outputs
        if t == steps - 1:
            here |= {state_output(name): got[state_output(name)] for name in following}
            wanted = _ports(outputs, following)
        for n in sorted(open_streams):
            if near_ties(graph, _stream(inputs, n), _stream(state, n)):
                tied.add(n)
            errors = _errors({k: here[k][n] for k in wanted}, {k: v[n] for k, v in wanted.items()})
            if max(errors.values()) <= TOLERANCE:
                found.worst = max(found.worst, *errors.values())
            elif n in tied:  # a comparison fell otherwise, here or before: from there on the stream is another
                open_streams.discard(n)
                found.excused += 1
            else:
                raise _mismatch(errors, t)
        found.values += sum(value[0].size for value in wanted.values()) * len(open_streams)
        state = following
    return found
