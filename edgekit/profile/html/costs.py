"""Sections of what a step costs in time and instructions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit.profile.figures import named_timings
from edgekit.profile.grades import EMULATED, MEASURED
from edgekit.profile.html import charts
from edgekit.profile.html.charts import Bar, Distribution
from edgekit.profile.html.parts import Badge, Cell, Chart, Figure, Gap, Section, Table, flat
from edgekit.profile.numbers import number

Document = Mapping[str, Any]
MOST_BARS = 24
PERCENTILES = ("p50", "p90", "p99")
SPREAD = ("n", "min", "p50", "p90", "p95", "p99", "max", "mean", "std")


def distribution(timing: Document, name: str, spread: str = "spread_us") -> Distribution | None:
    """The histogram of a timing under this name; None when it has none, or no readings in it."""
    drawn, found = timing.get("histogram"), timing.get(spread) or {}
    if not drawn or not sum(drawn["counts"]):
        return None
    marks = {key: float(found[key]) for key in PERCENTILES if found.get(key)}
    return Distribution(name, drawn["edges_us"], drawn["counts"], marks)


def latency_section(document: Document) -> Section | Gap:
    """Histogram, cumulative distribution and spread of each timing."""
    timings = named_timings(document)
    if not timings:
        return Gap("Latency", "Nothing was timed: this program did not run on the device. Profile it there.")
    drawn = [made for name, each in timings if (made := distribution(each, name))]
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            name,
            *_spread_cells(each.get("spread_us")),
            Badge(str(each["grade"])),
        )
        for name, each in timings
    )
    return Section(
        "latency",
        "Latency",
        "How long a step takes, warm and back to back, in microseconds.",
        distribution_figures("latency", drawn, "µs per step", MEASURED) if drawn else (),
        (Table(("µs per step", *SPREAD, "grade"), rows, tuple(range(1, 10))),),
        (*(_windows_said(name, each) for name, each in timings), *_clock_said(document)),
    )


def _spread_cells(spread: Document | None) -> tuple[str, ...]:
    return tuple(number((spread or {}).get(column)) for column in SPREAD)


def _windows_said(name: str, timing: Document) -> str:
    windows, each = [number(float(us)) for us in timing["windows_us"]], timing["steps_each"]
    said = f"{name} ({timing['how']}): readings of {number(each)} step{'s' if each != 1 else ''} each"
    medians = f"; the medians of {len(windows)} windows are {', '.join(windows)} µs" if len(windows) > 1 else ""
    taken = timing.get("preempted")
    lost = "" if taken is None else f"; the system took the processor away {number(taken)} times"
    return f"{said}{medians}{lost}."


def distribution_figures(name: str, drawn: Sequence[Distribution], what: str, grade: str) -> tuple[Figure, ...]:
    """The histogram and the cumulative distribution of some readings."""
    return (
        Figure(
            f"{name}-histogram",
            "Histogram",
            "Share of the readings in bins that grow by the same factor; the axis is logarithmic, so that a slower "
            "mode and rare interruptions stay visible beside the usual step.",
            charts.histogram(drawn, what),
            grade,
        ),
        Figure(
            f"{name}-cdf",
            "Cumulative distribution",
            "Share of the readings that took no longer. The steeper the curve, the steadier the step; the dots are "
            "the median, p90 and p99 of the readings themselves, not of the bins.",
            charts.cumulative(drawn, what),
            grade,
        ),
    )


def _clock_said(document: Document) -> Iterator[str]:
    if clock := document.get("clock"):
        yield f"One reading of the clock takes {number(clock['ns'], 3)} ns ({clock['how']})."


def paced_section(document: Document) -> Section | Gap:
    """Lateness and length of steps at a rate, and those that were missed."""
    paced = document.get("paced")
    if not paced:
        return Gap("Paced", "No steps were taken at the pace of a sensor: add --paced 20Hz, or the rate of yours.")
    grade = str(paced.get("grade", MEASURED))
    named = {"late": "start after its deadline", "step": "the step itself"}
    spreads = {name: paced[key] for key, name in named.items() if paced.get(key)}
    figures = list[Figure]()
    if drawn := distribution(paced, named["step"], "step"):
        figures.append(distribution_figures("paced", [drawn], "µs per step", grade)[0])
    if spreads:
        rows = [
            charts.Range(name, *(float(spread[key]) for key in ("min", "p50", "p99", "max")))
            for name, spread in spreads.items()
        ]
        figures.append(
            Figure(
                "paced-ranges",
                "Lateness and length",
                "The dot is the median, the thick line goes on to p99, and the thin one from the least to the most.",
                charts.ranges(rows, "µs"),
                grade,
            )
        )
    facts = tuple((*fact, Badge(grade)) for fact in flat(paced, (*named, "histogram", "how")))
    return Section(
        "paced",
        "Paced",
        "Steps at the pace of a sensor, with real sleeps in between: caches and clocks go cold. A miss is a step that "
        "ends after the next deadline, or was never started.",
        tuple(figures),
        (
            Table(("paced", "value", "grade"), facts, (1,)),
            Table(
                ("µs", *SPREAD, "grade"),
                tuple((name, *_spread_cells(spread), Badge(grade)) for name, spread in spreads.items()),
                tuple(range(1, 10)),
            ),
        ),
        (f"How: {paced['how']}.",) if paced.get("how") else (),
    )


def ops_section(document: Document) -> Section | Gap:
    """Time and instructions of each op of a step."""
    breakdown, counts = document.get("breakdown"), document.get("counts")
    figures, tables, notes = list[Figure](), list[Table](), list[str]()
    if breakdown:
        grade, ops = str(breakdown.get("grade", MEASURED)), breakdown["ops"]
        unit = _MICROSECONDS if max((float(op["microseconds"]) for op in ops), default=0) >= 1 else _NANOSECONDS
        figures.append(
            Figure(
                "ops-time",
                "Time of each op",
                "What each op takes in a step, median over rounds of the stimulus, by counters compiled into the "
                "program itself; what it costs to count is taken off. Within a thin line are nine of ten rounds.",
                _op_bars(ops, "microseconds", unit),
                grade,
            )
        )
        tables.append(_op_table(ops, "microseconds", unit, grade))
        notes += _counting_said(breakdown)
    if counts:
        grade, calls = str(counts.get("grade", EMULATED)), float(counts["calls"])
        ops = [*counts["ops"], {"op": "calls", "layer": "calls between them", "instructions": calls}]
        figures.append(
            Figure(
                "ops-instructions",
                "Instructions of each op",
                f"Mean instructions of each op in a step, with all that it calls, on {counts['core']}.",
                _op_bars(ops, "instructions", _INSTRUCTIONS),
                grade,
            )
        )
        tables.append(_op_table(ops, "instructions", _INSTRUCTIONS, grade))
    if not figures:
        return Gap("Where it goes", "No op was timed or counted: profile with --on emulator, or with its breakdown.")
    lead = "The ops of a step in the order in which they run, and the layers of the model that they came from."
    return Section("ops", "Where it goes", lead, tuple(figures), tuple(tables), tuple(notes))


def _counting_said(breakdown: Document) -> Iterator[str]:
    """What the counters cost, in words."""
    if breakdown.get("plain") and breakdown.get("ticked"):
        yield (
            f"A step takes {number(breakdown['plain'])} µs without counters and {number(breakdown['ticked'])} µs with "
            f"them, {number(breakdown['ticked'] / breakdown['plain'], 3)} times as long, over "
            f"{number(breakdown.get('rounds'))} rounds of {number(breakdown.get('steps'))} steps."
        )
    if breakdown.get("rest") is not None:
        yield f"Calls and checks, which no op has: {number(breakdown['rest'])} µs; below 0 where ops overlap."
    if breakdown.get("counter"):
        yield f"Counter: {breakdown['counter']}, which goes on by {number(breakdown.get('resolution'))} µs."


def _op_name(op: Document) -> str:
    layer, kernel = str(op.get("layer") or ""), str(op.get("kernel") or "")
    return " · ".join(part for part in (layer, kernel) if part) or str(op["op"])


@dataclass(frozen=True)
class _Unit:
    """In what the figures of ops are written: `scale` of them is one of the document's; `mark` stands behind them."""

    axis: str
    scale: float = 1.0
    mark: str = ""


_MICROSECONDS, _NANOSECONDS = _Unit("µs per step", 1, " µs"), _Unit("ns per step", 1000, " ns")
_INSTRUCTIONS = _Unit("instructions per step")


def _op_bars(ops: Sequence[Document], key: str, unit: _Unit) -> Chart:
    """A bar for each op; where there are too many, the largest, and one for all others."""
    values = [float(op[key]) * unit.scale for op in ops]
    whole = sum(values) or 1.0

    def text(value: float) -> str:
        return f"{number(value, 3)}{unit.mark} · {value / whole:.0%}"

    kept = sorted(sorted(range(len(ops)), key=lambda at: -values[at])[:MOST_BARS])
    shown = [
        Bar(
            _op_name(ops[at]),
            values[at],
            text(values[at]),
            *(None if ops[at].get(end) is None else ops[at][end] * unit.scale for end in ("low", "high")),
        )
        for at in kept
    ]
    if len(ops) > MOST_BARS:
        rest = whole - sum(bar.value for bar in shown)
        shown.append(Bar(f"{len(ops) - MOST_BARS} others", rest, text(rest)))
    return charts.bars(shown, unit.axis)


def _op_table(ops: Sequence[Document], key: str, unit: _Unit, grade: str) -> Table:
    whole = sum(float(op[key]) for op in ops) or 1.0
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            *(str(op.get(name) or "") for name in ("op", "kernel", "layer")),
            number(float(op[key]) * unit.scale),
            f"{float(op[key]) / whole:.1%}",
            Badge(grade),
        )
        for op in ops
    )
    columns = ("op", "kernel", "from", unit.axis, "share", "grade")
    return Table(columns, rows, (3, 4), fold=f"All {len(ops)} ops, {unit.axis}")


def instructions_section(document: Document) -> Section | Gap:
    """Instructions of each step, exact."""
    counts = document.get("counts")
    if not counts:
        return Gap("Instructions", "Nothing was counted: profile with --on emulator where the target has a core.")
    steps, grade = counts["steps"], Badge(str(counts.get("grade", EMULATED)))
    columns = ("min", "median", "max", "mean")
    rows: list[tuple[Cell, ...]] = [
        (name, *(number(counts[key].get(column)) for column in columns), grade)
        for key, name in (("a_step", "a step"), ("a_window", "a window"))
        if counts.get(key)
    ]
    rows += [(f"{name}, one call", "", number(once), "", "", grade) for name, once in counts["border"].items()]
    figure = Figure(
        "instructions-steps",
        "Instructions of each step",
        "Exact, and the same at every run. Where spikes decide what is computed, a busy step costs more than a quiet "
        "one.",
        charts.line(range(len(steps)), steps, "step", "instructions"),
        grade.grade,
    )
    return Section(
        "instructions",
        "Instructions",
        f"Counted one by one on {counts['core']}, over {counts['stimulus']}.",
        (figure,) if len(steps) > 1 else (),
        (Table(("instructions", *columns, "grade"), tuple(rows), (1, 2, 3, 4)),),
    )
