"""What came out, for people (tables) and for machines (one JSON object). Every figure carries its grade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from edgekit.bench.counts import Count
from edgekit.bench.footprint import Footprint
from edgekit.bench.goals import BEST, Outcome
from edgekit.bench.peers.onnx_runtime import IO_BINDING
from edgekit.bench.roofline import Roofline
from edgekit.bench.rows import Match, Row
from edgekit.bench.tables import between, kilobytes, number, percent, small, table, times
from edgekit.bench.timing import Schedule, Spread
from edgekit.profile.host import BUSY, Host

SCHEMA_VERSION = 3


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
    """All figures of one model; `conversion_s` is the wall clock of import and conversion without a build cache.
    `fastest` is the peer that takes the least time, `nearest` the one whose ratio to ours of its accuracy is least.
    `tests` says which windows were classified; where there are such windows but not here, `untested` says why.
    """

    name: str
    description: str
    weights: int
    activity: Mapping[str, float]
    conversion_s: float
    tests: str
    untested: str
    rows: tuple[Row, ...]
    fastest: Match | None
    nearest: Match | None
    session_overhead_us: Spread
    programs: tuple[ProgramReport, ...]
    counts: tuple[Count, ...]
    goals: tuple[Outcome, ...]


@dataclass(frozen=True)
class Report:
    """One run of the benchmark; `load_average_after` stands beside that of `host`, which was taken before; `absent`
    are the models left out, and `skipped` the peers, with the reason. Peers ran once with each number of `threads`.
    """

    host: Host
    load_average_after: float
    schedule: Schedule
    threads: tuple[int, ...]
    cases: tuple[CaseReport, ...]
    absent: Mapping[str, str]
    skipped: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    def print(self, console: Console) -> None:
        """Tables for people."""
        host = self.host
        console.print(f"{host.processor}, {host.arch} {host.simd}, {host.cores} cores, {host.system}")
        console.print(f"Python {host.python}, edgekit {host.edgekit}; load {_load(self)}")
        counts = " and ".join(f"{n} thread{'s' * (n > 1)}" for n in self.threads)
        console.print(
            "batch 1, one step per call, input written and states carried in every step\n"
            f"peers with {counts}, each in a process of its own; edgekit always with one\n"
            f"median and 10th to 90th percentile of {self.schedule.rounds} rounds in turns of "
            f"{1e3 * self.schedule.turn_s:g} ms\n"
            "× ours: as long as the fastest program of edgekit with no larger error (or both below 1e-4), same round"
        )
        for detail in sorted({row.detail for case in self.cases for row in case.rows if row.detail}):
            console.print(f"  {detail}")
        for case in self.cases:
            _print_case(case, self.threads, console)
        if self.cases:
            _print_summary(self.cases, console)
        if any(not goal.met for case in self.cases for goal in case.goals):
            console.print(
                "\nThe code behind a missed goal: edgekit bench --models MODEL --keep FOLDER,\n"
                "then objdump -d FOLDER/MODEL.PRECISION.TARGET.so; the function of the step is ek_MODEL_step."
            )
        for name, why in self.skipped.items():
            console.print(f"\n[red]SKIPPED[/red]: {name}, {escape(why)}", soft_wrap=True)
        for name, why in self.absent.items():
            console.print(f"\n[red]LEFT OUT[/red]: {name}, {escape(why)}", soft_wrap=True)


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
            rows.add_row(
                *(case.name, p.precision, number(p.step_us.median)),
                f"{number(p.times_faster[IO_BINDING].median)}×" if IO_BINDING in p.times_faster else "",
                *(percent(p.roofline.share.median), number(p.instructions), _met(case, p.precision)),
            )
        if best := _met(case, BEST):
            rows.add_row(case.name, BEST, "", "", "", "", best)
    console.print()
    console.print(rows)


def _met(case: CaseReport, precision: str) -> str:
    met = [goal.met for goal in case.goals if goal.goal.precision == precision]
    return ("met" if all(met) else "[red]MISSED[/red]") if met else ""


def _load(report: Report) -> str:
    before, after = report.host.load_average, report.load_average_after
    busy = " (others were busy: trust the ratios)" if max(before, after) > BUSY else ""
    return f"{before:.1f} before, {after:.1f} after{busy}"


def _print_case(case: CaseReport, threads: Sequence[int], console: Console) -> None:
    console.print(f"\n[bold]{case.name}[/bold]: {case.description}; {case.weights:,} weights")
    if case.activity:
        rates = ", ".join(f"{name} {100 * rate:.1f} %" for name, rate in case.activity.items())
        console.print(f"activity (measured): {rates}")
    if case.tests:
        console.print(f"classified: {case.tests}")
    if case.untested:
        console.print(f"[red]LEFT OUT[/red]: decisions about real windows, {case.untested}", soft_wrap=True)
    console.print(f"imported and converted in {case.conversion_s:.1f} s (measured, no build cache)")
    _print_rows(case, threads, console)
    for show in (_print_programs, _print_counts):
        show(case, console)
    print_goals(case.goals, console)


def _print_rows(case: CaseReport, threads: Sequence[int], console: Console) -> None:
    """The comparison: times with each number of threads, how exact, and how many times as long as ours."""
    tested = ["windows\nright"] if case.tests else []
    columns = [f"µs with\n{n} thread{'s' * (n > 1)}" for n in threads]
    rows = table("measured", *columns, "relative\nerror", "steps\nalike", *tested, "× ours", "p10 – p90")
    notes: dict[str, int] = {}
    for row in case.rows:
        texts = [*([f"FAILING: {row.fault}"] if row.fault else []), *([row.note] if row.note else [])]
        marks = "".join(f" \\[{notes.setdefault(text, len(notes) + 1)}]" for text in texts)
        rows.add_row(f"{row.subject}{marks}", *_times(row, threads), *_exact(row, bool(tested)), *_ratio(row))
    over = case.session_overhead_us
    console.print(rows)
    console.print(f"Session.step over the C loop: {number(over.median)} µs ({between(over)})")
    for what, match in (("fastest peer", case.fastest), ("nearest peer at its own accuracy", case.nearest)):
        if match:
            count = f"{match.threads} thread{'s' * (match.threads > 1)}"
            console.print(f"{what}: {match.subject}, {count}: {times(match.times)} as long as {match.against}")
    for text, at in notes.items():  # words of others, which may hold brackets
        console.print(Padding(Text(f"[{at}] {text}"), (0, 0, 0, 2)))


def _times(row: Row, threads: Sequence[int]) -> list[str]:
    if row.fault:
        return ["[red]FAILING[/red]", *[""] * (len(threads) - 1)]
    return [number(t.step_us.median) if (t := row.timing(n)) else "–" for n in threads]


def _exact(row: Row, tested: bool) -> list[str]:
    found = row.accuracy
    if found is None:
        return ["", "", *[""] * tested]
    right = "" if found.windows is None else f"{100 * found.windows:.1f} %"
    return [small(found.error), percent(found.agreement), *[right] * tested]


def _ratio(row: Row) -> tuple[str, str]:
    """Of the number of threads that suits the subject best."""
    found = [t.times for t in row.timings if t.times and not row.fault]
    best = min(found, key=lambda times: times.median, default=None)
    return ("", "") if best is None else (number(best.median), between(best))


def _print_programs(case: CaseReport, console: Console) -> None:
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
