"""Pictures in braille characters: two dots across and four down in each."""

from __future__ import annotations

import math
from collections.abc import Sequence

BLANK = 0x2800
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


class Dots:
    """A canvas of `columns` by `rows` characters."""

    def __init__(self, columns: int, rows: int) -> None:
        self.width, self.height = 2 * columns, 4 * rows
        self._cells = [[0] * columns for _ in range(rows)]

    def dot(self, x: int, y: int) -> None:
        """Set a dot; (0, 0) is at the top left, and what lies outside is left out."""
        if 0 <= x < self.width and 0 <= y < self.height:
            self._cells[y // 4][x // 2] |= _BITS[y % 4][x % 2]

    def lines(self) -> list[str]:
        """The rows as text."""
        return ["".join(chr(BLANK + cell) for cell in row) for row in self._cells]


def curve(values: Sequence[float], columns: int, rows: int, least: float, most: float) -> list[str]:
    """A line through the newest values, one dot each, between the values of the lower and the upper edge; gaps where
    values are not finite.
    """
    canvas = Dots(columns, rows)
    shown = values[-canvas.width :]
    scale = (canvas.height - 1) / (most - least)
    before: int | None = None
    for at, value in enumerate(shown, start=canvas.width - len(shown)):
        if not math.isfinite(value):
            before = None
            continue
        y = round((most - min(max(value, least), most)) * scale)
        first, last = sorted((y, y if before is None else before))
        for between in range(first, last + 1):  # steep parts stay one line
            canvas.dot(at, between)
        before = y
    return canvas.lines()


def raster(fired: Sequence[tuple[int, ...]], size: int, columns: int, rows: int) -> list[str]:
    """Which of `size` neurons fired in the newest steps, one dot a step; several neurons share a row of dots."""
    canvas = Dots(columns, rows)
    shown = fired[-canvas.width :]
    for at, neurons in enumerate(shown, start=canvas.width - len(shown)):
        for neuron in neurons:
            canvas.dot(at, neuron * canvas.height // size if size > canvas.height else neuron)
    return canvas.lines()
