"""Plots as SVG text, readable on light and on dark ground."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 400, 70, 64, 20, 96
COLOURS = ("#3572b0", "#d1660f", "#3d8f4f", "#8a5fb5")
GREY = "#808080"  # seen on white and on black
MOST_TICKS = 6


@dataclass(frozen=True)
class Axes:
    """What a plot is called, what its axes say with their units, and the caption below."""

    title: str
    x: str
    y: str
    caption: str


def lines(axes: Axes, places: Sequence[str], series: Mapping[str, Sequence[float]]) -> str:
    """A line for each series over places that have names."""
    values = [v for row in series.values() for v in row]
    frame = _Frame(axes, places, min(values), max(values))
    parts = []
    for at, row in enumerate(series.values()):
        colour = COLOURS[at % len(COLOURS)]
        points = [(frame.x(k), frame.y(v)) for k, v in enumerate(row)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
    return frame.svg([*parts, *_legend(list(series))])


def bars(axes: Axes, places: Sequence[str], series: Mapping[str, Sequence[float]]) -> str:
    """A group of bars from zero for each place, one bar a series."""
    values = [0.0, *(v for row in series.values() for v in row)]
    frame = _Frame(axes, places, min(values), max(values))
    wide = 0.8 * frame.step / len(series)
    parts = []
    for at, row in enumerate(series.values()):
        for k, value in enumerate(row):
            x, (top, low) = frame.x(k) - 0.4 * frame.step + at * wide, sorted((frame.y(value), frame.y(0.0)))
            size = f'x="{x:.1f}" y="{top:.1f}" width="{0.92 * wide:.1f}" height="{low - top:.1f}"'
            parts.append(f'<rect {size} fill="{COLOURS[at % len(COLOURS)]}"/>')
    return frame.svg([*parts, *_legend(list(series))])


class _Frame:
    """Axes with ticks, and where values lie between them."""

    def __init__(self, axes: Axes, places: Sequence[str], low: float, high: float) -> None:
        self.axes, self.places = axes, places
        self.tick = _tick((high - low) or 1.0)
        self.low = self.tick * (low // self.tick)
        self.high = self.low + self.tick * max(1, -(-(high - self.low) // self.tick))
        self.step = (WIDTH - LEFT - RIGHT) / len(places)

    def x(self, at: int) -> float:
        return LEFT + (at + 0.5) * self.step

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.low) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)

    def svg(self, parts: Sequence[str]) -> str:
        base, end = HEIGHT - BOTTOM, WIDTH - RIGHT
        drawn = [_text(LEFT, 22, self.axes.title, size=15, weight="600")]
        for k in range(round((self.high - self.low) / self.tick) + 1):
            value = self.low + k * self.tick
            y = self.y(value)
            drawn.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{end}" y2="{y:.1f}" stroke="{GREY}" opacity="0.35"/>')
            drawn.append(_text(LEFT - 8, y + 4, f"{value:g}", anchor="end"))
        turn = len(self.places) > 9
        for k, place in enumerate(self.places):
            x = self.x(k)
            turned = f' transform="rotate(-35 {x:.1f} {base + 14})"' if turn else ""
            drawn.append(_text(x, base + 14 + 4 * (not turn), place, anchor="end" if turn else "middle", more=turned))
        drawn.append(_text((LEFT + end) / 2, HEIGHT - 26, self.axes.x, anchor="middle"))
        middle = (TOP + base) / 2
        turned = f' transform="rotate(-90 18 {middle:.1f})"'
        drawn.append(_text(18, middle, self.axes.y, anchor="middle", more=turned))
        drawn.append(_text(LEFT, HEIGHT - 8, self.axes.caption, size=11))
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        head += f'aria-label="{escape(self.axes.title)}" font-family="sans-serif" fill="{GREY}">'
        return "\n".join([head, f"<title>{escape(self.axes.title)}</title>", *drawn, *parts, "</svg>", ""])


def _legend(names: Sequence[str]) -> list[str]:
    parts, x = [], LEFT
    for at, name in enumerate(names):
        parts.append(f'<rect x="{x}" y="34" width="12" height="12" fill="{COLOURS[at % len(COLOURS)]}"/>')
        parts.append(_text(x + 17, 45, name))
        x += 34 + 7 * len(name)
    return parts


def _text(
    x: float, y: float, text: str, *, size: int = 12, anchor: str = "start", weight: str = "normal", more: str = ""
) -> str:
    at = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}"'
    return f"<text {at}{more}>{escape(text)}</text>"


def _tick(span: float) -> float:
    """The least of 1, 2 and 5 times a power of ten that divides a span into few parts."""
    power = 10.0
    while power > span / 100:
        power /= 10
    return next(f * p for p in (power * 10**k for k in range(9)) for f in (1, 2, 5) if span / (f * p) <= MOST_TICKS)
