"""Tiny models of every family with nested widths: what the tests of them share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from tuned_models import imported, windows

from edgekit.compress.rules import Compression, NestedRule
from edgekit.convert.options import Options
from edgekit.convert.pipeline import Conversion, convert_imported

WIDTHS = (25, 50, 100)
GROUPS: Mapping[str, tuple[str, ...]] = {  # orders of a memory cannot be nested
    "mlp": ("*",),
    "lmu": ("h", "m[0]"),
    "l2mu": ("u*", "h*"),
    "elm": ("*",),
}


def rules(family: str) -> tuple[NestedRule, ...]:
    return tuple(NestedRule(match) for match in GROUPS[family])


@lru_cache
def converted(family: str, target: str = "host", precision: str = "int8") -> Conversion:
    """A model with its widths, calibrated on windows of its task."""
    compression = Compression(precision, nested=rules(family))
    return convert_imported(imported(family), Options(target, precision, windows(40, 3).x, compression=compression))


def raw(family: str, steps: int, seed: int = 0) -> np.ndarray:
    """Windows in raw units as a stream of so many steps."""
    x = np.asarray(windows(steps, seed).x, np.float32)
    return x.reshape(len(x), -1) if family == "mlp" else x.reshape(-1, x.shape[-1])[:steps]
