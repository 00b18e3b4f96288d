"""An exported file in ONNX Runtime against the numpy reference: many steps, one stream and several at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.artifact.exported import state_output
from edgekit.backends.onnx.program import make_program
from edgekit.backends.onnx.session import OnnxRuntime
from edgekit.compress.calibrate import Calibration
from edgekit.errors import DataError, ReplayError
from edgekit.ir import SPIKE, Graph
from edgekit.reference import Interpreter, Values, outcomes

Array = npt.NDArray[Any]

TOLERANCE = 1e-5  # of a float, times max(1, |y|)
MOST_PATHS = 64  # that are followed at once through ties whose outcome is not seen
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
    reference, paths, values = program.reference(), list[_Path](), 0
    for some in (given, first):
        seen = _observed(engine, some)
        values += sum(array.size for at in seen for array in at.values())
        for n in range(len(next(iter(some.values())))):
            alone = [{name: array[n] for name, array in at.items()} for at in seen]
            paths.append(_followed(reference, {name: array[n : n + 1] for name, array in some.items()}, alone))
    shape = next(iter(given.values())).shape
    worst, excused = max(path.worst for path in paths), sum(path.turns for path in paths)
    return Checked(engine.form, shape[0], shape[1], values, worst, excused)


def _observed(engine: OnnxRuntime, given: Mapping[str, Array]) -> list[Values]:
    """What the file gives after each step, as reals [N, *shape]: outputs and next states; of a sequence the last."""
    streams, steps = next(iter(given.values())).shape[:2]
    state, document = engine.initial_state(streams), engine.document
    if engine.form == "step":
        seen = []
        for t in range(steps):
            got = engine.run({**{name: array[:, t] for name, array in given.items()}, **state})
            state = {s.input: got[s.output] for s in document.states}
            seen.append({name: engine.real(name, array) for name, array in got.items()})
        return seen
    got = engine.run({**given, **state})
    seen = [{port.name: got[port.name][:, t] for port in document.outputs} for t in range(steps)]
    seen[-1] |= {s.output: engine.real(s.output, got[s.output]) for s in document.states}
    return seen


@dataclass(frozen=True, eq=False)
class _Path:
    """One way through the steps of a stream: where it is, its largest error, and how often a tie fell otherwise."""

    state: Values
    worst: float = 0.0
    turns: int = 0


def _followed(graph: Graph, given: Mapping[str, Array], seen: Sequence[Values]) -> _Path:
    """The path of the reference that one stream took; ReplayError where there is none.

    Near a tie both ways are followed as long as what is seen does not tell which one it was.
    """
    reference = Interpreter(graph)
    paths = [_Path(reference.initial_state())]
    for t, got in enumerate(seen):
        inputs = {name: array[:, t] for name, array in given.items()}
        on: list[_Path] = []
        missed: dict[str, float] = {}
        for path in paths:
            outputs, following = reference.execute(inputs, path.state)
            errors = _errors(got, _ports(outputs, following), 0)
            right = max(errors.values()) <= TOLERANCE
            told = right and (not following or len(got) > len(outputs))  # states are seen, or there are none
            ways = None if told else outcomes(graph, inputs, path.state)
            for way in range(len(next(iter(ways[0].values()))) if ways else 1):
                if ways:
                    errors = _errors(got, _ports(*ways), way)
                    following = {name: value[way : way + 1] for name, value in ways[1].items()}
                if (error := max(errors.values())) <= TOLERANCE:
                    on.append(_Path(following, max(path.worst, error), path.turns + (way > 0)))
                else:
                    missed = missed or errors
        if not on:
            raise _mismatch(missed, t)
        paths = sorted(on, key=lambda path: path.turns)[:MOST_PATHS]
    return paths[0]


def _ports(outputs: Values, states: Values) -> Values:
    return {**outputs, **{state_output(name): value for name, value in states.items()}}


def _mismatch(errors: Mapping[str, float], t: int) -> ReplayError:
    wrong = {name: error for name, error in errors.items() if not error <= TOLERANCE}
    items = [f"{name}: off by {error:.3g}" for name, error in wrong.items()]
    return ReplayError(
        "ONNX file in ONNX Runtime", f"{next(iter(wrong))!r} differs from the reference at step {t}", items=items
    )


def _errors(got: Mapping[str, Array], wanted: Mapping[str, Array], way: int) -> dict[str, float]:
    """max |y - r| / max(1, |r|) of each value that is seen, infinite where a spike, shape or special value differs."""
    return {name: _error(value, wanted[name][way]) for name, value in got.items()}


def _error(got: Array, wanted: Array) -> float:
    if got.shape != wanted.shape:
        return np.inf
    if wanted.dtype == np.bool_:
        return 0.0 if np.array_equal(got, wanted.astype(np.float32)) else np.inf
    same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    with np.errstate(invalid="ignore"):
        error = np.abs(got.astype(np.float64) - wanted) / np.maximum(1.0, np.abs(wanted, dtype=np.float64))
    return float(np.max(np.where(same, 0.0, np.where(np.isfinite(error), error, np.inf)), initial=0.0))
