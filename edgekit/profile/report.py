"""A profile: every figure of one program, in one place or the other, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

from edgekit.artifact import Artifact
from edgekit.errors import ToolchainError, UsageError
from edgekit.profile.arena import Places, artifact_places
from edgekit.profile.breakdown import Breakdown, break_down
from edgekit.profile.conditions import Conditions, changes
from edgekit.profile.counts import Progress, StepCounts, count_steps, counting_stream, silent
from edgekit.profile.estimate import Estimate, estimates
from edgekit.profile.figures import SCHEMA_VERSION
from edgekit.profile.host import Host, describe_host
from edgekit.profile.measurer import Clock, Mark, Measurer, measure
from edgekit.profile.measurer_wire import deadlines_of
from edgekit.profile.memory import Memory, program_memory
from edgekit.profile.operations import Activity, Operations, observe
from edgekit.profile.paced import Paced
from edgekit.profile.places import Here, Place
from edgekit.profile.power import EnergyResult, PowerOption
from edgekit.profile.powered import CSV, no_power, powered
from edgekit.profile.stimulus import Array, Stimulus, given_stimulus, noise_stimulus, selftest_stimulus
from edgekit.profile.timing import MeasurePlan, Timing, time_steps
from edgekit.runtime import Session, load
from edgekit.target import load_target

MOST_COUNTED = 400  # steps in the emulator, unless more are asked for, and about as many in the reference


@dataclass(frozen=True)
class Given:
    """An input in raw units, and what messages call it."""

    name: str
    x: Array


@dataclass(frozen=True)
class Profile:
    """What was found out about a program: `counts` where it was emulated; `timings`, `paced`, `clock`, `conditions` and
    `energy` where it ran; `breakdown` where that was on this computer, which `host` then describes.

    `memory` is None of an exported file: what its runtime takes is not known; `file_bytes` is the size of such a file.
    `notes` say what could not be found out and why. `selftest_steps` were replayed at the place before
    anything was measured there, and off by `selftest_error` at most, relative to the larger of 1 and the expected
    value: 0 of integers. `copied` is what was copied to a board for it, and removed again.
    """

    artifact: str
    target: str
    precision: str
    engine: str
    stimulus: str
    steps: int
    available: int
    place: str = "this computer"
    memory: Memory | None = None
    file_bytes: int | None = None
    places: Places | None = None
    estimates: tuple[Estimate, ...] = ()
    timings: tuple[Timing, ...] = ()
    paced: Paced | None = None
    clock: Clock | None = None
    breakdown: Breakdown | None = None
    counts: StepCounts | None = None
    operations: Operations | None = None
    activity: Activity | None = None
    energy: EnergyResult | None = None
    error: Mapping[str, Any] | None = None
    host: Host | None = None
    conditions: tuple[Conditions, Conditions] | None = None
    selftest_steps: int | None = None
    selftest_error: float | None = None
    copied: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        parts = ("memory", "places", "paced", "breakdown", "counts", "operations", "activity", "energy")
        plain = {name: found.to_dict() if (found := getattr(self, name)) else None for name in parts}
        conditions = None
        if self.conditions:
            conditions = {k: c.to_dict() for k, c in zip(("before", "after"), self.conditions, strict=True)}
        listed = {
            "estimates": [asdict(estimate) for estimate in self.estimates],
            "timings": [timing.to_dict() for timing in self.timings],
            "clock": asdict(self.clock) if self.clock else None,
            "host": asdict(self.host) if self.host else None,
            "error": dict(self.error) if self.error else None,
            "conditions": conditions,
        }
        kept = ("artifact", "target", "precision", "engine", "stimulus", "steps", "available", "place", "file_bytes")
        first = {name: getattr(self, name) for name in (*kept, "selftest_steps", "selftest_error")}
        lists = {"copied": list(self.copied), "notes": list(self.notes)}
        return {"schema_version": SCHEMA_VERSION, **first, **plain, **listed, **lists}


def profile_emulated(
    artifact: Artifact,
    given: Given | None = None,
    *,
    steps: int | None = None,
    power: PowerOption | None = None,
    progress: Progress = silent,
) -> Profile:
    """Count a program on the emulated core of its target, over a given input or else over its self-test.

    ToolchainError when the target has no emulated core or its emulator is not installed, DataError when the input does
    not fit, UsageError for a sensor, which an emulated core has not.
    """
    _program_of(artifact)
    no_power(power, "an emulated core has no sensor")
    stream = counting_stream(artifact)
    whole = given_stimulus(Session(artifact, stream), given.x, given.name) if given else selftest_stimulus(artifact)
    stimulus = whole.first(MOST_COUNTED if steps is None else steps)
    counts = count_steps(artifact, stimulus, stream=stream, progress=progress)
    target = load_target(str(artifact.manifest["target"]))
    found = Profile(
        artifact=artifact.name,
        target=target.name,
        precision=str(artifact.manifest["precision"]),
        engine=counts.engine,
        stimulus=stimulus.name,
        steps=stimulus.steps,
        available=stimulus.available,
        place=f"emulated {counts.core}",
        memory=program_memory(artifact, counts.stack),
        estimates=estimates(counts.total, target),
        counts=counts,
        energy=power.file_energy() if power is not None and power.kind == CSV else None,
    )
    return _observed(found, artifact, whole if steps is None else stimulus, progress)


def profile_host(
    artifact: Artifact,
    given: Given | None = None,
    *,
    steps: int | None = None,
    plan: MeasurePlan | None = None,
    power: PowerOption | None = None,
    progress: Progress = silent,
) -> Profile:
    """Time a program on this computer, op by op too; UsageError when it was built for another kind of processor."""
    here, built = load_target("host").arch, _program_of(artifact)["arch"]
    if built != here:
        raise UsageError(
            f"artifact {artifact.name!r}",
            f"is a program for {artifact.manifest['target']} ({built}), this computer is {here}",
            "add --on emulator, or --on ssh://user@host",
        )
    plan = plan or MeasurePlan()
    session = load(artifact)
    stimulus = _stimulus(artifact, session, given, steps)
    found = profile_place(Here(), artifact, stimulus, plan=plan, power=power, progress=progress)
    progress("time steps from Python", 0, None)
    timings = (*found.timings, *time_steps(session, stimulus, replace(plan, windows=1)))
    found = replace(found, timings=timings, host=describe_host())
    progress("time each op", 0, None)
    try:
        return replace(found, breakdown=break_down(artifact, stimulus))
    except ToolchainError as error:
        return replace(found, notes=(*found.notes, f"no time of each op: {error}"))


def profile_board(
    place: Place,
    artifact: Artifact,
    given: Given | None = None,
    *,
    steps: int | None = None,
    plan: MeasurePlan | None = None,
    power: PowerOption | None = None,
    progress: Progress = silent,
) -> Profile:
    """Time a program on a board; without a sensor there, its energy is estimated from counts in the emulator."""
    stimulus = _stimulus(artifact, load(artifact, engine="reference"), given, steps)
    found = profile_place(place, artifact, stimulus, plan=plan or MeasurePlan(), power=power, progress=progress)
    if found.energy is not None:
        return found
    try:
        counts = count_steps(artifact, stimulus.first(MOST_COUNTED), progress=progress)
    except ToolchainError as error:
        return replace(found, notes=(*found.notes, f"no estimate of energy: {error}"))
    return replace(found, counts=counts, estimates=estimates(counts.total, load_target(found.target)))


def profile_place(
    place: Place,
    artifact: Artifact,
    stimulus: Stimulus,
    *,
    plan: MeasurePlan,
    power: PowerOption | None = None,
    progress: Progress = silent,
) -> Profile:
    """Measure a program at a place that has not been entered yet, with power beside it where there is a sensor."""
    deadlines_of(plan)  # a rate that cannot be is no reason to begin
    with place:
        measurer = Measurer(place)
        with powered(place, measurer, power, progress) as meter:
            measured = measure(place, artifact, stimulus, plan, progress, measurer=measurer)
            energy = meter.energy(_loaded(measured.marks, plan))
    notes = [*meter.notes, *(f"meanwhile {change}" for change in changes(measured.before, measured.after))]
    found = Profile(
        artifact=artifact.name,
        target=str(artifact.manifest["target"]),
        precision=str(artifact.manifest["precision"]),
        engine=measured.engine,
        stimulus=stimulus.name,
        steps=stimulus.steps,
        available=stimulus.available,
        place=measured.place,
        memory=program_memory(artifact),
        timings=measured.timings,
        paced=measured.paced,
        clock=measured.clock,
        energy=energy,
        conditions=(measured.before, measured.after),
        selftest_steps=measured.selftest.steps,
        selftest_error=measured.selftest.worst_error,
        copied=measured.copied,
        notes=tuple(notes),
    )
    return _observed(found, artifact, stimulus, progress)


def profile_exported(
    path: str | PathLike[str],
    given: Given | None = None,
    *,
    steps: int | None = None,
    plan: MeasurePlan | None = None,
) -> Profile:
    """Time an exported .onnx or .tflite file on this computer, in the runtime it was exported for."""
    session = load(path)
    stimulus = given_stimulus(session, given.x, given.name) if given else noise_stimulus(session)
    stimulus = stimulus.first(steps) if steps is not None else stimulus
    return Profile(
        artifact=session.facts.name,
        target="host",
        precision=session.facts.precision,
        engine=session.engine,
        stimulus=stimulus.name,
        steps=stimulus.steps,
        available=stimulus.available,
        file_bytes=Path(path).stat().st_size,
        timings=time_steps(session, stimulus, plan),
        host=describe_host(),
    )


def _observed(found: Profile, artifact: Artifact, stimulus: Stimulus, progress: Progress) -> Profile:
    """The same with what needs no device: places in memory, operations and spikes."""
    progress("count operations", 0, None)
    operations, activity = observe(artifact, stimulus.leading(MOST_COUNTED))
    found = replace(found, operations=operations, activity=activity)
    if operations.steps != found.steps:
        part = f"operations and spikes are those of the first {operations.steps:,} of {found.available:,} steps"
        found = replace(found, notes=(*found.notes, part))
    try:
        return replace(found, places=artifact_places(artifact))
    except UsageError as error:  # laid out by another version
        return replace(found, notes=(*found.notes, f"no picture of its memory: {error}"))


def _loaded(marks: tuple[Mark, ...], plan: MeasurePlan) -> tuple[Mark, ...]:
    """The stretches that energy is asked of: steps at a rate where there is one, else one step after the other."""
    wanted = "paced" if plan.rate_hz is not None else "one step a call"
    return tuple(mark for mark in marks if mark.name == wanted)


def _stimulus(artifact: Artifact, session: Session, given: Given | None, steps: int | None) -> Stimulus:
    stimulus = given_stimulus(session, given.x, given.name) if given else selftest_stimulus(artifact)
    return stimulus.first(steps) if steps is not None else stimulus


def _program_of(artifact: Artifact) -> Mapping[str, Any]:
    """What the manifest says of the program; UsageError when the artifact holds none."""
    program = artifact.manifest.get("program") or {}
    if not program.get("library"):
        raise UsageError(f"artifact {artifact.name!r}", "holds no program to measure", "convert the model again")
    return dict(program)
