"""The replay check: the original module beside the imported graph, step by step; a difference refuses the import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgekit.errors import ReplayError
from edgekit.frontends.calls import repeated
from edgekit.frontends.discover import Discovered
from edgekit.frontends.slots import clone, leaves
from edgekit.ir import SPIKE, Graph
from edgekit.reference import Interpreter, growing_states

Array = npt.NDArray[Any]
Values = dict[str, Array]

STEPS = 24
FLOAT_TOLERANCE = 1e-4
"""Largest error of a float value, relative to the largest magnitude of that value in its sample, at least 1."""

SPIKE_MARGIN = 1e-5
"""A spike may differ only where float64 puts some membrane of the sample this close to its threshold."""

MAX_EXCUSED = 0.05
"""Share of the steps in which a sample may be excused that way; more is not rounding."""

REMEDY = "a step must depend on its inputs and tensor states alone (no counters, no randomness)"
COMPARISONS = ("gt", "ge", "lt", "le")


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


def replay(found: Discovered, graph: Graph) -> ReplayReport:
    """Run module and graph beside each other for STEPS steps on inputs of several scales, zeros among them.

    Floats must agree within FLOAT_TOLERANCE, spikes exactly. A sample whose spikes differ is excused at a step where a
    comparison of it has a float64 margin below SPIKE_MARGIN; the graph then goes on from the module's state.
    Raises ReplayError that names the first output or state, step and error that is not so excused.
    """
    run = _Run(found, graph)
    with torch.no_grad():
        for step, inputs in enumerate(_streams(found, run.batch)):
            run.compare(step, inputs)
    return run.report()


def _streams(found: Discovered, batch: int) -> list[tuple[Tensor, ...]]:
    """Inputs of every step: the example, noise of three scales, 0/1 events, and silence."""
    random = torch.Generator().manual_seed(20)
    streams: list[tuple[Tensor, ...]] = []
    for step in range(STEPS):
        row: list[Tensor] = []
        for example in found.subject.examples:
            noise = torch.randn(batch, *example.shape[1:], generator=random)
            kinds = (
                example[:1].expand(noise.shape).clone(),
                noise,
                0.1 * noise,
                (noise > 0).float(),
                4 * noise,
                torch.zeros_like(noise),
            )
            row.append(kinds[step % len(kinds)])
        streams.append(tuple(row))
    return streams


class _Run:
    """Both sides of the replay, and what has been compared so far."""

    def __init__(self, found: Discovered, graph: Graph) -> None:
        self.found, self.graph, self.batch = found, graph, found.native_batch
        self.thing = found.subject.thing
        self._module, self._passed = clone(found.subject.module), repeated(found.subject.given, self.batch)
        self._oracle, self._exact = Interpreter(graph), Interpreter(graph, np.float64)
        self._state = self._oracle.initial_state(self.batch)
        self._native = self._kept(dict(zip(found.states, found.initial_states(self.batch), strict=True)))
        self._entry = graph.entries["step"]
        self._worst: dict[str, tuple[float, int]] = {}
        self._counts: dict[str, list[int]] = {}
        self._excused = 0

    def _kept(self, states: dict[str, Tensor]) -> Values:
        """The module's states that the graph still has, as the graph stores them."""
        tensors = {n: self.graph.tensor(n) for n in states if n in self.graph.state_names}
        return {n: states[n].detach().numpy().astype(t.dtype.numpy) for n, t in tensors.items()}

    def compare(self, step: int, inputs: tuple[Tensor, ...]) -> None:
        """One step on both sides; ReplayError when they differ without excuse."""
        fed = dict(zip(self._entry.inputs, (x.numpy() for x in inputs), strict=True))
        outputs, state = self._oracle.execute(fed, self._state)
        expected = self._run_module(inputs)
        before, after = self._native, self._kept(dict(zip(self.found.states, expected[1], strict=True)))
        pairs = [
            *zip(self._entry.outputs, outputs.values(), (y.numpy() for y in expected[0]), strict=True),
            *((f"state {n}", state[n], after[n]) for n in state),
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
        for name, value in state.items():  # an excused sample goes on from the module's own state
            value[excused] = after[name][excused]
        self._state, self._native = state, after

    def _run_module(self, inputs: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        form = self.found.step.form
        outputs, self._passed = form.call(self._module, inputs, self._passed)
        held = [slot.tensor(self._module).detach().clone() for slot in self.found.step.slots]
        return [t for _, t in leaves(outputs)], [*held, *(t for _, t in leaves(self._passed))]

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
        error = np.where(same, 0.0, np.where(finite, np.abs(np.where(finite, a - b, 0.0)), np.inf))
        return np.asarray(error.max(axis=1, initial=0.0) / scale)

    def _margins(self, inputs: Values, state: Values) -> Array:
        """Per sample: how close any comparison came to its threshold in float64, from the module's own state."""
        values = self._exact.trace(inputs, state)
        least = np.full(self.batch, np.inf)
        for op in self._entry.ops:
            if op.kind in COMPARISONS:
                gap = np.abs(values[op.inputs[0]] - values[op.inputs[1]])
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
