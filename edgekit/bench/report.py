"""What came out, for people (tables) and for machines (one JSON object). Every figure carries its grade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.padding import Padding

from edgekit.bench.counts import Count
from edgekit.bench.footprint import Footprint
from edgekit.bench.goals import Outcome
from edgekit.bench.peers.onnx_runtime import IO_BINDING
from edgekit.bench.roofline import Roofline
from edgekit.bench.tables import between, kilobytes, number, percent, table, times
from edgekit.bench.timing import Schedule, Spread
from edgekit.profile.host import Host

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Timing:
    """Microseconds of one step, and how many times as long as edgekit's fp32 C loop in the same round; `equal_steps`
    from reset equal the outputs that the precision is compared with.
    """

    subject: str
    detail: str
    equal_steps: int
    step_us: Spread
    times_native: Spread
    grade: str = "measured"


@dataclass(frozen=True)
class ProgramReport:
    """edgekit's program of one precision: its time here in a C loop, `times_faster` than each peer, paired by round,
    and the instructions of a step on the emulated device; `costliest` says in words where these go.
    """

    precision: str
    step_us: Spread
    instructions: float
    size: Footprint
    roofline: Roofline
    times_faster: Mapping[str, Spread]
    costliest: str


@dataclass(frozen=True)
class CaseReport:
    """All figures of one model; `conversion_s` is the wall clock of import and conversion without a build cache."""

    name: str
    description: str
    weights: int
    activity: Mapping[str, float]
    conversion_s: float
    timings: tuple[Timing, ...]
    session_overhead_us: Spread
    programs: tuple[ProgramReport, ...]
    counts: tuple[Count, ...]
    goals: tuple[Outcome, ...]


@dataclass(frozen=True)
class Report:
    """One run of the benchmark; `load_average_after` stands beside that of `host`, which was taken before; `absent`
    are the models left out, with the reason.
    """

    host: Host
    load_average_after: float
    schedule: Schedule
    cases: tuple[CaseReport, ...]
    absent: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    def print(self, console: Console) -> None:
        """Tables for people."""
        host = self.host
        console.print(f"{host.processor}, {host.arch} {host.simd}, {host.cores} cores, {host.system}")
        console.print(f"Python {host.python}, edgekit {host.edgekit}; load {_load(self)}")
        console.print(
            f"batch 1, one thread, one step per call, input written and states carried in every step;\n"
            f"median and 10th to 90th percentile of {self.schedule.rounds} rounds in turns of "
            f"{1e3 * self.schedule.turn_s:g} ms"
        )
        for detail in sorted({t.detail for case in self.cases for t in case.timings}):
            console.print(f"  {detail}")
        for case in self.cases:
            _print_case(case, console)
        if self.cases:
            _print_summary(self.cases, console)
        if any(not goal.met for case in self.cases for goal in case.goals):
            console.print(
                "\nThe code behind a missed goal: python -m edgekit.bench --models MODEL --keep FOLDER,\n"
                "then objdump -d FOLDER/MODEL.PRECISION.TARGET.so; the function of the step is ek_MODEL_step."
            )
        for name, why in self.absent.items():
            console.print(f"\n[red]LEFT OUT[/red]: {name}, {why}", soft_wrap=True)


def _print_summary(cases: Sequence[CaseReport], console: Console) -> None:
    columns = (
        "precision<",
        "µs",
        "faster than\nORT io-binding",
        "limit\n/ step",
        "instructions,\ncortex-a72",
        "goals<",
    )
    rows = table("summary\n(medians)", *columns)
    for case in cases:
        for p in case.programs:
            met = [goal.met for goal in case.goals if goal.goal.precision == p.precision]
            rows.add_row(
                *(case.name, p.precision, number(p.step_us.median)),
                f"{number(p.times_faster[IO_BINDING].median)}×" if IO_BINDING in p.times_faster else "",
                *(percent(p.roofline.share.median), number(p.instructions)),
                ("met" if all(met) else "[red]MISSED[/red]") if met else "",
            )
    console.print()
    console.print(rows)


def _load(report: Report) -> str:
    before, after = report.host.load_average, report.load_average_after
    busy = " (others were busy: trust the ratios)" if max(before, after) > 1.5 else ""
    return f"{before:.1f} before, {after:.1f} after{busy}"


def _print_case(case: CaseReport, console: Console) -> None:
    console.print(f"\n[bold]{case.name}[/bold]: {case.description}; {case.weights:,} weights")
    if case.activity:
        rates = ", ".join(f"{name} {100 * rate:.1f} %" for name, rate in case.activity.items())
        console.print(f"activity (measured): {rates}")
    console.print(f"imported and converted in {case.conversion_s:.1f} s (measured, no build cache)")
    for show in (_print_timings, _print_programs, _print_counts):
        show(case, console)
    print_goals(case.goals, console)


def _print_timings(case: CaseReport, console: Console) -> None:
    rows = table("time of a step (measured)", "µs", "p10 – p90", "× C loop", "p10 – p90", "equal steps")
    for t in case.timings:
        rows.add_row(
            *(t.subject, number(t.step_us.median), between(t.step_us)),
            *(number(t.times_native.median), between(t.times_native), str(t.equal_steps)),
        )
    over = case.session_overhead_us
    rows.add_row("Session.step over the C loop", number(over.median), between(over))
    console.print(rows)


def _print_programs(case: CaseReport, console: Console) -> None:
    peers = list(case.programs[0].times_faster)
    if peers:
        rows = table("times faster (measured)", *(f"than {name}" for name in peers))
        for p in case.programs:
            rows.add_row(p.precision, *(times(p.times_faster[name]) for name in peers))
        console.print(rows)
    rows = table("program here", "code", "constants", "RAM", "limit µs", "GB/s", "limit / step", "p10 – p90")
    for p in case.programs:
        limit, share = p.roofline, p.roofline.share
        rows.add_row(
            *(p.precision, kilobytes(p.size.code_bytes), kilobytes(p.size.constant_bytes)),
            *(kilobytes(p.size.ram_bytes), number(limit.read_us.median), number(limit.gigabytes_per_s)),
            *(percent(share.median), f"{percent(share.p10)} – {percent(share.p90)}"),
        )
    console.print(rows)


def _print_counts(case: CaseReport, console: Console) -> None:
    rows = table("instructions of a step", "count", "core<", "grade<", "source<")
    for c in case.counts:
        rows.add_row(c.subject, number(c.instructions), c.core, c.grade, c.source)
    console.print(rows)
    for p in case.programs:
        console.print(f"  {p.precision}: {p.costliest}")


def print_goals(goals: Sequence[Outcome], console: Console) -> None:
    """A table of goals, met or MISSED, and below it what bounds those that were missed."""
    if not goals:
        return
    rows = table("goal", "precision<", "limit", "figure", "grade<", "met<")
    for g in goals:
        limit = f"{'≥' if g.goal.at_least else '≤'} {g.goal.limit:,g}"
        met = "[green]yes[/green]" if g.met else "[red]MISSED[/red]"
        rows.add_row(g.goal.figure, g.goal.precision, limit, number(g.value), g.grade, met)
    console.print(rows)
    for g in goals:
        if not g.met:
            console.print(f"  MISSED {g.goal.figure}, {g.goal.precision}")
            console.print(Padding(g.bound, (0, 0, 0, 4)))
