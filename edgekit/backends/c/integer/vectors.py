"""Forms of the flavour with eight int16 in a register (MVE)."""

from __future__ import annotations

from edgekit.backends.c.integer.forms import Forms

VECTORS = Forms()
