"""Numbers as people read them."""

from __future__ import annotations

import math

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))


def number(value: object, digits: int = 4) -> str:
    """A number with so many digits, thousands apart; the text of anything else, 'none' for None."""
    if value is None:
        return "none"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) or not math.isfinite(value):
        return f"{value:,}"
    if value and not 1e-3 <= abs(value) < 1e9:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def quantity(value: float | None, unit: str, digits: int = 3) -> str:
    """A figure in SI units with a prefix: 0.0000042 s is '4.2 µs'; 'none' for None."""
    if value is None:
        return "none"
    size = abs(value)
    factor, prefix = next((row for row in _PREFIXES if size >= row[0]), _PREFIXES[-1]) if size else (1.0, "")
    return f"{number(value / factor, digits)} {prefix}{unit}"
