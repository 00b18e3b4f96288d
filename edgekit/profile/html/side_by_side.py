"""The page of a comparison: what differed, the ratios as a picture, and every figure of both."""

from __future__ import annotations

import math
from collections.abc import Iterator

from edgekit.profile.compare import Comparison, Row
from edgekit.profile.figures import OPS, named_timings
from edgekit.profile.grades import MEASURED
from edgekit.profile.html import charts
from edgekit.profile.html.charts import Bar
from edgekit.profile.html.costs import distribution, distribution_figures
from edgekit.profile.html.page import Page
from edgekit.profile.html.parts import Badge, Cell, Figure, Gap, Section, Table, Tile, finite

MOST_TILES = 6
MOST_RATIOS = 24
ALIKE = math.log(1.01)
_LARGE = {"time": ": median", "instructions": "a step: mean", "memory": "", "energy": "a step, idle too"}
_SIZES = ("flash", "RAM")


def comparison_page(comparison: Comparison) -> Page:
    """The parts of a comparison's page."""
    rows = comparison.rows
    sections = [part for part in (_ratios(rows), _latency(comparison)) if part]
    sections += [
        _group(group, [row for row in rows if row.group == group]) for group in dict.fromkeys(r.group for r in rows)
    ]
    return Page(
        kind="Comparison",
        title=f"{_short(comparison.names[0])} and {_short(comparison.names[1])}",
        lead="b beside a: below 1× is less, above is more. There is a ratio where both figures are of the same grade.",
        sections=tuple(sections),
        tiles=tuple(_tiles(rows))[:MOST_TILES],
        facts=tuple(_facts(comparison)),
        gaps=() if rows else (Gap("Figures", "Neither profile has a figure."),),
        warned="Not the same when the two were made:",
        warnings=tuple(f"{each.what}: {each.a} in a, {each.b} in b" for each in comparison.different),
    )


def _short(name: str) -> str:
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def _facts(comparison: Comparison) -> Iterator[tuple[str, str]]:
    for letter, name, document in zip("ab", comparison.names, comparison.documents, strict=True):
        yield letter, f"{name}: {document['artifact']}, {document['precision']} for {document['target']}"


def _tiles(rows: tuple[Row, ...]) -> Iterator[Tile]:
    for row in rows:
        if row.ratio is not None and row.group in _LARGE:
            wanted = row.name in _SIZES if row.group == "memory" else row.name.endswith(_LARGE[row.group])
            if wanted:
                a, b, ratio = row.texts
                yield Tile(f"{row.group}, {row.name}", ratio, row.grade_a, f"{a} → {b}")


def _ratios(rows: tuple[Row, ...]) -> Section | None:
    known = [row for row in rows if row.ratio and row.group != OPS]
    apart = [row for row in known if abs(math.log(row.ratio or 1.0)) > ALIKE]
    if not known:
        return None
    lead = f"{len(known)} figures that both profiles have, of the same grade; {len(known) - len(apart)} within 1 %."
    bars = [Bar(f"{row.group} · {row.name}", row.ratio or 1.0, row.texts[2]) for row in apart[:MOST_RATIOS]]
    more = f" The first {MOST_RATIOS} of {len(apart)} are drawn." if len(apart) > MOST_RATIOS else ""
    if not bars:
        return Section("apart", "Ratios", lead)
    figure = Figure(
        "ratios",
        "b / a",
        f"Those further apart than 1 %, on a logarithmic axis: half as much is as far from 1 as twice as much.{more}",
        charts.ratios(bars),
    )
    return Section("apart", "Ratios", lead, (figure,))


def _latency(comparison: Comparison) -> Section | None:
    drawn = [
        made
        for letter, document in zip("ab", comparison.documents, strict=True)
        for name, timing in named_timings(finite(document))
        if (made := distribution(timing, f"{letter}: {name}"))
    ]
    if not all(document.get("timings") for document in comparison.documents):
        return None
    lead = "The timings of both, each as a share of its own readings."
    return Section("latency", "Latency", lead, distribution_figures("latency", drawn, "µs per step", MEASURED))


def _group(group: str, rows: list[Row]) -> Section:
    cells: tuple[tuple[Cell, ...], ...] = tuple(
        (row.name, *row.texts, Badge(row.grade_a), Badge(row.grade_b), row.note) for row in rows
    )
    title = group[:1].upper() + group[1:]
    table = Table((title.lower(), "a", "b", "b / a", "grade of a", "of b", ""), cells, (1, 2, 3))
    return Section(f"group-{group.replace(' ', '-')}", title, "", tables=(table,))
