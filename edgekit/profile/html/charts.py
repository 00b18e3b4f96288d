"""The charts of a report as Vega-Lite specifications, made with Altair.

Colours are variables of the page's style sheet: a chart follows light and dark without being drawn again. Those of the
series are Okabe and Ito's, "Color Universal Design" (2008), which colour-blind readers tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from edgekit.profile.html.parts import Chart
from edgekit.profile.numbers import number

SERIES = tuple(f"var(--series-{at})" for at in range(1, 8))
TINTS = tuple(f"var(--tint-{at})" for at in range(1, 8))
INK, SOFT, GRID, PAPER = "var(--ink)", "var(--soft)", "var(--line)", "var(--paper)"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
MOST_POINTS = 1200  # of a line: more than a screen has columns
MOST_SPIKES = 5000
MOST_LABELS = 7  # of an axis, on a phone
HEIGHT = 240
ROW = 36  # of a bar with its name above it
ROW_AXIS = alt.Axis(tickCount=5, grid=True, gridDash=[2, 3])
QUARTERS = [0, 25, 50, 75, 90, 100]

CONFIG: Mapping[str, Any] = {
    "background": "transparent",
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        **{"labelColor": SOFT, "titleColor": SOFT, "gridColor": GRID, "domainColor": GRID, "tickColor": GRID},
        **{"labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal", "titlePadding": 8},
        **{"labelPadding": 5, "tickSize": 4, "domain": False, "labelOverlap": True},
    },
    "axisX": {"grid": False, "domain": True, "titleAlign": "right", "titleAnchor": "end"},
    "axisY": {
        **{"ticks": False, "titleAngle": 0, "titleAlign": "left", "titleAnchor": "start"},
        **{"titleBaseline": "bottom", "titleX": 0, "titleY": -10},
    },
    "text": {"color": INK, "fontSize": 11},
}
"""How all charts look, given to Vega-Embed once."""


@dataclass(frozen=True)
class Distribution:
    """Readings of a clock by size: `counts[i]` of them lie between `edges[i]` and `edges[i + 1]` microseconds."""

    name: str
    edges: Sequence[float]
    counts: Sequence[float]
    marks: Mapping[str, float]  # percentile by name, as 'p50'


@dataclass(frozen=True)
class Bar:
    """One row of a bar chart: its length, its name, what is written at its end, and how far its value varies."""

    name: str
    value: float
    text: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Range:
    """One row of a chart of ranges: the least, the median, p99 and the most."""

    name: str
    least: float
    median: float
    p99: float
    most: float


def histogram(readings: Sequence[Distribution], what: str) -> Chart:
    """Share of the readings in each of the bins, which grow by the same factor."""
    rows, names = list[dict[str, Any]](), [each.name for each in readings]
    for each in readings:
        total = sum(each.counts) or 1
        for low, high, count in zip(each.edges, each.edges[1:], each.counts, strict=False):
            if count:
                bounds = {"low": _short(low), "high": _short(high), "floor": 0}
                rows.append({"name": each.name, **bounds, "percent": _short(100 * count / total), "readings": count})
    chart = (
        drawn(rows)
        .mark_rect(opacity=0.75)
        .encode(
            x=_log_x([row["low"] for row in rows] + [row["high"] for row in rows], "low", what),
            x2="high:Q",
            y=alt.Y("percent:Q", title="% of readings", axis=alt.Axis(tickCount=4)),
            y2="floor:Q",
            color=_color(names),
            tooltip=[
                alt.Tooltip("name:N", title="timing"),
                alt.Tooltip("low:Q", title="from µs"),
                alt.Tooltip("high:Q", title="to µs"),
                alt.Tooltip("readings:Q", title="readings", format=","),
                alt.Tooltip("percent:Q", title="% of readings", format=".3~f"),
            ],
        )
    )
    return framed(chart, f"Histogram of {what}", names)


def cumulative(readings: Sequence[Distribution], what: str) -> Chart:
    """Share of the readings that are not longer, with the percentiles on the curve."""
    rows, marks = list[dict[str, Any]](), list[dict[str, Any]]()
    for each in readings:
        total, below = sum(each.counts) or 1, 0.0
        held = [at for at, count in enumerate(each.counts) if count]
        first, last = (held[0], held[-1] + 1) if held else (0, 0)
        rows.append({"name": each.name, "us": _short(each.edges[first]), "percent": 0})
        for edge, count in zip(each.edges[first + 1 : last + 1], each.counts[first:last], strict=False):
            below += count
            rows.append({"name": each.name, "us": _short(edge), "percent": _short(100 * below / total)})
        marks += [
            {"name": each.name, "mark": mark, "us": _short(us), "percent": float(mark[1:])}
            for mark, us in each.marks.items()
        ]
    x = _log_x([row["us"] for row in rows], "us", what)
    y = alt.Y("percent:Q", title="% not longer", scale=alt.Scale(domain=[0, 100]), axis=alt.Axis(values=QUARTERS))
    names = [each.name for each in readings]
    color = _color(names)
    line = drawn(rows).mark_line(strokeWidth=2).encode(x=x, y=y, color=color)
    points = drawn(marks).encode(
        x=x,
        y=y,
        tooltip=[
            alt.Tooltip("name:N", title="timing"),
            alt.Tooltip("mark:N", title="percentile"),
            alt.Tooltip("us:Q", title="µs", format=",.4~g"),
        ],
    )
    dots = points.mark_circle(size=44, opacity=1, stroke=PAPER, strokeWidth=1.5).encode(color=color)
    return framed(alt.layer(line, dots), f"Cumulative share of {what}", names)


def bars(rows: Sequence[Bar], axis: str) -> Chart:
    """Bars in the order given, each below its name, so that long names have room on a phone too."""
    values = [
        {"name": row.name, "value": _short(row.value), "text": row.text}
        | ({"low": _short(row.low), "high": _short(row.high)} if row.low is not None and row.high is not None else {})
        for row in rows
    ]
    base = _rows(values, [alt.Tooltip("name:N"), alt.Tooltip("text:N", title=axis)])
    x = alt.X("value:Q", title=axis, axis=ROW_AXIS)
    drawn = base.mark_bar(size=8, yOffset=8, cornerRadiusEnd=2, color=SERIES[0]).encode(x=x)
    layers = [drawn]
    if any("low" in value for value in values):
        layers.append(base.mark_rule(yOffset=8, color=INK, strokeWidth=1.5).encode(x="low:Q", x2="high:Q"))
    return framed(alt.layer(*layers, *_names_above(base)), axis, height=ROW * len(rows))


def ranges(rows: Sequence[Range], axis: str) -> Chart:
    """From the least to the most as a thin line, from the median to p99 as a thick one, the median as a dot."""
    low, high = min(row.least for row in rows), max(row.most for row in rows)
    scale = _log_scale(low, high) if low > 0 else alt.Scale(zero=True)
    ticks = {"values": _log_ticks(*scale.to_dict()["domain"]), "format": ",.6~g"} if low > 0 else {"tickCount": 5}
    values = [
        {
            **{key: _short(getattr(row, key)) for key in ("least", "median", "p99", "most")},
            **{"name": row.name, "text": f"{number(row.median, 3)} · p99 {number(row.p99, 3)}"},
        }
        for row in rows
    ]
    keys = ("least", "median", "p99", "most")
    base = _rows(values, [alt.Tooltip("name:N"), *(alt.Tooltip(f"{key}:Q", format=",.4~g") for key in keys)])
    x: dict[str, Any] = {"title": axis, "scale": scale, "axis": alt.Axis(grid=True, gridDash=[2, 3], **ticks)}
    whole = base.mark_rule(yOffset=8, color=SOFT, strokeWidth=1).encode(x=alt.X("least:Q", **x), x2="most:Q")
    usual = base.mark_rule(yOffset=8, color=SERIES[0], strokeWidth=6).encode(x=alt.X("median:Q", **x), x2="p99:Q")
    dots = base.mark_circle(yOffset=8, color=SERIES[0], size=90, opacity=1).encode(x=alt.X("median:Q", **x))
    return framed(alt.layer(whole, usual, dots, *_names_above(base)), axis, height=ROW * len(rows))


def line(xs: Sequence[float], ys: Sequence[float], x: str, y: str) -> Chart:
    """One line; of more points than a screen shows, the least and the most of each stretch."""
    values = [{"x": _short(a), "y": _short(b)} for a, b in _thin(xs, ys)]
    chart = (
        drawn(values)
        .mark_line(strokeWidth=1.5, color=SERIES[0])
        .encode(x=_linear_x(xs, "x", x), y=alt.Y("y:Q", title=y, scale=alt.Scale(zero=False, nice=True)))
    )
    return framed(chart, f"{y} over {x}")


def lines(xs: Sequence[float], series: Mapping[str, Sequence[float]], x: str, y: str) -> Chart:
    """Several lines above zero."""
    values = [{"name": name, "x": _short(a), "y": _short(b)} for name, ys in series.items() for a, b in _thin(xs, ys)]
    chart = (
        drawn(values)
        .mark_line(strokeWidth=1.75)
        .encode(
            x=_linear_x(xs, "x", x),
            y=alt.Y("y:Q", title=y, axis=alt.Axis(format=".3~g")),
            color=_color(tuple(series)),
            tooltip=[alt.Tooltip("name:N"), alt.Tooltip("x:Q", title=x), alt.Tooltip("y:Q", title=y, format=".4~g")],
        )
    )
    return framed(chart, f"{y} over {x}", tuple(series))


def memory_map(places: Sequence[Mapping[str, Any]], calls: Sequence[str]) -> Chart:
    """Each place as a rectangle: the ops during which it is taken, by the bytes that it takes."""
    kinds = list(dict.fromkeys(str(place["kind"]) for place in places))
    size = max(place["offset"] + place["bytes"] for place in places)
    last = max(place["last"] for place in places) + 1
    values = [
        {
            **{key: place[key] for key in ("name", "kind", "bytes", "offset", "first", "last")},
            **{"to": place["last"] + 1, "end": place["offset"] + place["bytes"]},
            "from": calls[place["first"]],
            "until": calls[place["last"]],
            "middle": place["offset"] + place["bytes"] / 2,
            "free": _free_until(place, places),
            "label": str(place["name"]) if place["bytes"] > size / 26 else "",
        }
        for place in sorted(places, key=lambda place: place["first"])  # what is written later lies above
    ]
    y = alt.Y(
        "offset:Q",
        title="bytes from the start",
        scale=alt.Scale(domain=[0, size], nice=False),
        axis=alt.Axis(grid=False, ticks=True, domain=True, tickCount=6),
    )
    x = alt.X(
        "first:Q",
        title="op of the step",
        scale=alt.Scale(domain=[0, last], nice=False),
        axis=alt.Axis(tickMinStep=1, format="d", tickCount=min(last, MOST_LABELS)),
    )
    base = drawn(values).encode(
        x=x,
        tooltip=[
            *(alt.Tooltip(f"{key}:N") for key in ("name", "kind")),
            *(alt.Tooltip(f"{key}:Q", format=",") for key in ("bytes", "offset")),
            alt.Tooltip("from:N", title="from op"),
            alt.Tooltip("until:N", title="to op"),
        ],
    )
    blocks = base.mark_rect(strokeWidth=1, cornerRadius=2).encode(
        x2="to:Q",
        y=y,
        y2="end:Q",
        fill=alt.Fill("kind:N", scale=alt.Scale(domain=kinds, range=_colors(kinds, TINTS)), legend=None),
        stroke=alt.Stroke("kind:N", scale=alt.Scale(domain=kinds, range=_colors(kinds)), legend=None),
    )
    room = "abs(scale('x', datum.free) - scale('x', datum.first)) - 8"
    names = base.mark_text(align="left", dx=5, limit=alt.ExprRef(room)).encode(
        y=alt.Y("middle:Q", scale=alt.Scale(domain=[0, size], nice=False)), text="label:N"
    )
    return framed(alt.layer(blocks, names), "Places in memory over the ops of a step", kinds, height=340)


def _free_until(place: Mapping[str, Any], places: Sequence[Mapping[str, Any]]) -> int:
    """The op up to which nothing is drawn over a place, so that its name has room."""
    start, end = place["offset"], place["offset"] + place["bytes"]
    over = (p for p in places if p["offset"] < end and start < p["offset"] + p["bytes"])
    return int(min((place["last"] + 1, *(p["first"] for p in over if p["first"] > place["first"]))))


def power(t: Sequence[float], watts: Sequence[float], windows: Sequence[Mapping[str, Any]]) -> Chart:
    """Readings of a sensor over time, and the windows of which the energy is taken shaded."""
    x = _linear_x(t, "t", "s")
    y = alt.Y("watts:Q", title="W", scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=5))
    spans = [
        {"name": str(window["name"]), "start": _short(window["start"]), "end": _short(window["end"])}
        for window in windows
    ]
    shaded = drawn(spans).encode(x=_linear_x(t, "start", "s"))
    shade = alt.condition(alt.datum.name == "run", alt.value(SERIES[1]), alt.value(SOFT))
    areas = shaded.mark_rect(opacity=0.16).encode(x2="end:Q", color=shade, tooltip=[alt.Tooltip("name:N")])
    values = [{"t": _short(a), "watts": _short(b)} for a, b in _thin(t, watts)]
    trace = drawn(values).mark_line(strokeWidth=1, color=SERIES[0]).encode(x=x, y=y)
    made = framed(alt.layer(areas, trace), "Power over time")
    return Chart(made.spec, (("power", SERIES[0]), ("run", SERIES[1]), ("idle before and after", SOFT)))


def raster(spikes: Sequence[Sequence[int]], populations: Sequence[Mapping[str, Any]], steps: int) -> Chart:
    """A dot for each spike, populations above each other in colours of their own."""
    below, names = [0], [str(population["name"]) for population in populations]
    for population in populations:
        below.append(below[-1] + int(population["size"]))
    values = [
        {"step": step, "neuron": neuron, "at": below[at] + neuron, "name": names[at]} for step, at, neuron in spikes
    ]
    y = alt.Y(
        "at:Q",
        title="neuron, all populations",
        scale=alt.Scale(domain=[-1, below[-1]], nice=False),
        axis=alt.Axis(tickCount=5, format="d"),
    )
    dots = (
        drawn(values)
        .mark_square(size=5, opacity=0.9)
        .encode(
            x=_linear_x([0, max(steps - 1, 1)], "step", "step"),
            y=y,
            color=_color(names),
            tooltip=[
                alt.Tooltip("name:N", title="population"),
                alt.Tooltip("neuron:Q"),
                alt.Tooltip("step:Q"),
            ],
        )
    )
    borders = drawn([{"at": at - 0.5} for at in below[1:-1]])
    rules = borders.mark_rule(color=GRID).encode(y=y)
    return framed(alt.layer(rules, dots), "Spikes by step and neuron", names, height=300)


def ratios(rows: Sequence[Bar]) -> Chart:
    """Each ratio as a dot left or right of the line at 1, on a scale where a half is as far from it as a double."""
    values = [{"name": row.name, "ratio": _short(row.value), "text": row.text, "one": 1} for row in rows]
    base = _rows(values, [alt.Tooltip("name:N"), alt.Tooltip("ratio:Q", title="b / a", format=".4~g")])
    furthest = max(1.25, *(max(row.value, 1 / row.value) for row in rows)) * 1.05
    scale = _log_scale(1 / furthest, furthest)
    ticks = alt.Axis(values=_log_ticks(1 / furthest, furthest), format=".6~g", grid=True, gridDash=[2, 3])
    x = alt.X("ratio:Q", title="b / a", scale=scale, axis=ticks)
    side = alt.condition(alt.datum.ratio <= 1, alt.value(SERIES[0]), alt.value(SERIES[1]))
    stems = base.mark_rule(strokeWidth=3, yOffset=8).encode(x=x, x2="one:Q", color=side)
    dots = base.mark_circle(size=60, opacity=1, yOffset=8).encode(x=x, color=side)
    middle = drawn([{"one": 1}]).mark_rule(color=SOFT).encode(x=alt.X("one:Q", scale=scale))
    made = framed(alt.layer(middle, stems, dots, *_names_above(base)), "Ratios b / a", height=ROW * len(rows))
    return Chart(made.spec, (("b is less", SERIES[0]), ("b is more", SERIES[1])))


def drawn(values: Sequence[Mapping[str, Any]]) -> Any:
    """A chart of these rows, which go into its specification."""
    return alt.Chart(alt.InlineData(values=list(values)))


def _rows(values: Sequence[Mapping[str, Any]], tooltip: list[Any]) -> Any:
    """A row for each value, in the order given."""
    numbered = [{"row": f"{at:04}", **value} for at, value in enumerate(values)]
    y = alt.Y("row:O", axis=None, scale=alt.Scale(paddingInner=0, paddingOuter=0))
    return drawn(numbered).encode(y=y, tooltip=tooltip)


def _names_above(base: Any) -> tuple[Any, Any]:
    """The name of each row at the left and its text at the right, above what is drawn in it."""
    name = base.mark_text(align="left", dy=-6, limit=alt.ExprRef("max(60, width - 130)"))
    text = base.mark_text(align="right", dy=-6, color=SOFT, limit=130)
    return name.encode(x=alt.value(0), text="name:N"), text.encode(x=alt.value("width"), text="text:N")


def framed(chart: Any, description: str, names: Sequence[str] = (), *, height: int = HEIGHT) -> Chart:
    """The chart as wide as its place, without what the page says once for all charts."""
    padding = {"left": 2, "right": 8, "top": 5, "bottom": 4}
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    made = chart.properties(width="container", height=height, autosize=fit, padding=padding, description=description)
    spec = {key: value for key, value in made.to_dict().items() if key not in ("$schema", "config")}
    return Chart(spec, tuple(zip(names, _colors(names), strict=True)) if len(names) > 1 else ())


def _colors(names: Sequence[str], colors: Sequence[str] = SERIES) -> list[str]:
    return [colors[at % len(colors)] for at in range(len(names))]


def _color(names: Sequence[str]) -> Any:
    """A colour for each name in turn; the page writes which is which."""
    return alt.Color("name:N", scale=alt.Scale(domain=list(names), range=_colors(names)), legend=None)


def _linear_x(values: Sequence[float], field: str, title: str) -> Any:
    scale = alt.Scale(domain=[_short(min(values)), _short(max(values))], nice=False)
    return alt.X(f"{field}:Q", title=title, scale=scale, axis=alt.Axis(tickCount=MOST_LABELS, format=",.6~g"))


def _log_x(values: Sequence[float], field: str, title: str) -> Any:
    scale = _log_scale(min(values), max(values))
    axis = alt.Axis(values=_log_ticks(min(values), max(values)), format=",.6~g")
    return alt.X(f"{field}:Q", title=title, scale=scale, axis=axis)


def _log_scale(low: float, high: float) -> Any:
    """A logarithmic axis between two numbers above 0, a little more where they are one."""
    apart = 1.02 if high <= low else 1.0
    return alt.Scale(type="log", domain=[_short(low / apart), _short(high * apart)], nice=False)


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two: as many as an axis has room for."""
    tens = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = list[float]()
    for digits in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        found = [_short(digit * 10.0**ten) for ten in tens for digit in digits if low <= digit * 10.0**ten <= high]
        if len(found) <= MOST_LABELS:
            return found
    return found[:: math.ceil(len(found) / MOST_LABELS)]


def _thin(xs: Sequence[float], ys: Sequence[float]) -> list[tuple[float, float]]:
    """The points, or of each of many stretches the least and the most, so that no peak is lost."""
    points = list(zip(xs, ys, strict=True))
    if len(points) <= MOST_POINTS:
        return points
    size = math.ceil(2 * len(points) / MOST_POINTS)
    kept = list[tuple[float, float]]()
    for start in range(0, len(points), size):
        stretch = points[start : start + size]
        kept += sorted({min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])})
    return kept


def _short(value: float) -> float:
    """Six digits: more than a screen shows."""
    return float(f"{value:.6g}")
