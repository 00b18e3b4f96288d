"""The benchmark as one self-contained HTML file, from its JSON document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Any

from edgekit.bench.packages import require
from edgekit.bench.tables import number, percent, small
from edgekit.profile.grades import MEASURED

Document = Mapping[str, Any]
PACKAGES = ("altair", "jinja2", "vl_convert")


def check_packages() -> None:
    """ToolchainError unless what draws the page is installed."""
    for package in PACKAGES:
        require(package, "web")


def write_html(document: Document, path: str | PathLike[str]) -> int:
    """Write the page of a report, given as its JSON document, and return its size in bytes; no network is needed."""
    check_packages()
    from edgekit.profile.html.page import Page, write_page
    from edgekit.profile.html.parts import Tile

    cases = document["cases"]
    host, load = document["host"], document["load_average_after"]
    missed = [f"{case['name']}: {_goal(goal)}" for case in cases for goal in case["goals"] if not goal["met"]]
    warnings = [f"MISSED: {text}" for text in missed]
    warnings += [f"SKIPPED: {name}, {why}" for name, why in document["skipped"].items()]
    warnings += [f"LEFT OUT: {name}, {why}" for name, why in document["absent"].items()]
    counts = " and ".join(f"{n} thread{'s' * (n > 1)}" for n in document["threads"])
    page = Page(
        kind="Benchmark",
        title="edgekit beside what else runs these models",
        lead="Batch 1, one step per call, input written and states carried in every step, as a user must. "
        f"Peers with {counts}, each in a process of its own; edgekit with one. Median and 10th to 90th percentile of "
        f"{document['schedule']['rounds']} rounds in which all take turns.",
        sections=tuple(_section(case, document["threads"]) for case in cases),
        tiles=tuple(Tile(*tile) for tile in _tiles(cases)),
        facts=(
            ("processor", f"{host['processor']}, {host['simd']}, {host['cores']} cores"),
            ("system", f"{host['system']}, Python {host['python']}, edgekit {host['edgekit']}"),
            ("load", f"{host['load_average']:.1f} before, {load:.1f} after"),
        ),
        warned="Goals that are missed, and what is not in this run:",
        warnings=tuple(warnings),
    )
    return write_page(page, path)


def _goal(goal: Document) -> str:
    wanted, side = goal["goal"], "at least" if goal["goal"]["at_least"] else "at most"
    return f"{wanted['figure']} ({wanted['precision']}): {number(goal['value'])}, {side} {wanted['limit']:,g}"


def _tiles(cases: Sequence[Document]) -> Iterator[tuple[str, str, str, str]]:
    """For each model the fastest peer, and in the note the one that comes nearest."""
    for case in cases:
        if match := case["fastest"]:
            near = case["nearest"]
            note = (
                f"faster than the fastest peer, {match['subject']}, by {match['against']}, no less exact; nearest at "
            )
            note += f"its own accuracy is {near['subject']}: {number(near['times']['median'])}×"
            yield case["name"], f"{number(match['times']['median'])}×", MEASURED, note


def _section(case: Document, threads: Sequence[int]) -> Any:
    from edgekit.profile.html import charts
    from edgekit.profile.html.charts import Bar
    from edgekit.profile.html.parts import Figure, Section

    name, figures = case["name"], []
    for count in threads:
        bars = [
            Bar(row["subject"], us["median"], f"{number(us['median'])} µs", us["p10"], us["p90"])
            for row in case["rows"]
            if not row["fault"]
            for us in (t["step_us"] for t in row["timings"] if t["threads"] == count)
        ]
        if bars:
            caption = f"Median of a step, the line from the 10th to the 90th percentile; peers with {count} "
            caption += "threads, edgekit with one." if count > 1 else "thread."
            title = f"Time of a step, {count} thread{'s' * (count > 1)}"
            figures.append(Figure(f"{name}-{count}", title, caption, charts.bars(bars, "µs per step"), MEASURED))
    limits = [
        Bar(f"{p['precision']}: {p['roofline']['gigabytes_per_s']:.0f} GB/s", share["median"], percent(share["median"]))
        for p in case["programs"]
        for share in (p["roofline"]["share"],)
    ]
    caption = "Share of the step that reading all constants of the program takes, where they are, in order: a program "
    caption += "that uses each of them cannot pass 1; one that skips the weights of silent neurons can."
    roofline = charts.bars(limits, "limit of the memory / step")
    figures.append(Figure(f"{name}-limit", "Roofline of edgekit's programs", caption, roofline, MEASURED))
    lead = f"{case['description']}; {case['weights']:,} weights."
    if case["activity"]:
        rates = ", ".join(f"{key} {100 * rate:.1f} %" for key, rate in case["activity"].items())
        lead += f" Activity, measured: {rates}."
    notes = [f"{row['subject']}: FAILING, {row['fault']}" for row in case["rows"] if row["fault"]]
    notes += [f"{row['subject']}: {row['note']}" for row in case["rows"] if row["note"]]
    notes += [f"Windows: {case['tests']}"] * bool(case["tests"])
    notes += [f"Decisions about real windows are left out: {case['untested']}"] * bool(case["untested"])
    tables = (_rows(case, threads), _goals(case))
    return Section(name, name, lead, tuple(figures), tables, tuple(notes))


def _rows(case: Document, threads: Sequence[int]) -> Any:
    from edgekit.profile.html.parts import Badge, Table

    def cells(row: Document) -> tuple[Any, ...]:
        by_threads = {t["threads"]: t for t in row["timings"]} if not row["fault"] else {}
        times = [number(by_threads[n]["step_us"]["median"]) if n in by_threads else "" for n in threads]
        exact = row["accuracy"] or {}
        right = exact.get("windows")
        error = small(exact["error"]) if exact else ""
        best = min((t["times"]["median"] for t in by_threads.values() if t["times"]), default=None)
        return (
            *(row["subject"], *times, error, percent(exact["agreement"]) if exact else ""),
            *(["" if right is None else f"{100 * right:.1f} %"] if case["tests"] else ()),
            "" if best is None else f"{number(best)}×",
            "FAILING" if row["fault"] else Badge(MEASURED),
        )

    columns = ("subject", *(f"µs, {n} thread{'s' * (n > 1)}" for n in threads))
    columns += ("relative error", "steps alike", *(["windows right"] if case["tests"] else ()))
    columns += ("times ours, no less exact", "")
    right = tuple(range(1, len(columns) - 1))
    return Table(columns, tuple(cells(row) for row in case["rows"]), right)


def _goals(case: Document) -> Any:
    from edgekit.profile.html.parts import Badge, Table

    rows = tuple(
        (
            *(goal["goal"]["figure"], goal["goal"]["precision"]),
            *(f"{'≥' if goal['goal']['at_least'] else '≤'} {goal['goal']['limit']:,g}", number(goal["value"])),
            *(Badge(goal["grade"]), "yes" if goal["met"] else "MISSED", goal["bound"]),
        )
        for goal in case["goals"]
    )
    return Table(("goal", "precision", "limit", "figure", "grade", "met", "what bounds it"), rows, (2, 3))
