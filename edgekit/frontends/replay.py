"""The replay check: the original module beside the imported graph, step by step; a difference refuses the import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import ReplayError
from edgekit.frontends.original import Original, Streams
from edgekit.ir import SPIKE, Graph
from edgekit.reference import Interpreter, growing_states

Array = npt.NDArray[Any]
Values = dict[str, Array]

STEPS = 24
SEED = 20
FLOAT_TOLERANCE = 1e-4
"""Largest error of a float value, relative to the largest magnitude of that value in its sample, at least 1."""

SPIKE_MARGIN = 1e-5
"""A spike may differ only where float64 puts some membrane of the sample this close to its threshold."""

MAX_EXCUSED = 0.05
"""Share of the steps in which a sample may be excused that way; more is not rounding."""

REMEDY = "a step must depend on its inputs and tensor states alone (no counters, no randomness)"
COMPARISONS = ("gt", "ge", "lt", "le")
STEPS_OF = {"round": 0.5, "floor": 0.0}
"""Ops that jump from one whole number to the next, and where between them."""


@dataclass(frozen=True)
class ValueReport:
    """How one output or state fared: worst error over all steps, and the step (from 0) where it was."""

    name: str
    kind: str
    worst_error: float
    worst_step: int
    compared: int
    fired: int
    differing: int


@dataclass(frozen=True)
class ReplayReport:
    """The replay of a module against its graph. Excused are samples whose spikes rounding alone may decide."""

    steps: int
    batch: int
    values: tuple[ValueReport, ...]
    excused: int

    @property
    def worst_error(self) -> float:
        """Largest error of any float value, relative as `FLOAT_TOLERANCE` is."""
        return max((v.worst_error for v in self.values if v.kind != "spike"), default=0.0)

    @property
    def spikes_compared(self) -> int:
        return sum(v.compared for v in self.values if v.kind == "spike")

    @property
    def spikes_fired(self) -> int:
        return sum(v.fired for v in self.values)

    @property
    def spikes_differing(self) -> int:
        return sum(v.differing for v in self.values)


def replay(original: Original, graph: Graph, examples: Sequence[Array] | None = None) -> ReplayReport:
    """Run the original model and the graph beside each other for STEPS steps on inputs of several scales, and silence.

    `examples` are inputs of one sample, zeros if None. Floats must agree within FLOAT_TOLERANCE, spikes exactly. A
    sample that differs is excused at a step where a comparison, or a rounding, of it has a float64 margin below
    SPIKE_MARGIN; the graph then goes on from the model's state.
    Raises ReplayError that names the first output or state, step and error that is not so excused.
    """
    run = _Run(original, graph)
    shapes = [graph.tensor(n).shape for n in graph.entries["step"].inputs]
    given = examples if examples is not None else [np.zeros(shape, np.float32) for shape in shapes]
    for step, inputs in enumerate(_streams(original, given)):
        run.compare(step, inputs)
    return run.report()


def _streams(original: Original, examples: Sequence[Array]) -> list[list[Array]]:
    """Inputs of every step: the example, noise of three scales, 0/1 events, and silence; or what the model draws."""
    random, batch = np.random.default_rng(SEED), original.batch
    streams: list[list[Array]] = []
    for step in range(STEPS):
        if (drawn := original.draw(batch, random)) is not None:
            streams.append(drawn)
            continue
        row: list[Array] = []
        for example in examples:
            noise = random.standard_normal((batch, *example.shape)).astype(np.float32)
            kinds = (
                np.broadcast_to(example.astype(np.float32), noise.shape),
                noise,
                np.float32(0.1) * noise,
                (noise > 0).astype(np.float32),
                4 * noise,
                np.zeros_like(noise),
            )
            row.append(kinds[step % len(kinds)])
        streams.append(row)
    return streams


class _Run:
    """Both sides of the replay, and what has been compared so far."""

    def __init__(self, original: Original, graph: Graph) -> None:
        self.graph, self.batch, self.thing = graph, original.batch, original.thing
        self._streams: Streams = original.start(self.batch, native=True)
        self._oracle, self._exact = Interpreter(graph), Interpreter(graph, np.float64)
        self._state = self._oracle.initial_state(self.batch)
        self._native = self._kept(self._streams.states())
        self._entry = graph.entries["step"]
        self._worst: dict[str, tuple[float, int]] = {}
        self._counts: dict[str, list[int]] = {}
        self._excused = 0

    def _kept(self, states: Mapping[str, Array]) -> Values:
        """The model's states that the graph still has, as the graph stores them."""
        tensors = {n: self.graph.tensor(n) for n in states if n in self.graph.state_names}
        return {n: states[n].astype(t.dtype.numpy) for n, t in tensors.items()}

    def compare(self, step: int, inputs: Sequence[Array]) -> None:
        """One step on both sides; ReplayError when they differ without excuse."""
        fed = dict(zip(self._entry.inputs, inputs, strict=True))
        outputs, state = self._oracle.execute(fed, self._state)
        expected = self._streams.step(inputs)
        before, after = self._native, self._kept(self._streams.states())
        pairs = [
            *zip(self._entry.outputs, outputs.values(), expected, strict=True),
            *((f"state {n}", state[n], after[n]) for n in after),
        ]
        errors = {name: self._errors(name, a, b) for name, a, b in pairs}
        differs = np.any([error > self._limit(name) for name, error in errors.items()], axis=0)
        excused = differs & (self._margins(fed, before) < SPIKE_MARGIN) if differs.any() else differs
        self._excused += int(excused.sum())
        if (differs & ~excused).any() or self._excused > MAX_EXCUSED * STEPS * self.batch:
            self._refuse(step, errors, differs if not (differs & ~excused).any() else differs & ~excused)
        for name, a, b in pairs:
            self._count(name, a, b)
            self._note_worst(name, step, errors[name][~excused])
        if excused.any():  # such a sample goes on from the model's own state
            state = {n: np.where(_column(excused, v), after.get(n, v), v) for n, v in state.items()}
        self._state, self._native = state, after

    def _is_spike(self, name: str) -> bool:
        return self.graph.tensor(name.removeprefix("state ")).dtype is SPIKE

    def _limit(self, name: str) -> float:
        return 0.0 if self._is_spike(name) else FLOAT_TOLERANCE

    def _errors(self, name: str, got: Array, expected: Array) -> Array:
        """Per sample: the number of differing spikes, or the relative error of floats (NaN and Inf must agree)."""
        rows = got.shape[0]
        a, b = (np.reshape(v, (rows, -1)).astype(np.float64) for v in (got, expected))
        if self._is_spike(name):
            return np.asarray((a != b).sum(axis=1), dtype=np.float64)
        finite = np.isfinite(a) & np.isfinite(b)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        scale = np.maximum(1.0, np.where(finite, np.abs(b), 0).max(axis=1, initial=0.0))
        with np.errstate(invalid="ignore"):  # Inf - Inf, which `same` has seen
            error = np.where(same, 0.0, np.where(finite, np.abs(a - b), np.inf))
        return np.asarray(error.max(axis=1, initial=0.0) / scale)

    def _margins(self, inputs: Values, state: Values) -> Array:
        """Per sample: how close any comparison came to its threshold in float64, from the module's own state."""
        values = self._exact.trace(inputs, {**self._state, **state})
        least = np.full(self.batch, np.inf)
        for op in self._entry.ops:
            if op.kind in COMPARISONS or op.kind in STEPS_OF:
                gap = _gap(op.kind, [values[n] for n in op.inputs])
                least = np.minimum(least, gap.reshape(gap.shape[0], -1).min(axis=1, initial=np.inf))
        return least

    def _count(self, name: str, got: Array, expected: Array) -> None:
        counts = self._counts.setdefault(name, [0, 0, 0])
        counts[0] += int(expected.size)
        if self._is_spike(name):
            counts[1] += int(np.count_nonzero(expected))
            counts[2] += int(np.count_nonzero(got != expected))

    def _note_worst(self, name: str, step: int, errors: Array) -> None:
        worst = float(errors.max(initial=0.0))
        if not self._is_spike(name) and worst > self._worst.get(name, (0.0, 0))[0]:
            self._worst[name] = (worst, step)

    def _refuse(self, step: int, errors: dict[str, Array], samples: Array) -> None:
        name = next(n for n, error in errors.items() if (error[samples] > self._limit(n)).any())
        worst = errors[name][samples].max()
        how = f"{worst:.0f} spikes differ" if self._is_spike(name) else f"relative error {worst:.3g}"
        unstable = [str(growth) for growth in growing_states(self.graph)]
        raise ReplayError(
            self.thing,
            f"the imported graph differs from it: {name}, step {step}: {how}",
            "rounding errors grow with an unstable state" if unstable else REMEDY,
            items=unstable,
        )

    def report(self) -> ReplayReport:
        """What was compared."""
        rows = []
        for name, (compared, fired, differing) in self._counts.items():
            worst, at = self._worst.get(name, (0.0, 0))
            kind = "spike" if self._is_spike(name) else "float"
            rows.append(ValueReport(name, kind, worst, at, compared, fired, differing))
        return ReplayReport(STEPS, self.batch, tuple(rows), self._excused)


def _gap(kind: str, operands: Sequence[Array]) -> Array:
    """How close each element of a comparison, or of a rounding, came to where its result changes."""
    if kind in COMPARISONS:
        return np.asarray(np.abs(operands[0] - operands[1]))
    x = operands[0] + STEPS_OF[kind]  # whole numbers are where it jumps; rounding errors grow with x
    return np.asarray(np.abs(x - np.rint(x)) / np.maximum(1.0, np.abs(x)))


def _column(flags: Array, like: Array) -> Array:
    """One flag for each sample, to choose between values [N, ...]."""
    return flags.reshape(-1, *(1,) * (like.ndim - 1))
