"""The self-test: a short stream whose results the reference has written down, replayed on the program itself.

An integer program must give every byte of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgekit.artifact import SelfTest
from edgekit.errors import ReplayError
from edgekit.ir import Graph
from edgekit.reference import Interpreter, pack_states, unpack_states
from edgekit.runtime.streams import Array, ReferenceStream

# Floats of a backend may differ from the reference in the order of a sum: this much, relative to the larger of 1 and
# the expected value. Spikes may not differ at all.
TOLERANCE = 1e-4


class Replayable(Protocol):
    """What a replay needs of a stream."""

    @property
    def engine(self) -> str:
        """Which engine this is, in words."""

    def reset(self) -> None:
        """Start again."""

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run the step over [T, *shape] arrays."""

    def save(self) -> bytes:
        """The state blob."""


@dataclass(frozen=True)
class SelfTestReport:
    """What a replay found: the engine, steps replayed, and the worst relative error of outputs and final states."""

    engine: str
    steps: int
    worst_error: float


def relative_error(got: Array, expected: Array) -> float:
    """The largest |got - expected| / max(1, |expected|), 0 where both are NaN or the same infinity.

    Infinite where one alone is not finite, or integers differ.
    """
    if got.dtype.kind == "i" and expected.dtype.kind == "i":
        return 0.0 if np.array_equal(got, expected) else float("inf")
    if got.size == 0:
        return 0.0
    a, b = got.astype(np.float64), expected.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):  # Inf - Inf
        difference = np.where(same, 0.0, np.abs(a - b) / np.maximum(1.0, np.abs(b)))
    worst = float(np.max(difference))
    return float("inf") if np.isnan(worst) else worst


def make_selftest(graph: Graph, stimulus: Mapping[str, Array]) -> SelfTest:
    """The first of N candidate streams [N, T, *shape] whose spikes are the same in float32 and in float64.

    Such a stream keeps its distance from every threshold, so that a correct program cannot fail it by rounding. When
    no candidate does, the first one is taken. Integers keep no such distance: an integer program takes the first.
    """
    outputs, state = Interpreter(graph).run(stimulus)
    chosen = 0 if graph.is_integer else _robust(graph, stimulus, outputs, state)
    return SelfTest(
        {k: np.ascontiguousarray(a[chosen], dtype=graph.port_dtype(k)) for k, a in stimulus.items()},
        {k: np.ascontiguousarray(a[chosen], dtype=graph.port_dtype(k)) for k, a in outputs.items()},
        pack_states(graph, {k: a[chosen] for k, a in state.items()}),
    )


def _robust(
    graph: Graph, stimulus: Mapping[str, Array], outputs: Mapping[str, Array], state: Mapping[str, Array]
) -> int:
    """The first stream whose outputs and final states are the same in float32 and in float64, else 0."""
    exact_outputs, exact_state = Interpreter(graph, np.float64).run(stimulus)

    def robust(n: int) -> bool:
        pairs = [(outputs[k][n], exact_outputs[k][n]) for k in outputs]
        pairs += [(state[k][n], exact_state[k][n]) for k in state]
        return all(
            relative_error(np.asarray(a, np.float32), np.asarray(b, np.float64)) <= TOLERANCE / 10 for a, b in pairs
        )

    batch = next(iter(stimulus.values())).shape[0]
    return next((n for n in range(batch) if robust(n)), 0)


def replay_selftest(graph: Graph, selftest: SelfTest, stream: Replayable) -> SelfTestReport:
    """Run the stream from a reset and compare every output and the final states.

    Raises ReplayError that names the first output or state outside the tolerance, and the step.
    """
    stream.reset()
    step = graph.entries["step"]
    got = stream.run([selftest.inputs[n] for n in step.inputs])
    steps = next(iter(selftest.inputs.values())).shape[0]
    worst = 0.0
    for name, values in zip(step.outputs, got, strict=True):
        for t in range(steps):
            error = relative_error(values[t], selftest.outputs[name][t])
            if not error <= TOLERANCE:
                raise _failed(stream, f"output {name!r} {_difference(values[t], selftest.outputs[name][t])}", t, steps)
            worst = max(worst, error)
    final = unpack_states(graph, stream.save())
    for name, expected in unpack_states(graph, selftest.final_state).items():
        real = np.float32 if expected.dtype.kind != "i" else expected.dtype
        error = relative_error(np.asarray(final[name], real), np.asarray(expected, real))
        if not error <= TOLERANCE:
            raise _failed(stream, f"state {name!r} {_difference(final[name], expected)}", steps - 1, steps)
        worst = max(worst, error)
    return SelfTestReport(stream.engine, steps, worst)


def width_selftest(graph: Graph, width: int, inputs: Mapping[str, Array]) -> SelfTest:
    """What the reference does with the inputs of a self-test at another width of the program."""
    stream, names = ReferenceStream(graph, width), graph.entries["step"]
    outputs = stream.run([inputs[n] for n in names.inputs])
    return SelfTest(dict(inputs), dict(zip(names.outputs, outputs, strict=True)), stream.save())


def _difference(got: Array, wanted: Array) -> str:
    """The element that is off most, or first where one is not finite: what it is, and what the reference says."""
    a, b = (np.asarray(values, np.float64).reshape(-1) for values in (got, wanted))
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        at = int(np.argmax(np.where(same, 0.0, np.where(np.isnan(a - b), np.inf, np.abs(a - b)))))
    return f"is {a[at]:.9g} where the reference says {b[at]:.9g} (element {at})"


def _failed(stream: Replayable, what: str, step: int, steps: int) -> ReplayError:
    return ReplayError(
        f"self-test on {stream.engine}",
        f"{what} at step {step} of {steps}",
        "nothing is wrong with the model: please report this, and try another --target or --compiler",
    )
