"""The L1 gain of a linear recurrence: the most that bounded inputs can do at any time.

s after t steps is F^t s0 + Σ F^k G w(t-1-k). For N steps the sum is written out: Σ |F^k G| times the bounds of w. Any
later state is F^N times an earlier one and what N steps of inputs add. N is chosen so that |F^N| contracts: bounds X
with X ≥ |N steps| + |F^N| X then hold at all times. All of it is computed in double precision, in coordinates scaled so
that the states are alike; what the rounding of that can amount to is added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import floor, log2, sqrt

import numpy as np

from edgekit.passes.ranges.linear import System
from edgekit.passes.ranges.values import Array, Interval

EPS = float(np.finfo(np.float64).eps)
SQUARINGS = 22  # a power of F up to 2^22 steps must contract
CONTRACTED = 2.0**-5  # share of a bound that may be left of it N steps later
UNSTABLE = 1e8  # a power of F that grows beyond this is given up
WORK = 5e8  # multiplications after which the rest of a sum is bounded by its energy
CELLS = 2**19  # numbers in one block of powers: what stays in a cache
MOST_STATES = 1024  # that act on each other: powers of a larger matrix take minutes
MOST_ERROR = 0.1  # share of a bound that rounding in double precision may add


# --- a power that contracts ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Power:
    """A power of F in scaled coordinates, its 2-norm, and how far off it may be in that norm."""

    matrix: Array
    size: float
    error: float


@dataclass(frozen=True, eq=False)
class Contraction:
    """F, F^2, F^4 … up to one that contracts, each state divided by its scale.

    `few` bounds the 2-norm of the powers that fit in one block, `many` that of the powers of these up to the last.
    """

    scale: Array
    powers: tuple[Power, ...]
    few: float
    many: float

    @property
    def steps(self) -> int:
        """The exponent of the last power."""
        return int(2 ** (len(self.powers) - 1))

    @property
    def block(self) -> int:
        """How many powers `few` is about."""
        return int(2 ** (len(self.powers) // 2))


def contraction_of(matrix: Array) -> Contraction | None:
    """The powers of a matrix up to one that is proven to contract; None if none is found."""
    scale, n = _balance(matrix), len(matrix)
    power = matrix * scale[None, :] / scale[:, None]
    error, powers = 4 * EPS * _frobenius(power), list[Power]()
    for _ in range(SQUARINGS):
        size = _norm(power)
        if not np.isfinite(size) or size + error > UNSTABLE:
            return None
        powers.append(Power(power, size, error))
        if float(np.abs(power).sum(axis=1).max()) + sqrt(n) * error <= CONTRACTED:
            found = Contraction(scale, tuple(powers), 1.0, 1.0)
            jump = powers[len(powers) // 2].matrix
            few, many = _peak(powers[0].matrix, found.block), _peak(jump, found.steps // found.block)
            return Contraction(scale, tuple(powers), few, many)
        error = 2 * size * error + error * error + (n + 2) * EPS * _frobenius(power) ** 2
        power = power @ power
    return None


def _balance(matrix: Array) -> Array:
    """Scales in which all states are about equally moved by noise, from the sum of F^k F^kᵀ."""
    total, power = np.eye(len(matrix)), matrix
    with np.errstate(all="ignore"):
        for _ in range(SQUARINGS):
            grown = total + power @ total @ power.T
            power = power @ power
            if not np.isfinite(power).all() or not np.abs(grown).max() < UNSTABLE**2:
                break
            if np.abs(grown - total).max() <= 1e-6 * np.abs(grown).max():
                break
            total = grown
    spread = np.sqrt(np.maximum(np.diag(total), 1e-300))
    return np.asarray(np.maximum(spread, spread.max() * 1e-12))


def _peak(matrix: Array, count: int) -> float:
    """The largest 2-norm among the first powers of a matrix, a little more because they are computed."""
    power, most = np.eye(len(matrix)), 1.0
    for _ in range(count - 1):
        power = power @ matrix
        most = max(most, _norm(power))
    return most * (1 + 1e-3)


def _norm(matrix: Array) -> float:
    """The 2-norm, rounded up."""
    if not np.isfinite(matrix).all():
        return float("inf")
    size = max(float(np.abs(matrix).max(initial=0.0)), 1e-300)
    square = (matrix / size).T @ (matrix / size)
    return size * sqrt(max(float(np.linalg.eigvalsh(square)[-1]), 0.0) * (1 + 1e-9) + len(matrix) ** 2 * 4 * EPS)


def _frobenius(matrix: Array) -> float:
    return float(np.linalg.norm(matrix)) * (1 + 1e-10)


# --- what it reaches -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Reach:
    """Bounds of states at all times, of observed values, what rounding does to the states, and the steps summed."""

    states: Interval
    rounding: Array
    observed: Mapping[str, Interval]
    steps: int


class Gains:
    """What linear recurrences reach; each is worked out once."""

    def __init__(self) -> None:
        self._contractions: dict[bytes, Contraction | None] = {}
        self._reached: dict[tuple[bytes, ...], Reach | None] = {}

    def reach(self, system: System, init: Array) -> Reach | None:
        """What a recurrence reaches from a first value under all inputs; None if it is not proven to contract."""
        arrays = [system.F, system.G, system.w.lo, system.w.hi, init]
        arrays += [a for pair in system.observed.values() for a in pair]
        key = (*(a.tobytes() for a in arrays), *(name.encode() for name in system.observed))
        if key not in self._reached:
            self._reached[key] = self._reach(system, init)
        return self._reached[key]

    def _reach(self, system: System, init: Array) -> Reach | None:
        n, inputs = len(system.F), system.G.shape[1] - system.noises
        lo, hi, rounding = np.zeros(n), np.zeros(n), np.zeros(n)
        observed = {name: _product(direct, system.w) for name, (_, direct) in system.observed.items()}
        fed = Interval(system.w.lo[:inputs], system.w.hi[:inputs])
        rounded = Interval(system.w.lo[inputs:], system.w.hi[inputs:])
        steps = 0
        for rows in components(system.F):
            contraction = self._contraction(system.F[np.ix_(rows, rows)])
            if contraction is None:
                return None
            picked = {k: c[:, rows] for k, (c, _) in system.observed.items() if c[:, rows].any()}
            chain = _Chain(contraction, np.concatenate([np.eye(len(rows)), *picked.values()]))
            noise = chain.forced(system.G[rows, inputs:], rounded)
            reached = chain.always([chain.forced(system.G[rows, :inputs], fed), noise, chain.free(init[rows])])
            errors = chain.always([noise])
            if reached is None or errors is None:
                return None
            at = len(rows)
            lo[rows], hi[rows], rounding[rows] = reached.lo[:at], reached.hi[:at], errors.largest()[:at]
            for name, c in picked.items():
                part = slice(at, at + len(c))
                at += len(c)
                observed[name] = Interval(observed[name].lo + reached.lo[part], observed[name].hi + reached.hi[part])
            steps = max(steps, contraction.steps)
        return Reach(Interval(lo, hi), rounding, observed, steps)

    def text(self, system: System) -> str:
        """The size of a recurrence, or its spectral radius (as computed, not proven)."""
        parts = [system.F[np.ix_(rows, rows)] for rows in components(system.F)]
        largest = max(len(p) for p in parts)
        if largest > MOST_STATES:
            return f"{largest} states act on each other"
        distinct = {p.tobytes(): p for p in parts}.values()
        return f"spectral radius {max(float(np.abs(np.linalg.eigvals(p)).max()) for p in distinct):.6g}"

    def _contraction(self, matrix: Array) -> Contraction | None:
        key = matrix.tobytes()
        if key not in self._contractions:
            self._contractions[key] = contraction_of(matrix) if len(matrix) <= MOST_STATES else None
        return self._contractions[key]


def _product(matrix: Array, w: Interval) -> Interval:
    """The bounds of a matrix times w."""
    plus, minus = np.maximum(matrix, 0), np.minimum(matrix, 0)
    return Interval(plus @ w.lo + minus @ w.hi, plus @ w.hi + minus @ w.lo)


def components(matrix: Array) -> list[Array]:
    """The states that a recurrence ties together, as sets of rows."""
    n = len(matrix)
    label = np.arange(n)
    linked = (matrix != 0) | (matrix.T != 0) | np.eye(n, dtype=bool)
    while True:
        lowest = np.where(linked, label[None, :], n).min(axis=1)
        if (lowest == label).all():
            return [np.flatnonzero(label == i) for i in np.unique(label)]
        label = lowest[lowest]


@dataclass(frozen=True, eq=False)
class _Part:
    """What one cause adds to the watched rows: in any of the first N steps, and after N; `error` of computing it."""

    hull: Interval
    end: Interval
    error: float


class _Chain:
    """A recurrence in scaled coordinates, and the rows that are watched, the states themselves first."""

    def __init__(self, contraction: Contraction, watch: Array) -> None:
        self.contraction, self.watch = contraction, watch * contraction.scale
        self.n, self.rows, self.steps = len(contraction.scale), len(watch), contraction.steps
        self.matrix = contraction.powers[0].matrix
        self.spread = np.sqrt(np.square(self.watch).sum(axis=1)) * (1 + 1e-10)  # what an error of one means for a row
        # A product of matrices errs by (n + 2) EPS times their norms, each at most sqrt(n) times a 2-norm; within a
        # block errors are carried on by `few`, from block to block by `many`.
        few, many, size = contraction.few, contraction.many, contraction.powers[0].size
        self.share = 8 * (self.n + 2) * self.n * EPS * self.steps * few**3 * many * size
        most = 2 ** floor(log2(max(1.0, CELLS / (self.rows * self.n))))
        self.block = min(contraction.block, most)

    @cached_property
    def _taps(self) -> Array:
        """W F^j of one block of steps, one below the other."""
        taps = [self.watch]
        while len(taps) < self.block:
            taps.append(taps[-1] @ self.matrix)
        return np.concatenate(taps)

    @property
    def _jump(self) -> Array:
        """F to the steps of one block."""
        return np.asarray(self.contraction.powers[self.block.bit_length() - 1].matrix)

    @cached_property
    def _left(self) -> Array:
        """|W F^N|."""
        return np.asarray(np.abs(self.watch @ self.contraction.powers[-1].matrix))

    def _later(self, x: Array) -> Array:
        """Bounds of |W F^N s| for all states s within ±x."""
        x = x / self.contraction.scale
        return np.asarray(self._left @ x * (1 + 1e-9) + self.spread * self.contraction.powers[-1].error * _length(x))

    def forced(self, drive: Array, w: Interval) -> _Part:
        """What inputs add, from nothing."""
        columns, weights, stray = _merged(drive / self.contraction.scale[:, None], w)
        zero, work = np.zeros(self.rows), self.rows * self.n * max(1, columns.shape[1])
        exact = min(self.steps, max(self.block, 2 ** floor(log2(max(1.0, WORK / work)))))
        low, high, lowest, highest, mass, x = zero, zero, zero, zero, 0.0, columns
        for _ in range(exact // self.block):
            mass += self.block * float(np.sqrt(np.square(x).sum(axis=0)) @ weights.largest())
            y = (self._taps @ x).reshape(self.block, self.rows, -1)
            plus, minus = np.maximum(y, 0), np.minimum(y, 0)
            lows = low + np.cumsum(plus @ weights.lo + minus @ weights.hi, axis=0)
            highs = high + np.cumsum(plus @ weights.hi + minus @ weights.lo, axis=0)
            lowest, highest = np.minimum(lowest, lows.min(axis=0)), np.maximum(highest, highs.max(axis=0))
            low, high = lows[-1], highs[-1]
            x = self._jump @ x
        rest = self._energy(x * weights.largest()) if exact < self.steps else zero
        strays = _length(stray) * self.contraction.few * self.contraction.many * self.steps
        hull = Interval(np.minimum(lowest, low - rest), np.maximum(highest, high + rest))
        return _Part(hull, Interval(low - rest, high + rest), self.share * mass + strays)

    def _energy(self, columns: Array) -> Array:
        """A bound of Σ |W F^k X| over N steps from the sum of squares: |a| + |b| + … ≤ sqrt(count (a² + b² + …))."""
        total = columns @ columns.T
        error = 2 * self.n * EPS * _frobenius(total)
        for power in self.contraction.powers[:-1]:
            size, held = power.size, _frobenius(total)
            lost = 2 * size * power.error * held + 4 * (self.n + 2) * self.n * EPS * size**2 * held
            error += (size + power.error) ** 2 * error + lost
            total = total + power.matrix @ total @ power.matrix.T
        squares = np.maximum(((self.watch @ total) * self.watch).sum(axis=1), 0) + self.spread**2 * error
        return np.asarray(np.sqrt(columns.shape[1] * self.steps * squares) * (1 + 1e-6))

    def free(self, init: Array) -> _Part:
        """What is left of a first value."""
        zero, mass = np.zeros(self.rows), 0.0
        if not init.any():
            return _Part(Interval(zero, zero), Interval(zero, zero), mass)
        x = init / self.contraction.scale
        hull = Interval(self.watch @ x, self.watch @ x)
        for _ in range(self.steps // self.block):
            mass += self.block * _length(x)
            y = (self._taps @ x).reshape(self.block, self.rows)
            hull = hull.hull(Interval(y.min(axis=0), y.max(axis=0)))
            x = self._jump @ x
        return _Part(hull, Interval(zero, zero), self.share * mass)

    def always(self, parts: Sequence[_Part]) -> Interval | None:
        """Bounds of the watched rows at all times; None where rounding in double precision spoils them."""
        error = self.spread * sum(p.error for p in parts)
        hull, end = (
            Interval(np.sum([x.lo for x in xs], axis=0) - error, np.sum([x.hi for x in xs], axis=0) + error)
            for xs in ([p.hull for p in parts], [p.end for p in parts])
        )
        first, added = (side.largest()[: self.n] for side in (hull, end))
        if (error[: self.n] > MOST_ERROR * np.maximum(first, 1.0)).any():
            return None
        bound = first
        for _ in range(8):
            bound = np.maximum(first, added + self._later(bound)[: self.n])
        bound = bound * (1 + 1e-9) + 1e-300
        more = self._later(bound)
        if (added + more[: self.n] > bound).any():
            return None
        return hull.hull(Interval(end.lo - more, end.hi + more))


def _length(x: Array) -> float:
    return float(np.linalg.norm(x)) * (1 + 1e-10)


def _merged(columns: Array, w: Interval) -> tuple[Array, Interval, Array]:
    """Columns that are multiples of one another as one, whose input is what theirs are together.

    Also what they miss of being multiples times the largest input: per state, what merging leaves out.
    """
    used = np.flatnonzero(columns.any(axis=0) & ((w.lo != 0) | (w.hi != 0)))
    if not used.size:
        return np.zeros((len(columns), 0)), Interval(np.zeros(0), np.zeros(0)), np.zeros(len(columns))
    columns, lo, hi = columns[:, used], w.lo[used], w.hi[used]
    factor = columns[np.abs(columns).argmax(axis=0), np.arange(len(used))]
    unit = columns / factor
    _, first, group = np.unique(np.round(unit, 9) + 0.0, axis=1, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    chosen = unit[:, first]
    missed = np.abs(unit - chosen[:, group]) + 4 * EPS * np.abs(unit)
    ends = np.minimum(factor * lo, factor * hi), np.maximum(factor * lo, factor * hi)
    lows, highs = (np.bincount(group, weights=side, minlength=len(first)) for side in ends)
    return chosen, Interval(lows, highs), np.asarray(missed @ (np.abs(factor) * np.maximum(np.abs(lo), np.abs(hi))))
