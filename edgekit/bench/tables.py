"""Tables that fit 120 columns, and figures in the same words everywhere."""

from __future__ import annotations

from rich.table import Table

from edgekit.bench.timing import Spread

WIDTH = 120


def table(*columns: str) -> Table:
    """An empty table; the first column and those marked `name<` are text, to the left, the others figures."""
    made = Table(header_style="bold", box=None, pad_edge=False)
    for at, column in enumerate(columns):
        text = at == 0 or column.endswith("<")
        made.add_column(column.removesuffix("<"), justify="left" if text else "right", no_wrap=True)
    return made


def number(value: float) -> str:
    """A figure for people: three significant digits below 1000, separators above."""
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"


def small(value: float) -> str:
    """An error for people: two significant digits, and 0 where there is none."""
    return "0" if value == 0 else f"{value:.2g}" if value >= 1e-3 else f"{value:.0e}"


def between(spread: Spread) -> str:
    """The 10th and the 90th percentile."""
    return f"{number(spread.p10)} – {number(spread.p90)}"


def times(spread: Spread) -> str:
    """A ratio with its spread."""
    return f"{number(spread.median)}× ({between(spread)})"


def percent(share: float) -> str:
    """A share of 1 in whole percent."""
    return f"{100 * share:.0f} %"


def kilobytes(size: int) -> str:
    """A size in kB of 1000 bytes."""
    return f"{size / 1000:,.1f} kB"
