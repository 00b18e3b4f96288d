"""The measurer: builds measurer.c for a place, puts it there beside a program, and reads what it found."""

from __future__ import annotations

import struct
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

import numpy as np

from edgekit.artifact import Artifact
from edgekit.errors import EdgekitError, ReplayError, UsageError
from edgekit.ir import Graph
from edgekit.profile.conditions import Conditions, read_conditions
from edgekit.profile.counts import Progress, silent
from edgekit.profile.measurer_wire import (
    BORDER,
    CLOCK,
    CLOCK_ROW,
    GRACE_S,
    OUTPUTS,
    PACE,
    PACED,
    PACED_ROW,
    REPLAY,
    REPLAYED,
    RUN,
    SAMPLE,
    SAMPLE_ROW,
    STATE,
    STEP,
    WINDOW,
    job_bytes,
    records,
    window_of,
)
from edgekit.profile.paced import Paced, paced_of
from edgekit.profile.places import Place
from edgekit.profile.stimulus import Array, Stimulus, selftest_stimulus
from edgekit.profile.timing import MeasurePlan, Timing, Window, timing_of
from edgekit.runtime.build import build_program
from edgekit.runtime.load import library_here
from edgekit.runtime.selftest import SelfTestReport, replay_selftest
from edgekit.target import Target, load_target
from edgekit.toolchain import build_executable, linux_header, load_image

MEASURER, LIBRARY, JOB = "measurer", "program.so", "job"
SOURCES = ("measurer.c", "measurer_image.h", "measurer_system.h")
BASELINE = {"x86_64": "x86_64", "aarch64": "generic", "armv7": "cortex_a7"}  # cores whose code all others run too


@dataclass(frozen=True, eq=False)
class Measurable:
    """A program and the library of it that is measured; `engine` says in words where that came from."""

    graph: Graph
    library: bytes
    engine: str


@dataclass(frozen=True)
class Mark:
    """A stretch of time in which steps ran, ns of CLOCK_MONOTONIC at the place, and how many they were."""

    name: str
    begin_ns: int
    end_ns: int
    steps: int


@dataclass(frozen=True)
class Clock:
    """What one reading of the clock takes, ns; `how` is `vdso`, or `system call` where the kernel offers no more."""

    ns: float
    how: str


@dataclass(frozen=True)
class Measured:
    """What was measured at a place: `timings` back to back, `paced` where a rate was asked for, `marks` for whoever
    integrates power over the same clock, and the conditions before and after. `copied` says what of it was copied to a
    board, where it was removed again.
    """

    place: str
    engine: str
    selftest: SelfTestReport
    clock: Clock
    timings: tuple[Timing, ...]
    paced: Paced | None
    marks: tuple[Mark, ...]
    before: Conditions
    after: Conditions
    copied: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """The contents of a file that is sampled, None where it could not be read (`error` is the number that the kernel
    gave); read between two times of CLOCK_MONOTONIC at the place.
    """

    name: str
    begin_ns: int
    end_ns: int
    text: str | None
    error: int = 0


def measure(
    place: Place,
    artifact: Artifact,
    stimulus: Stimulus,
    plan: MeasurePlan,
    progress: Progress = silent,
    *,
    measurer: Measurer | None = None,
) -> Measured:
    """Measure an artifact's program at a place that has been entered: its self-test first, then its times.

    `measurer` is one that is there already.

    All streams of the stimulus are walked as one, and the states are carried on. An integer program is timed on stored
    integers, and from raw values to real ones. Raises ToolchainError where no compiler is here to build the measurer,
    UsageError where the program does not fit the place or is not trusted, ReplayError when the self-test fails there,
    TargetError when the place cannot be reached or the program crashes.
    """
    program = program_for(place, artifact)
    measurer = measurer or Measurer(place)
    before = read_conditions(measurer.read_files)
    progress("self-test", 0, None)
    replayed = measurer.selftest(program, artifact)
    clock, timings, paced, marks = measurer.time(program, stimulus, plan, progress)
    after = read_conditions(measurer.read_files)
    copied = () if place.is_here else measurer.copied
    return Measured(place.name, program.engine, replayed, clock, timings, paced, marks, before, after, copied)


def program_for(place: Place, artifact: Artifact) -> Measurable:
    """The library of an artifact that runs at a place, where the trust list lets its own; else one rebuilt here."""
    program = artifact.manifest.get("program") or {}
    if not program.get("library"):
        raise UsageError(f"artifact {artifact.name!r}", "holds no program to measure", "convert the model again")
    host = load_target("host").arch
    if place.is_here and place.arch == host:
        library, engine = library_here(artifact)
        return Measurable(artifact.graph, library, engine)
    rows = [program, *program.get("also", [])]
    fitting = [row for row in rows if row["arch"] == place.arch]
    if not fitting:
        made = " and ".join(str(row["arch"]) for row in rows)
        cause = f"is a program for {artifact.manifest['target']} ({made}), {place.name} is {place.arch}"
        raise UsageError(f"artifact {artifact.name!r}", cause, "convert the model for that board, or name another one")
    own = artifact.file.members[fitting[0]["library"]]
    if artifact.may_run:
        return Measurable(artifact.graph, own, f"native ({fitting[0]['cpu']}, trusted)")
    target = load_target(str(artifact.manifest["target"]))
    target = next((t for t in (target, *target.also.values()) if t.arch == place.arch), target)
    made_here = build_program(artifact.graph, target)
    return Measurable(
        artifact.graph, made_here.library, f"rebuilt from the graph ({target.cpu}, {made_here.compiler.split()[0]})"
    )


def build_measurer(arch: str, *, compiler: str | None = None, extra_flags: Sequence[str] = ()) -> bytes:
    """The measurer for any processor of an architecture; ToolchainError where no compiler here builds for it."""
    sources = loader_headers() | {SOURCES[0]: (Path(__file__).parent / SOURCES[0]).read_bytes()}
    return build_executable(sources, SOURCES[0], generic_target(arch), compiler=compiler, extra_flags=extra_flags)


def generic_target(arch: str) -> Target:
    """A target whose programs run on any processor of an architecture."""
    triples = {t.arch: t for t in map(load_target, ("raspberrypi4", "stm32mp157"))}
    target = triples[arch] if arch in triples else load_target("host")
    return replace(target, cpu=BASELINE[arch], cflags=(), ldflags=())


def loader_headers() -> dict[str, bytes]:
    """The headers of a program that runs on a board and loads a library there, by their names."""
    return linux_header() | {name: (Path(__file__).parent / name).read_bytes() for name in SOURCES[1:]}


class Measurer:
    """The measurer at a place: it is put there when this is made."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._put = dict[str, bytes]()
        self._copy({MEASURER: build_measurer(place.arch)}, programs=[MEASURER])

    @property
    def copied(self) -> tuple[str, ...]:
        """What was put there: each file with its size."""
        return tuple(f"{name}, {len(contents):,} bytes" for name, contents in self._put.items())

    def _copy(self, files: Mapping[str, bytes], programs: Sequence[str] = ()) -> None:
        new = {name: contents for name, contents in files.items() if self._put.get(name) != contents}
        self._place.put(new, programs)
        self._put |= new

    def read_files(self, paths: Sequence[str]) -> dict[str, str]:
        """The contents of those of the files that are there and readable."""
        found = dict[str, str]()
        for sample in self.once(paths):
            if sample.text is not None:
                found.setdefault(sample.name, sample.text)
        return found

    def once(self, names: Sequence[str]) -> list[Sample]:
        """Files, or commands that begin with `!`, read once; those that cannot be are among them."""
        process = self._place.start([MEASURER, "sample", "0", *names])
        if process.stdin is not None:
            process.stdin.close()
        read = records(self._place, process, GRACE_S)
        found = [_sample(payload, names) for kind, payload in read if kind == SAMPLE]
        return found[: len(names)]  # it begins again where it hears too late that once is enough

    def sampler(self, names: Sequence[str], period_ms: int) -> Sampler:
        """A sampler of files, or of commands that begin with `!`; it starts when it is entered."""
        return Sampler(self._place, names, period_ms)

    def selftest(self, program: Measurable, artifact: Artifact) -> SelfTestReport:
        """Replay the artifact's self-test: step by step, and in one run, which must give the same bytes.

        Raises ReplayError that names the first step that differs.
        """
        stimulus = selftest_stimulus(artifact)
        engine = f"{self._place.name}: {program.engine}"
        outputs, state, agree = self.replay(program, stimulus)
        steps = stimulus.steps
        if agree < steps:
            cause = f"a run gives other bytes than single steps, from step {agree} of {steps} on"
            raise ReplayError(f"self-test on {engine}", cause, "please report this")
        return replay_selftest(artifact.graph, artifact.selftest, _Replayed(engine, outputs, state))

    def replay(self, program: Measurable, stimulus: Stimulus) -> tuple[list[Array], bytes, int]:
        """Outputs [T, *shape] of the step from a reset, the state blob after it, and how many steps of one run gave the
        same bytes.
        """
        plan = MeasurePlan(windows=0)
        outputs, state, agree = list[Array](), b"", 0
        names = program.graph.entries["step"].outputs
        for kind, payload in self._job(program, stimulus, plan, REPLAY):
            if kind == OUTPUTS:
                name = names[len(outputs)]
                wire = program.graph.port_dtype(name).newbyteorder("<")
                shape = (stimulus.steps, *program.graph.tensors[name].shape)
                outputs.append(np.frombuffer(payload, wire).astype(wire.newbyteorder("=")).reshape(shape))
            elif kind == STATE:
                state = payload
            elif kind == REPLAYED:
                (agree,) = struct.unpack("<Q", payload)
        return outputs, state, agree

    def time(
        self, program: Measurable, stimulus: Stimulus, plan: MeasurePlan, progress: Progress = silent
    ) -> tuple[Clock, tuple[Timing, ...], Paced | None, tuple[Mark, ...]]:
        """Time a program by a plan: one step a call, from raw values to real ones too where it holds integers, and many
        steps a call; at a rate where the plan has one.
        """
        border = program.graph.is_integer
        tasks = STEP | RUN | (BORDER if border else 0) | (0 if plan.rate_hz is None else PACE)
        clock, paced, marks = Clock(0.0, "system call"), None, list[Mark]()
        windows: dict[int, list[Window]] = {STEP: [], BORDER: [], RUN: []}
        each = {RUN: 0, STEP: 0, BORDER: 0}
        total, done = plan.windows * (3 if border else 2) + (plan.rate_hz is not None), 0
        for kind, payload in self._job(program, stimulus, plan, tasks):
            if kind == CLOCK:
                ns, readings, vdso = CLOCK_ROW.unpack(payload)
                clock = Clock(ns / readings, "vdso" if vdso else "system call")
            elif kind == WINDOW:
                task, each[task], made = window_of(payload)
                windows[task].append(made)
                marks.append(Mark(_NAMES[task], made.begin_ns, made.end_ns, each[task] * int(made.counts.sum())))
            elif kind == PACED:
                paced, mark = _paced(payload, plan, border)
                marks.append(mark)
            done += kind in (WINDOW, PACED)
            progress("time steps", done, total)
        timings = tuple(
            timing_of(_NAMES[task], _how(task, border), each[task], made) for task, made in windows.items() if made
        )
        return clock, timings, paced, tuple(marks)

    def _job(
        self, program: Measurable, stimulus: Stimulus, plan: MeasurePlan, tasks: int
    ) -> Iterator[tuple[int, bytes]]:
        load_image(program.library)  # raises when it is malformed or needs a loader; the measurer checks again
        self._copy({LIBRARY: program.library, JOB: job_bytes(program.graph, stimulus, plan, tasks)})
        process = self._place.start([MEASURER, "job", JOB, LIBRARY])
        paced_s = plan.paced_seconds + 2 / plan.rate_hz if plan.rate_hz else 0.0  # to the first deadline, and the last
        return records(self._place, process, max(plan.seconds, paced_s) + GRACE_S)


_NAMES = {STEP: "one step a call", BORDER: "one step a call, raw to real", RUN: "many steps a call", PACE: "paced"}


def _how(task: int, border: bool) -> str:
    if task == BORDER:
        return "the program alone: quantize, step, dequantize"
    return f"the program alone, {'stored integers' if border else 'raw values'}"


@dataclass(frozen=True, eq=False)
class _Replayed:
    """What the measurer sent back of the self-test stream, as a stream that has run it."""

    engine: str
    outputs: list[Array]
    state: bytes = field(repr=False)

    def reset(self) -> None:
        """It started from a reset."""

    def run(self, inputs: Sequence[Array]) -> list[Array]:  # noqa: ARG002
        return self.outputs

    def save(self) -> bytes:
        return self.state


def _paced(payload: bytes, plan: MeasurePlan, border: bool) -> tuple[Paced, Mark]:
    task, begin, finish, _, deadlines, steps, preempted = PACED_ROW.unpack_from(payload)
    rows = np.frombuffer(payload, "<i8", offset=PACED_ROW.size).reshape(-1, 2)
    found = paced_of(plan.rate_hz or 0.0, _how(task, border), deadlines, rows[:, 0], rows[:, 1], preempted=preempted)
    return found, Mark(_NAMES[PACE], begin, finish, steps)


def _sample(payload: bytes, names: Sequence[str]) -> Sample:
    name, begin, finish, nbytes = SAMPLE_ROW.unpack_from(payload)
    if nbytes < 0:
        return Sample(names[name], begin, finish, None, -nbytes)
    return Sample(names[name], begin, finish, payload[SAMPLE_ROW.size :].decode("utf-8", "replace"))


class Sampler:
    """Samples files at a place while it is entered; `samples` are those that have arrived."""

    def __init__(self, place: Place, names: Sequence[str], period_ms: int) -> None:
        self.samples: list[Sample] = []
        self.error: EdgekitError | None = None
        self._place, self._names, self._period_ms = place, list(names), period_ms
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._collect, name="edgekit-sampler", daemon=True)

    def __enter__(self) -> Sampler:
        self._process = self._place.start([MEASURER, "sample", str(self._period_ms), *self._names])
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let it finish the round that it is in; what went wrong meanwhile is in `error`."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self._thread.join(self._period_ms / 1000 + GRACE_S)

    def _collect(self) -> None:
        if self._process is None:
            return
        try:
            for kind, payload in records(self._place, self._process, self._period_ms / 1000 + GRACE_S):
                if kind == SAMPLE:
                    self.samples.append(_sample(payload, self._names))
        except EdgekitError as error:
            self.error = error
