"""The benchmark in order: convert, count on the emulated core, check what all subjects compute, time them in turns."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgekit.bench.accuracy import fault_of, float_decisions, measure_accuracy
from edgekit.bench.cases import CASES, Case, build_case
from edgekit.bench.conversion import HOST, INT8, PRECISIONS, convert_case, convert_fresh, with_oracle
from edgekit.bench.counts import DEVICE, QUOTED, Count, costliest_ops, count_instructions
from edgekit.bench.environments import absent as absence
from edgekit.bench.footprint import footprint
from edgekit.bench.goals import BEST, CONVERSION, EVENTS, FASTER, INSTRUCTIONS, LIMIT, OVERHEAD, SPEED_UP, Figure, judge
from edgekit.bench.names import check_names
from edgekit.bench.own import SESSION, NativeLoop, native_name, session_subject
from edgekit.bench.parcel import write_case
from edgekit.bench.peers import PEERS
from edgekit.bench.peers.onnx_runtime import IO_BINDING
from edgekit.bench.remote import PATIENCE, Patience
from edgekit.bench.report import CaseReport, ProgramReport, Report
from edgekit.bench.rivals import Rival, opened
from edgekit.bench.roofline import ReadLoop, limit_name, roofline
from edgekit.bench.rows import OWN, Rounds, Row, fastest, nearest, timed
from edgekit.bench.subject import Subject, Timed, compare
from edgekit.bench.tables import number, percent
from edgekit.bench.timing import Schedule, Spread, time_in_turns
from edgekit.convert import Conversion
from edgekit.errors import ReplayError
from edgekit.profile.host import describe_host

Progress = Callable[[str], None]

TIMED = (*PRECISIONS, INT8)
LOOPS = tuple(native_name(p) for p in TIMED)
MEMORY_BOUND = 0.6  # share of a step from which on its time is that of reading the constants
REST_S = 0.002  # between turns of subjects with threads, some of which look for work for a millisecond


def thread_counts(choice: str) -> tuple[int, ...]:
    """How many threads the peers get, one run for each: `1`, `all` of the processors that this process may use, or
    `both`.
    """
    every = len(os.sched_getaffinity(0))
    return {"1": (1,), "all": (every,), "both": tuple(sorted({1, every}))}[choice]


def run_bench(
    models: Sequence[str],
    peers: Sequence[str],
    schedule: Schedule,
    progress: Progress = lambda _stage: None,
    *,
    threads: Sequence[int] = (1,),
    given: Case | None = None,
    keep: Path | None = None,
    patience: Patience = PATIENCE,
) -> Report:
    """Measure `models` (names in CASES), or the case that is `given`, with edgekit and `peers` (names in PEERS) side by
    side, once for each number of `threads` that peers get.

    A model that needs a file which is not here is left out and listed in the report, and so is a peer whose environment
    is not here. `keep` is a folder for the libraries that were measured. Raises UsageError for an unknown name,
    ReplayError when edgekit does not compute what PyTorch computes.
    """
    check_names("model", models, list(CASES))
    check_names("peer", peers, list(PEERS))
    absent = {name: why for name in models if (why := CASES[name].absent())}
    skipped = {peer: why for peer in peers if (why := absence(PEERS[peer]))}
    before = describe_host()
    run = _Run(tuple(p for p in peers if p not in skipped), schedule, tuple(threads), progress, keep, patience)
    cases = [_measure(build_case(name), run) for name in models if name not in absent]
    cases += [_measure(given, run)] if given else []
    return Report(before, describe_host().load_average, schedule, tuple(threads), tuple(cases), absent, skipped)


@dataclass(frozen=True)
class _Run:
    """What is the same for all cases."""

    peers: tuple[str, ...]
    schedule: Schedule
    threads: tuple[int, ...]
    progress: Progress
    keep: Path | None
    patience: Patience


@dataclass(frozen=True)
class _Built:
    """One precision of a case: the programs for this computer and for the device, and what the emulated core said."""

    case: Case  # with the outputs that this precision is compared with
    native: Conversion
    device: Conversion
    counts: tuple[Count, ...]
    costliest: str


def _measure(case: Case, run: _Run) -> CaseReport:
    run.progress(f"{case.name}: convert")
    fresh = convert_fresh(case)
    built: dict[str, _Built] = {}
    for precision in TIMED:
        run.progress(f"{case.name}: {precision} for {DEVICE}")
        native = fresh.conversion if precision == "fp32" else convert_case(case, fresh.imported, HOST, precision)
        built[precision] = _count(case, precision, native, convert_case(case, fresh.imported, DEVICE, precision))
    if run.keep is not None:
        _keep_libraries(case, built, run.keep)

    loops = {precision: NativeLoop(b.case, precision, b.native) for precision, b in built.items()}
    for precision, loop in loops.items():
        _check(loop, built[precision].case, exactly=precision == INT8)
    session = session_subject(case, fresh.conversion)
    _check(session, case)
    limits = {p: ReadLoop(limit_name(p), *loop.constants) for p, loop in loops.items()}
    decided = float_decisions(case)
    rows = [_own_row(subject, case, decided) for subject in (*loops.values(), session)]
    passes: list[dict[str, Rounds]] = []
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        write_case(case, Path(folder))
        for threads in run.threads:
            with opened(
                case,
                run.peers,
                Path(folder),
                threads=threads,
                decided=decided,
                patience=run.patience,
                progress=run.progress,
            ) as rivals:
                rows = _merged(rows, rivals, threads)
                turns: list[Timed] = [*loops.values(), session, *limits.values()]
                turns += [rival.subject for rival in rivals if not rival.fault]
                run.progress(f"{case.name}: time {len(turns)} subjects in {run.schedule.rounds} rounds")
                schedule = run.schedule if threads == 1 else replace(run.schedule, rest_s=REST_S)
                faults: dict[str, str] = {}
                times = time_in_turns(turns, schedule, faults).T
            if own := [name for name in (*LOOPS, SESSION) if name in faults]:
                raise ReplayError(f"{own[0]} on {case.name}", faults[own[0]])
            micros = dict(zip([turn.name for turn in turns], times, strict=True))
            rows = [_failed(row, faults.get(row.subject, ""), threads) for row in rows]
            rows = list(timed(rows, threads, micros, LOOPS))
            passes.append(micros)
    sizes = {p: limit.size for p, limit in limits.items()}
    return _report(case, built, rows, seconds=fresh.seconds, micros=passes[0], read_bytes=sizes)


def _check(subject: Subject, case: Case, *, exactly: bool = False) -> None:
    """ReplayError unless our own subject computes what it is to compute; `exactly` means to the last bit."""
    (got,) = subject.run(case.stimulus[None])
    compare(subject.name, got, case)
    if exactly and (wrong := np.flatnonzero((got != case.expected).any(axis=1))).size:
        raise ReplayError(f"{subject.name} on {case.name}", f"differs from {case.oracle} at step {wrong[0]}")


def _own_row(subject: Subject, case: Case, decided: np.ndarray[tuple[int], np.dtype[np.int64]] | None) -> Row:
    """One of ours, by the same rules as the others."""
    found = measure_accuracy(subject, case, decided)
    # PyTorch is what fp32 was checked against; the others part from it as their rounding has it.
    fault = "" if subject.name in (SESSION, LOOPS[0]) else fault_of(f"{INT8} {subject.name}", found, len(case.expected))
    return Row(subject.name, OWN, subject.detail, found, fault=fault)


def _merged(rows: Sequence[Row], rivals: Sequence[Rival], threads: int) -> list[Row]:
    """The rows with those of the peers; a fault that a peer has only with more threads takes those times alone."""
    found = {row.subject: row for row in rows}
    for rival in rivals:
        peer, subject = PEERS[rival.peer], rival.subject
        row = Row(subject.name, rival.peer, subject.detail, rival.accuracy, (), peer.rival, peer.note, rival.fault)
        found.setdefault(row.subject, row)
        found[row.subject] = _failed(found[row.subject], rival.fault, threads)
    return list(found.values())


def _failed(row: Row, fault: str, threads: int) -> Row:
    """The row with a fault that came up in a run; one with times of another run keeps them."""
    if not fault or row.fault:
        return row
    if row.timings:
        return replace(row, note=f"{row.note}; " * bool(row.note) + f"with {threads} threads: {fault}")
    return replace(row, fault=fault)


def _count(case: Case, precision: str, native: Conversion, device: Conversion) -> _Built:
    compared = with_oracle(case, precision, native.artifact)
    counts = count_instructions(compared, precision, device.artifact)
    return _Built(compared, native, device, counts, costliest_ops(device.artifact))


def _keep_libraries(case: Case, built: Mapping[str, _Built], folder: Path) -> None:
    for precision, b in built.items():
        for target, conversion in ((HOST, b.native), (DEVICE, b.device)):
            (folder / f"{case.name}.{precision}.{target}.so").write_bytes(conversion.program.library)


def _report(
    case: Case,
    built: Mapping[str, _Built],
    rows: Sequence[Row],
    *,
    seconds: float,
    micros: Mapping[str, Rounds],
    read_bytes: Mapping[str, int],
) -> CaseReport:
    """The figures of a case; those of programs are from the first pass, `micros`."""
    overhead = Spread.of(micros[SESSION] - micros[LOOPS[0]])
    programs = {p: _report_program(p, b, read_bytes[p], rows, micros) for p, b in built.items()}
    figures = {
        (CONVERSION, "fp32"): Figure(seconds, "measured", "wall clock of an import, a compiler and a self-test"),
        (OVERHEAD, "fp32"): Figure(overhead.median, "measured", "one foreign call and two array copies in Python"),
        **_emulated_figures(built),
        **_speed_ups(programs, micros),
        **_best_figures(programs, rows),
    }
    return CaseReport(
        name=case.name,
        description=case.description,
        weights=case.weights,
        activity=case.activity,
        conversion_s=seconds,
        tests=case.tests.source if case.tests else "",
        untested=case.untested,
        rows=tuple(rows),
        fastest=fastest(rows),
        nearest=nearest(rows),
        session_overhead_us=overhead,
        programs=tuple(programs.values()),
        counts=(*(count for b in built.values() for count in b.counts), *QUOTED.get(case.name, ())),
        goals=judge(case.name, figures),
    )


def _report_program(
    precision: str, built: _Built, read_bytes: int, rows: Sequence[Row], micros: Mapping[str, Rounds]
) -> ProgramReport:
    step = micros[native_name(precision)]
    rivals = [row.subject for row in rows if row.rival and not row.fault and row.subject in micros]
    return ProgramReport(
        precision=precision,
        step_us=Spread.of(step),
        instructions=built.counts[0].instructions,
        size=footprint(built.native.artifact),
        roofline=roofline(read_bytes, micros[limit_name(precision)], step),
        times_faster={name: Spread.of(micros[name] / step) for name in rivals if not np.isnan(micros[name]).any()},
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
    for precision, program in programs.items():
        if IO_BINDING in program.times_faster:
            ceiling = Spread.of(micros[IO_BINDING] / micros[limit_name(precision)]).median
            bound = f"{_bound(program)}, {number(ceiling)} times at that limit"
            figures[SPEED_UP, precision] = Figure(program.times_faster[IO_BINDING].median, "measured", bound)
    return figures


def _best_figures(programs: Mapping[str, ProgramReport], rows: Sequence[Row]) -> dict[tuple[str, str], Figure]:
    """The best of our precisions: against the fastest peer, and against the limit of the memory."""
    best = max(programs.values(), key=lambda program: program.roofline.share.median)
    bound = f"{best.precision} comes nearest; {_bound(best)}; most instructions: {best.costliest}"
    figures = {(LIMIT, BEST): Figure(1 / best.roofline.share.median, "measured", bound)}
    if match := fastest(rows):
        ours = next(program for p, program in programs.items() if native_name(p) == match.against)
        threads = f"{match.threads} thread{'s' * (match.threads > 1)}"
        bound = f"{match.subject} with {threads} against {match.against}; of the latter {_bound(ours)}"
        figures[FASTER, BEST] = Figure(match.times.median, "measured", bound)
    return figures


def _bound(program: ProgramReport) -> str:
    share = program.roofline.share.median
    what = "memory" if share > MEMORY_BOUND else "instructions, not memory"
    return f"{what}: reading the constants is {percent(share)} of the step"
