"""The benchmark in order: convert, count on the emulated core, check that all subjects agree, time them in turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgekit.bench.cases import CASES, Case, build_case
from edgekit.bench.counts import DEVICE, QUOTED, count_instructions
from edgekit.bench.goals import INSTRUCTIONS, OVERHEAD, SPEED_UP, judge
from edgekit.bench.host import describe_host
from edgekit.bench.own import NATIVE, SESSION, own_subjects
from edgekit.bench.peers import PEERS
from edgekit.bench.peers.onnx_runtime import IO_BINDING
from edgekit.bench.report import CaseReport, Report, Timing
from edgekit.bench.subject import compare
from edgekit.bench.timing import Schedule, Spread, time_in_turns
from edgekit.convert import Options, convert_imported
from edgekit.errors import UsageError

Progress = Callable[[str], None]


def run_bench(
    models: Sequence[str], peers: Sequence[str], schedule: Schedule, progress: Progress = lambda _stage: None
) -> Report:
    """Measure `models` (names in CASES) with edgekit and `peers` (names in PEERS), side by side in this process.

    Raises UsageError for an unknown name, ToolchainError for a package that is not installed, ReplayError when a
    subject does not compute what PyTorch computes.
    """
    _known("model", models, list(CASES))
    _known("peer", peers, list(PEERS))
    before = describe_host()
    cases = tuple(_measure(build_case(name), peers, schedule, progress) for name in models)
    return Report(before, describe_host().load_average, schedule, cases)


def _known(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"{what} {unknown[0]!r}", "is not known", f"known are {', '.join(known)}")
    if len(set(names)) < len(names):
        raise UsageError(f"{what}s {','.join(names)}", "name one twice")


def _measure(case: Case, peers: Sequence[str], schedule: Schedule, progress: Progress) -> CaseReport:
    from edgekit.frontends import import_module

    progress(f"{case.name}: convert")
    imported = import_module(case.module, None, name=case.name)
    windows = case.stimulus[None] if case.module.names else case.stimulus
    native, device = (convert_imported(imported, Options(target=t, calib=windows)) for t in ("host", DEVICE))
    progress(f"{case.name}: count instructions on the emulated core")
    counted = count_instructions(case, device.artifact)
    progress(f"{case.name}: prepare the peers")
    subjects = own_subjects(case, native)
    for peer in peers:
        subjects += PEERS[peer](case)
    equal = [compare(subject.name, subject.replay(), case) for subject in subjects]
    progress(f"{case.name}: time {len(subjects)} subjects in {schedule.rounds} rounds")
    micros = dict(zip([subject.name for subject in subjects], time_in_turns(subjects, schedule).T, strict=True))
    timings = tuple(
        Timing(subject.name, subject.detail, steps, Spread.of(us), Spread.of(us / micros[NATIVE]))
        for subject, steps, us in zip(subjects, equal, micros.values(), strict=True)
    )
    overhead = Spread.of(micros[SESSION] - micros[NATIVE])
    figures = {INSTRUCTIONS: (counted.instructions, counted.grade), OVERHEAD: (overhead.median, "measured")}
    if IO_BINDING in micros:
        figures[SPEED_UP] = float(Spread.of(micros[IO_BINDING] / micros[NATIVE]).median), "measured"
    return CaseReport(
        name=case.name,
        description=case.description,
        weights=case.weights,
        activity=case.activity,
        timings=timings,
        session_overhead_us=overhead,
        counts=(counted, *QUOTED[case.name]),
        goals=judge(case.name, figures),
    )
