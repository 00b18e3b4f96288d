"""The benchmark in order: convert, count on the emulated core, check that all subjects agree, time them in turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgekit.bench.cases import CASES, Case, build_case
from edgekit.bench.conversion import HOST, PRECISIONS, convert_case, convert_fresh, with_oracle
from edgekit.bench.counts import DEVICE, QUOTED, Count, costliest_ops, count_instructions
from edgekit.bench.footprint import footprint
from edgekit.bench.goals import CONVERSION, EVENTS, INSTRUCTIONS, OVERHEAD, SPEED_UP, Figure, judge
from edgekit.bench.names import check_names
from edgekit.bench.own import SESSION, NativeLoop, native_name, session_subject
from edgekit.bench.peers import PEERS, exported
from edgekit.bench.peers.onnx_runtime import IO_BINDING
from edgekit.bench.report import CaseReport, ProgramReport, Report, Timing
from edgekit.bench.roofline import ReadLoop, limit_name, roofline
from edgekit.bench.subject import Subject, Timed, compare
from edgekit.bench.tables import number, percent
from edgekit.bench.timing import Schedule, Spread, time_in_turns
from edgekit.convert import Conversion
from edgekit.profile.host import describe_host

Progress = Callable[[str], None]
Rounds = npt.NDArray[np.float64]  # µs per step, one for each round

NATIVE = native_name("fp32")
MEMORY_BOUND = 0.6  # share of a step from which on its time is that of reading the constants


def run_bench(
    models: Sequence[str],
    peers: Sequence[str],
    schedule: Schedule,
    progress: Progress = lambda _stage: None,
    *,
    keep: Path | None = None,
) -> Report:
    """Measure `models` (names in CASES) with edgekit and `peers` (names in PEERS), side by side in this process.

    A model that needs a file which is not here is left out and listed in the report. `keep` is a folder for the
    libraries that were measured. Raises UsageError for an unknown name, ToolchainError for a package that is not
    installed, ReplayError when a subject does not compute what PyTorch computes.
    """
    check_names("model", models, list(CASES))
    check_names("peer", peers, list(PEERS))
    absent = {name: why for name in models if (why := CASES[name].absent())}
    before = describe_host()
    cases = tuple(_measure(build_case(n), peers, schedule, progress, keep) for n in models if n not in absent)
    return Report(before, describe_host().load_average, schedule, cases, absent)


@dataclass(frozen=True)
class _Built:
    """One precision of a case: the programs for this computer and for the device, and what the emulated core said."""

    case: Case  # with the outputs that this precision is compared with
    native: Conversion
    device: Conversion
    counts: tuple[Count, ...]
    costliest: str


def _measure(case: Case, peers: Sequence[str], schedule: Schedule, progress: Progress, keep: Path | None) -> CaseReport:
    progress(f"{case.name}: convert")
    fresh = convert_fresh(case)
    built: dict[str, _Built] = {}
    for precision in PRECISIONS:
        progress(f"{case.name}: {precision} for {DEVICE}")
        native = fresh.conversion if precision == "fp32" else convert_case(case, fresh.imported, HOST, precision)
        built[precision] = _count(case, precision, native, convert_case(case, fresh.imported, DEVICE, precision))
    if keep is not None:
        _keep_libraries(case, built, keep)

    progress(f"{case.name}: prepare the peers")
    ours = [NativeLoop(b.case, precision, b.native) for precision, b in built.items()]
    users: list[Subject] = [session_subject(case, fresh.conversion)]
    for peer in peers:
        users += PEERS[peer](case)
    compared: list[tuple[Subject, Case]] = [(loop, b.case) for loop, b in zip(ours, built.values(), strict=True)]
    compared += [(subject, case) for subject in users]
    equal = [compare(subject.name, subject.replay(), expected) for subject, expected in compared]
    limits = {p: ReadLoop(limit_name(p), *loop.constants) for p, loop in zip(built, ours, strict=True)}

    turns: list[Timed] = [*ours, *users, *limits.values()]
    progress(f"{case.name}: time {len(turns)} subjects in {schedule.rounds} rounds")
    micros = dict(zip([turn.name for turn in turns], time_in_turns(turns, schedule).T, strict=True))
    overhead = Spread.of(micros[SESSION] - micros[NATIVE])
    programs = {p: _report_program(p, b, limits[p].size, micros) for p, b in built.items()}
    figures = {
        (CONVERSION, "fp32"): Figure(fresh.seconds, "measured", "wall clock of an import, a compiler and a self-test"),
        (OVERHEAD, "fp32"): Figure(overhead.median, "measured", "one foreign call and two array copies in Python"),
        **_emulated_figures(built),
        **_speed_ups(programs, micros),
    }
    return CaseReport(
        name=case.name,
        description=case.description,
        weights=case.weights,
        activity=case.activity,
        conversion_s=fresh.seconds,
        timings=tuple(_report_timing(s, steps, micros) for (s, _), steps in zip(compared, equal, strict=True)),
        session_overhead_us=overhead,
        programs=tuple(programs.values()),
        counts=(*(count for b in built.values() for count in b.counts), *QUOTED.get(case.name, ())),
        goals=judge(case.name, figures),
    )


def _count(case: Case, precision: str, native: Conversion, device: Conversion) -> _Built:
    compared = with_oracle(case, precision, native.artifact)
    counts = count_instructions(compared, precision, device.artifact)
    return _Built(compared, native, device, counts, costliest_ops(device.artifact))


def _keep_libraries(case: Case, built: Mapping[str, _Built], folder: Path) -> None:
    for precision, b in built.items():
        for target, conversion in ((HOST, b.native), (DEVICE, b.device)):
            (folder / f"{case.name}.{precision}.{target}.so").write_bytes(conversion.program.library)


def _report_timing(subject: Subject, equal: int, micros: Mapping[str, Rounds]) -> Timing:
    us = micros[subject.name]
    return Timing(subject.name, subject.detail, equal, Spread.of(us), Spread.of(us / micros[NATIVE]))


def _report_program(precision: str, built: _Built, read_bytes: int, micros: Mapping[str, Rounds]) -> ProgramReport:
    step = micros[native_name(precision)]
    own = {NATIVE, SESSION, *exported.NAMES, *(name for p in PRECISIONS for name in (native_name(p), limit_name(p)))}
    return ProgramReport(
        precision=precision,
        step_us=Spread.of(step),
        instructions=built.counts[0].instructions,
        size=footprint(built.native.artifact),
        roofline=roofline(read_bytes, micros[limit_name(precision)], step),
        times_faster={name: Spread.of(us / step) for name, us in micros.items() if name not in own},
        costliest=built.costliest,
    )


def _emulated_figures(built: Mapping[str, _Built]) -> dict[tuple[str, str], Figure]:
    """Instructions of each precision, and over those of a step in which no input is zero, where that was counted."""
    figures = {}
    for precision, b in built.items():
        main, *contrast = b.counts
        figures[INSTRUCTIONS, precision] = Figure(main.instructions, main.grade, b.costliest)
        if contrast:
            share = main.instructions / contrast[0].instructions
            figures[EVENTS, precision] = Figure(share, main.grade, b.costliest)
    return figures


def _speed_ups(programs: Mapping[str, ProgramReport], micros: Mapping[str, Rounds]) -> dict[tuple[str, str], Figure]:
    """How many times as fast as ONNX Runtime each precision is, and how fast it could be at the memory limit."""
    figures = {}
    for precision, program in programs.items() if IO_BINDING in micros else ():
        limit = program.roofline
        ceiling = Spread.of(micros[IO_BINDING] / micros[limit_name(precision)]).median
        what = "memory" if limit.share.median > MEMORY_BOUND else "instructions, not memory"
        bound = (
            f"{what}: reading the constants is {percent(limit.share.median)} of the step, "
            f"{number(ceiling)} times at that limit"
        )
        figures[SPEED_UP, precision] = Figure(program.times_faster[IO_BINDING].median, "measured", bound)
    return figures
