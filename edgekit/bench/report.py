"""What came out, for people (tables) and for machines (one JSON object). Every figure carries its grade."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from edgekit.bench.counts import Count
from edgekit.bench.goals import Outcome
from edgekit.bench.host import Host
from edgekit.bench.timing import Schedule, Spread

SCHEMA_VERSION = 1
FIGURES = ("µs/step", "p10 – p90", "× C loop", "count", "limit", "figure")  # columns of numbers


@dataclass(frozen=True)
class Timing:
    """Microseconds of one step, and how many times as long as edgekit's C loop in the same round."""

    subject: str
    detail: str
    equal_steps: int
    step_us: Spread
    times_native: Spread
    grade: str = "measured"


@dataclass(frozen=True)
class CaseReport:
    """All figures of one model."""

    name: str
    description: str
    weights: int
    activity: Mapping[str, float]
    timings: tuple[Timing, ...]
    session_overhead_us: Spread
    counts: tuple[Count, ...]
    goals: tuple[Outcome, ...]


@dataclass(frozen=True)
class Report:
    """One run of the benchmark; `load_average_after` stands beside that of `host`, which was taken before."""

    host: Host
    load_average_after: float
    schedule: Schedule
    cases: tuple[CaseReport, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    def print(self, console: Console) -> None:
        """Tables for people."""
        host = self.host
        console.print(f"{host.processor}, {host.arch} {host.simd}, {host.cores} cores, {host.system}")
        console.print(f"Python {host.python}, edgekit {host.edgekit}; load {_load(self)}")
        console.print(
            f"batch 1, one thread, fp32, one step per call, input written and states carried in every step; "
            f"{self.schedule.rounds} rounds in turns of {1e3 * self.schedule.turn_s:g} ms"
        )
        for case in self.cases:
            _print_case(case, console)


def _load(report: Report) -> str:
    before, after = report.host.load_average, report.load_average_after
    busy = " (others were busy: read the ratios, not the microseconds)" if before > 1 else ""
    return f"{before:.1f} before, {after:.1f} after{busy}"


def _print_case(case: CaseReport, console: Console) -> None:
    console.print(f"\n[bold]{case.description}[/bold], {case.weights:,} weights")
    if case.activity:
        rates = ", ".join(f"{letter} {100 * rate:.1f} %" for letter, rate in case.activity.items())
        console.print(f"activity (measured): {rates}")
    rows = _table("subject", "µs/step", "p10 – p90", "× C loop", "p10 – p90", "grade", "what ran")
    for t in case.timings:
        rows.add_row(
            *(t.subject, f"{t.step_us.median:.2f}", f"{t.step_us.p10:.2f} – {t.step_us.p90:.2f}"),
            *(f"{t.times_native.median:.2f}", f"{t.times_native.p10:.2f} – {t.times_native.p90:.2f}"),
            *(t.grade, f"{t.detail}; equal to PyTorch for {t.equal_steps} steps"),
        )
    over = case.session_overhead_us
    rows.add_row(
        "Session.step over C",
        f"{over.median:.2f}",
        f"{over.p10:.2f} – {over.p90:.2f}",
        "",
        "",
        "measured",
        "paired by round",
    )
    console.print(rows)
    rows = _table("instructions per step", "count", "core", "grade", "source")
    for c in case.counts:
        rows.add_row(c.subject, f"{c.instructions:,.0f}", c.core, c.grade, c.source)
    console.print(rows)
    rows = _table("goal", "limit", "figure", "grade", "met")
    for g in case.goals:
        bound = f"{'≥' if g.at_least else '≤'} {g.limit:,g}"
        met = "[green]yes[/green]" if g.met else "[red]MISSED[/red]"
        rows.add_row(g.figure, bound, f"{g.value:,.0f}" if g.value >= 1000 else f"{g.value:.2f}", g.grade, met)
    console.print(rows)


def _table(*columns: str) -> Table:
    """Text columns to the left, figures to the right."""
    made = Table(header_style="bold", box=None, pad_edge=False)
    for column in columns:
        figure = column in FIGURES
        made.add_column(column, justify="right" if figure else "left", no_wrap=figure)
    return made
