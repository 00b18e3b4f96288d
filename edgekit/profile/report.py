"""A profile: every figure of one program, in one place or the other, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from edgekit.artifact import Artifact
from edgekit.errors import UsageError
from edgekit.profile.counts import Progress, StepCounts, count_steps, counting_stream, silent
from edgekit.profile.estimate import Estimate, estimates
from edgekit.profile.host import Host, describe_host
from edgekit.profile.memory import Memory, program_memory
from edgekit.profile.stimulus import Array, given_stimulus, noise_stimulus, selftest_stimulus
from edgekit.profile.timing import Timing, time_steps
from edgekit.runtime import Session, load
from edgekit.target import load_target

MOST_COUNTED = 400  # steps, unless more are asked for


@dataclass(frozen=True)
class Given:
    """An input in raw units, and what messages call it."""

    name: str
    x: Array


@dataclass(frozen=True)
class Profile:
    """What was found out about a program; `counts` where it was emulated, `timings` and `host` where it ran here.

    `memory` is None of an exported file: what its runtime takes is not known; `file_bytes` is the size of such a file.
    """

    artifact: str
    target: str
    precision: str
    engine: str
    stimulus: str
    steps: int
    available: int
    memory: Memory | None = None
    file_bytes: int | None = None
    estimates: tuple[Estimate, ...] = ()
    timings: tuple[Timing, ...] = ()
    counts: StepCounts | None = None
    host: Host | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        counts = self.counts.to_dict() if self.counts else None
        memory = self.memory.to_dict() if self.memory else None
        return {**asdict(self), "memory": memory, "counts": counts}


def profile_emulated(
    artifact: Artifact,
    given: Given | None = None,
    *,
    steps: int | None = None,
    progress: Progress = silent,
) -> Profile:
    """Count a program on the emulated core of its target, over a given input or else over its self-test.

    ToolchainError when the target has no emulated core or its emulator is not installed, DataError when the input does
    not fit.
    """
    _program_of(artifact)
    stream = counting_stream(artifact)
    stimulus = given_stimulus(Session(artifact, stream), given.x, given.name) if given else selftest_stimulus(artifact)
    stimulus = stimulus.first(MOST_COUNTED if steps is None else steps)
    counts = count_steps(artifact, stimulus, stream=stream, progress=progress)
    target = load_target(str(artifact.manifest["target"]))
    return Profile(
        artifact=artifact.name,
        target=target.name,
        precision=str(artifact.manifest["precision"]),
        engine=counts.engine,
        stimulus=stimulus.name,
        steps=stimulus.steps,
        available=stimulus.available,
        memory=program_memory(artifact, counts.stack),
        estimates=estimates(counts.total, target),
        counts=counts,
    )


def profile_host(artifact: Artifact, given: Given | None = None, *, steps: int | None = None) -> Profile:
    """Time a program on this computer; UsageError when it was built for another kind of processor."""
    here, built = load_target("host").arch, _program_of(artifact)["arch"]
    if built != here:
        raise UsageError(
            f"artifact {artifact.name!r}",
            f"is a program for {artifact.manifest['target']} ({built}), this computer is {here}",
            "add --on emulator",
        )
    session = load(artifact)
    stimulus = given_stimulus(session, given.x, given.name) if given else selftest_stimulus(artifact)
    stimulus = stimulus.first(steps) if steps is not None else stimulus
    return Profile(
        artifact=artifact.name,
        target=str(artifact.manifest["target"]),
        precision=str(artifact.manifest["precision"]),
        engine=session.engine,
        stimulus=stimulus.name,
        steps=stimulus.steps,
        available=stimulus.available,
        memory=program_memory(artifact),
        timings=time_steps(session, stimulus),
        host=describe_host(),
    )


def profile_exported(path: str | PathLike[str], given: Given | None = None, *, steps: int | None = None) -> Profile:
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
        timings=time_steps(session, stimulus),
        host=describe_host(),
    )


def _program_of(artifact: Artifact) -> Mapping[str, Any]:
    """What the manifest says of the program; UsageError when the artifact holds none."""
    program = artifact.manifest.get("program") or {}
    if not program.get("library"):
        raise UsageError(f"artifact {artifact.name!r}", "holds no program to measure", "convert the model again")
    return dict(program)
