"""An exported file in ONNX Runtime against the numpy reference: many steps, one stream and several at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.artifact.exported import state_output
from edgekit.backends.onnx.program import make_program
from edgekit.backends.onnx.session import OnnxRuntime
from edgekit.compress.calibrate import Calibration
from edgekit.errors import DataError, ReplayError
from edgekit.ir import Graph
from edgekit.reference import Interpreter, Values, largest_error, outcomes, random_inputs

Array = npt.NDArray[Any]

TOLERANCE = 1e-5  # of a float, times max(1, |y|)
ROUNDINGS = 8  # times the error of the reference against float64 that a next state may be off
AMPLIFIED = 1e-4  # times max(1, |y|): the most that a next state may be off on that ground
DECIDED = 1e-3  # an error that no rounding makes: a comparison fell otherwise
MOST_PATHS = 64  # that are followed at once through ties whose outcome is not seen


@dataclass(frozen=True)
class Checked:
    """What a comparison found: values compared, the largest error |y - r| / max(1, |r|), how many steps of a stream
    came out otherwise because a comparison was within 1e-5 of a tie, and after how many a state was off by more than
    1e-5, where float32 in the reference is itself off by an eighth of that or more.
    """

    form: str
    streams: int
    steps: int
    values: int
    worst: float
    excused: int
    amplified: int


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

    Runs all streams at once, then the first alone. Spikes must be equal, floats within 1e-5 · max(1, |y|); so must next
    states, or within 1e-4 · max(1, |y|) and 8 times the error that the reference in float32 has against float64. A step
    where a comparison is within 1e-5 of a tie in float64 may come out as that comparison decides. Both exceptions are
    counted. ReplayError names the first value and step that are not so, DataError a file of another graph.
    """
    engine = OnnxRuntime(data)
    document = engine.document
    if document.graph_sha256 != graph.hash():
        raise DataError("ONNX file", "was not made of this graph")
    program = make_program(graph, document.precision, calibration)
    given = dict(inputs) if inputs is not None else random_inputs(program.graph, streams, steps, seed=seed)
    first = {name: array[:1] for name, array in given.items()}
    reference, paths, values = program.reference(), list[_Path](), 0
    for some in (given, first):
        seen = _observed(engine, some)
        values += sum(array.size for at in seen for array in at.values())
        for n in range(len(next(iter(some.values())))):
            alone = [{name: array[n] for name, array in at.items()} for at in seen]
            paths.append(_followed(reference, {name: array[n : n + 1] for name, array in some.items()}, alone))
    shape = next(iter(given.values())).shape
    excused, amplified = sum(path.turns for path in paths), sum(path.amplified for path in paths)
    return Checked(engine.form, shape[0], shape[1], values, max(p.worst for p in paths), excused, amplified)


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
    """One way through the steps of a stream: its state, the step and state of its last turn, and what was met."""

    state: Values
    turned: tuple[int, Values]
    worst: float = 0.0
    turns: int = 0
    amplified: int = 0

    def on(self, state: Values, errors: Mapping[str, float]) -> _Path:
        """The path a step further."""
        worst = max(errors.values())
        amplified = self.amplified + (worst > TOLERANCE)
        return replace(self, state=state, worst=max(self.worst, worst), amplified=amplified)


def _followed(graph: Graph, given: Mapping[str, Array], seen: Sequence[Values]) -> _Path:
    """The path of the reference that one stream took; ReplayError where there is none.

    Near a tie both ways are followed as long as what is seen does not tell which one it was.
    """
    reference = Interpreter(graph)
    first = reference.initial_state()
    paths = [_Path(first, (0, first))]
    for t, got in enumerate(seen):
        inputs = {name: array[:, t] for name, array in given.items()}
        on: list[_Path] = []
        missed: dict[str, float] = {}
        for path in paths:
            outputs, following = reference.execute(inputs, path.state)
            errors = _errors(got, _ports(outputs, following))
            fits = _fits(errors, partial(_rounding, graph, given, path.turned, t))
            told = fits and (not following or len(got) > len(outputs))  # states are seen, or there are none
            ways = () if told else outcomes(graph, inputs, path.state)
            if fits:
                on.append(path.on(following, errors))
            else:
                missed = missed or errors
            for outputs, following in ways:
                tried = _errors(got, _ports(outputs, following))
                if max(tried.values()) <= TOLERANCE:
                    on.append(replace(path, turned=(t + 1, following), turns=path.turns + 1).on(following, tried))
        if not on:
            raise _mismatch(missed, t)
        paths = sorted(on, key=lambda path: path.turns)[:MOST_PATHS]
    return paths[0]


def _fits(errors: Mapping[str, float], rounding: Callable[[], Mapping[str, float]]) -> bool:
    """Outputs within the tolerance; next states too, or not far off and within some times what the reference rounds."""
    wrong = {name: error for name, error in errors.items() if not error <= TOLERANCE}
    if not wrong or not max(wrong.values()) <= AMPLIFIED:
        return not wrong
    rounded = rounding()
    return all(error <= ROUNDINGS * rounded.get(name, 0.0) for name, error in wrong.items())


def _rounding(graph: Graph, given: Mapping[str, Array], since: tuple[int, Values], last: int) -> dict[str, float]:
    """The largest error of each next state of the reference against float64, both from one state on."""
    reference, exact = Interpreter(graph), Interpreter(graph, np.float64)
    found = {state_output(s.tensor): 0.0 for s in graph.states}
    state, wide = since[1], _wide(since[1])
    for t in range(since[0], last + 1):
        inputs = {name: array[:, t] for name, array in given.items()}
        state, wide = reference.execute(inputs, state)[1], exact.execute(inputs, wide)[1]
        errors = _errors(_ports({}, {name: value[0] for name, value in wide.items()}), _ports({}, state))
        if max(errors.values()) < DECIDED:
            found = {name: max(found[name], error) for name, error in errors.items()}
        else:  # float64 decided a comparison otherwise: from here on it is another stream
            wide = _wide(state)
    return found


def _wide(state: Values) -> Values:
    return {name: value.astype(np.float64) if value.dtype.kind == "f" else value for name, value in state.items()}


def _ports(outputs: Values, states: Values) -> Values:
    return {**outputs, **{state_output(name): value for name, value in states.items()}}


def _mismatch(errors: Mapping[str, float], t: int) -> ReplayError:
    wrong = {name: error for name, error in errors.items() if not error <= TOLERANCE}
    items = [f"{name}: off by {error:.3g}" for name, error in wrong.items()]
    return ReplayError(
        "ONNX file in ONNX Runtime", f"{next(iter(wrong))!r} differs from the reference at step {t}", items=items
    )


def _errors(got: Mapping[str, Array], wanted: Mapping[str, Array]) -> dict[str, float]:
    """The error of each value of one stream that is seen."""
    return {name: largest_error(value, wanted[name][0]) for name, value in got.items()}
