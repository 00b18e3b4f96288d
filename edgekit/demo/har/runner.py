"""One model on the stream: its front door, what its newest step cost, and how often it was right."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np

from edgekit.demo.har.frames import Called, Figure, ModelFrame, ModelScene
from edgekit.demo.har.models import Prepared
from edgekit.demo.har.watched import Watched, watch
from edgekit.ir import SPIKE
from edgekit.profile.estimate import Estimate, estimates
from edgekit.profile.grades import DERIVED, EMULATED, ESTIMATED, MEASURED, UNAVAILABLE
from edgekit.runtime import Session
from edgekit.runtime.streams import Array
from edgekit.streaming import Decision, Event, FrontDoor, Options, Sample
from edgekit.streaming.decisions import softmax
from edgekit.target import Target, load_target

OUTPUT = "output"
_MICRO = 1e6


class Runner:
    """A prepared model behind a front door; `emulated` runs it on the emulated core of `target`, in the loop.

    `names` are those of its outputs, which may grow by what is taught.
    """

    def __init__(
        self, prepared: Prepared, target: Target, options: Options, names: Sequence[str], *, emulated: bool
    ) -> None:
        self.prepared, self.names, self._target = prepared, names, target
        self.session: Watched = watch(prepared.artifact, emulated=emulated)
        self._emulated, self._notes = emulated, self.session.notes
        layout = self.session.facts.layout
        self._spiking = tuple(row.name for row in layout.rows if row.dtype is SPIKE)
        (output,) = self.session.facts.outputs
        graph = prepared.artifact.graph
        self._fires = graph.tensors[output].dtype is SPIKE
        self.populations = {name.removesuffix(".spikes"): graph.tensors[name].size for name in self._spiking}
        if self._fires:
            self.populations[OUTPUT] = graph.tensors[output].size
        self.doubts: list[str] = []  # about the rate of the samples, not told yet
        self.door = FrontDoor(self.session, options, self._after_step, self.doubts.append)
        self.tally = np.zeros((len(names), len(names)), np.int64)
        self._spikes: dict[str, tuple[int, ...]] = {}
        self.given: list[Array] = []  # what the steps of the newest sample took
        self._label: str | None = None
        self._confidence: dict[str, float] = {}
        self.right = self.known = 0
        self._steps = self._executed = 0

    def scene(self) -> ModelScene:
        """What stays the same."""
        sizes = self.prepared.sizes
        stack = sizes.get("stack_bytes")
        less = () if stack is not None else (f"RAM of {self.prepared.family} is without the stack: nobody measured it",)
        return ModelScene(
            family=self.prepared.family,
            precision=self.prepared.precision,
            engine=self.session.engine,
            steps=self.prepared.steps,
            populations=self.populations,
            flash_bytes=sizes["flash_bytes"],
            ram_bytes=sizes["ram_bytes"] + (stack or 0),
            flash_grade=DERIVED,
            ram_grade=DERIVED if stack is None else EMULATED,
            notes=(*self.prepared.notes, *less),
        )

    def feed(self, sample: Sample) -> list[Decision | Event]:
        """Take a sample; what comes of it is for `note` and `frame`."""
        self._spikes, self.given = {}, []
        return self.door.feed(sample)

    def note(self, decision: Decision, time: float, truth: str | None) -> Called:
        """Take in a decision that came at a `time`, beside the true class of its window where that is known."""
        name = self.names[decision.label]
        self._label = None if decision.shown is None else self.names[decision.shown]
        probabilities = softmax(np.asarray(decision.scores))
        self._confidence = {n: float(p) for n, p in zip(self.names, probabilities, strict=True)}
        if truth in self.names:
            self.known += 1
            self.right += name == truth
            self.tally[self.names.index(truth), decision.label] += 1
        return Called(decision.index, time, name, decision.confidence, truth)

    def frame(self, called: Called | None) -> ModelFrame:
        """What is to be seen now."""
        instructions = self._notes.instructions if self._emulated else self.prepared.instructions
        return ModelFrame(
            decision=called,
            label=self._label,
            confidence=self._confidence,
            spikes=self._spikes,
            latency=self._latency(instructions),
            instructions=instructions,
            energy=self.energy(instructions),
            right=self.right,
            known=self.known,
            instructions_grade=UNAVAILABLE if instructions is None else EMULATED,
        )

    @property
    def instructions(self) -> float | None:
        """Mean of a step: of all so far where they are counted in the loop, else of those counted beforehand."""
        return self._executed / self._steps if self._emulated and self._steps else self.prepared.instructions

    def energy(self, instructions: float | None) -> Figure:
        """The energy of so many instructions on the target, in µJ."""
        return _figure(_estimate(instructions, self._target.name, "energy per step"), "µJ")

    def _latency(self, instructions: float | None) -> Figure:
        if self._emulated:
            return _figure(_estimate(instructions, self._target.name, "time per step"), "µs")
        if self._notes.nanoseconds == 0:
            return Figure(None, "µs", UNAVAILABLE, "no step yet")
        return Figure(self._notes.nanoseconds / 1e3, "µs", MEASURED, "on this computer, one call from Python")

    def _after_step(self, stream: Session) -> None:
        self._steps += 1
        self._executed += self._notes.instructions or 0
        self.given.append(np.array(self._notes.given, np.float32))
        if not self.populations:
            return
        states = stream.facts.layout.unpack(stream.save_state())
        fired = {name.removesuffix(".spikes"): states[name] for name in self._spiking}
        if self._fires:
            fired[OUTPUT] = self._notes.outputs
        self._spikes = {name: tuple(np.flatnonzero(array).tolist()) for name, array in fired.items()}


@lru_cache(maxsize=4096)
def _estimate(instructions: float | None, target: str, name: str) -> Estimate:
    if instructions is None:
        return Estimate(name, None, "", UNAVAILABLE, f"instructions of {target} are not counted here")
    found = estimates(instructions, _target(target))
    return next(estimate for estimate in found if estimate.name == name)


@cache
def _target(name: str) -> Target:
    return load_target(name)


def _figure(estimate: Estimate, unit: str) -> Figure:
    """An estimate in seconds or joules as a figure in millionths of them."""
    if estimate.value is None:
        return Figure(None, unit, UNAVAILABLE, estimate.formula)
    low, high = estimate.low or 0.0, estimate.high or 0.0
    return Figure(estimate.value * _MICRO, unit, ESTIMATED, estimate.formula, low * _MICRO, high * _MICRO)
