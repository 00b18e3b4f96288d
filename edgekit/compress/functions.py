"""Functions of one number as integer tables, and how far the tables are off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from edgekit.compress.stored import Array, largest_of
from edgekit.ir import FLOAT32, INT16, OPS, Tensor

SEGMENTS = 512
EVERY = np.arange(-(2**15), 2**15, dtype=np.int64)  # all that an int16 can be


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def _of_table(kind: str) -> Callable[[Array], Array]:
    """The function of the op table; of one number, which is its own batch."""

    def function(x: Array) -> Array:
        x = np.asarray(x, np.float64)
        return np.asarray(OPS[kind].evaluate([x[None]], {}, [Tensor("x", x.shape, FLOAT32)])[0][0])

    return function


FUNCTIONS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "tanh": np.tanh,
        "sigmoid": _sigmoid,
        "silu": lambda x: x * _sigmoid(x),
        "self-tanh": lambda x: x * np.tanh(x),
        "exp": np.exp,
        "log": np.log,
        "sqrt": np.sqrt,
        "reciprocal": np.reciprocal,
        "erf": _of_table("erf"),
        "sin": np.sin,
        "cos": np.cos,
    }
)
# beyond these arguments the function is at its limit to within half of 2^-15
_DOMAINS = {"tanh": 5.9, "sigmoid": 11.1, "erf": 3.1}
_WITHIN_ONE = (*_DOMAINS, "sin", "cos")
# f(x) · x of a function that has a row of its own
TIMES_ITSELF = {"sigmoid": "silu", "tanh": "self-tanh"}


def range_of(kind: str) -> float | None:
    """The largest magnitude of a bounded function; None for any other function."""
    return 1.0 if kind in _WITHIN_ONE else None


def domain_of(kind: str) -> float | None:
    """Where arguments of a bounded function may be cut off; None for any other function."""
    return _DOMAINS.get(kind)


@dataclass(frozen=True, eq=False)
class Table:
    """int16 entries over all int16 arguments, the scale of its results, and its largest error in reals."""

    entries: Array
    scale: float
    error: float


def make_table(kind: str, scale: float, result: float, lo: float = -np.inf, hi: float = np.inf) -> Table:
    """The table of a function over x = scale · q; arguments far outside lo … hi give about what the nearer end gives.

    The error is measured at every one of the 65,536 arguments that lie between lo and hi; where they reach as far as
    the domain of a bounded function, also beyond them, where the integer stays at the last one.
    """
    function = FUNCTIONS[kind]
    knots = np.linspace(-(2**15), 2**15, SEGMENTS + 1) * scale
    segment = knots[1] - knots[0]
    with np.errstate(all="ignore"):  # the segments at the ends are whole, where the function is defined there
        values = function(np.clip(knots, lo - segment, hi + segment))
        values = np.where(np.isfinite(values), values, function(np.clip(knots, lo, hi)))
    entries = np.clip(np.floor(values / result + 0.5), *INT16.limits).astype(np.int16)
    x = EVERY * scale
    inside = EVERY[(x >= lo) & (x <= hi)]
    got = interpolated(entries, inside) * result
    error = float(np.abs(got - function(inside * scale)).max()) if inside.size else 0.0
    if kind in _DOMAINS and largest_of(INT16) * scale >= 0.999 * _DOMAINS[kind]:
        error = max(error, *np.abs(got[[0, -1]] - function(np.array([-np.inf, np.inf]))))
    return Table(entries, result, error)


def interpolated(entries: Array, x: Array) -> Array:
    """What the op `lookup` gives for int16 arguments."""
    bits = 16 - (entries.size - 1).bit_length() + 1
    wide, position = entries.astype(np.int64), x.astype(np.int64) + 2**15
    at, rest = position >> bits, position & ((1 << bits) - 1)
    return np.asarray(wide[at] + (((wide[at + 1] - wide[at]) * rest + (1 << (bits - 1))) >> bits))
