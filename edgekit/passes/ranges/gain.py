"""The L1 gain of a linear recurrence: the most that bounded inputs can do, with a bound on what is left of the tail.

s after t steps is F^t s0 + Σ F^k G w, so that Σ |F^k G| times the inputs' bounds holds every state at every time. The
sum is cut where a power of F is proven to contract: in coordinates scaled so that the states are alike, whose norms
bound both the rest of the sum and the rounding errors of computing it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.passes.ranges.linear import System
from edgekit.passes.ranges.values import Array, Interval

EPS = float(np.finfo(np.float64).eps)
SQUARINGS = 22  # a power of F up to 2^22 steps must contract
CONTRACTED = 0.5
TAIL = 0.002  # share of the bound that the tail may add
BLOCKS = 12  # of as many steps as a contraction takes: what is summed at most
WORK = 6e10  # multiplications after which the tail is left as it is


@dataclass(frozen=True, eq=False)
class Contraction:
    """‖scaled F^steps‖ ≤ norm < 1; `peak` bounds the norm of every lower power."""

    scale: Array
    steps: int
    norm: float
    peak: float


@dataclass(frozen=True, eq=False)
class Reach:
    """Bounds of states at all times, of observed values, what rounding does to the states, and the steps summed."""

    states: Interval
    rounding: Array
    observed: dict[str, Interval]
    steps: int


def spectral_radius(matrix: Array) -> float:
    """The largest magnitude of an eigenvalue, not proven."""
    return float(np.abs(np.linalg.eigvals(matrix)).max()) if matrix.size else 0.0


def contraction_of(matrix: Array) -> Contraction | None:
    """A power of a matrix that is proven to contract; None if none is found."""
    scale = _balance(matrix)
    power = matrix * scale[None, :] / scale[:, None]
    n = len(matrix)
    gamma, slack = (n + 2) * EPS, 1 + 1e-10
    error, peak = 4 * EPS * float(np.linalg.norm(power)), 1.0
    for j in range(SQUARINGS):
        size = float(np.linalg.norm(power, 2)) * slack
        norm = size + error
        if not np.isfinite(norm) or norm > 1e8:
            return None
        if norm <= CONTRACTED:
            return Contraction(scale, 2**j, norm, peak)
        peak *= max(1.0, norm)
        error = 2 * size * error + error * error + gamma * float(np.linalg.norm(power)) ** 2
        power = power @ power
    return None


def _balance(matrix: Array) -> Array:
    """Scales in which all states are about equally moved by noise, from the sum of F^k F^kᵀ."""
    total, power = np.eye(len(matrix)), matrix
    with np.errstate(all="ignore"):
        for _ in range(SQUARINGS):
            grown = total + power @ total @ power.T
            power = power @ power
            if not np.isfinite(grown).all() or np.abs(grown).max() > 1e200 or not np.isfinite(power).all():
                break
            total = grown
    spread = np.sqrt(np.maximum(np.diag(total), 1e-300))
    return np.asarray(np.maximum(spread, spread.max() * 1e-12))


def reach(system: System, init: Array) -> Reach | None:
    """What a linear recurrence reaches from a first value under all inputs; None if it does not contract."""
    n = len(system.F)
    lo, hi, noise = np.zeros(n), np.zeros(n), np.zeros(n)
    observed = {name: Interval(*(d_side(d, system.w))) for name, (_, d) in system.observed.items()}
    steps = 0
    for rows in components(system.F):
        columns = np.flatnonzero(system.G[rows].any(axis=0))
        picked = {k: c[:, rows] for k, (c, _) in system.observed.items() if c[:, rows].any()}
        part = _reach(
            system.F[np.ix_(rows, rows)],
            system.G[np.ix_(rows, columns)],
            Interval(system.w.lo[columns], system.w.hi[columns]),
            columns >= system.G.shape[1] - system.noises,
            init[rows],
            picked,
        )
        if part is None:
            return None
        lo[rows], hi[rows], noise[rows] = part.states.lo, part.states.hi, part.rounding
        for name, bounds in part.observed.items():
            observed[name] = Interval(observed[name].lo + bounds.lo, observed[name].hi + bounds.hi)
        steps = max(steps, part.steps)
    return Reach(Interval(lo, hi), noise, observed, steps)


def d_side(direct: Array, w: Interval) -> tuple[Array, Array]:
    """The bounds of D w."""
    plus, minus = np.maximum(direct, 0), np.minimum(direct, 0)
    return plus @ w.lo + minus @ w.hi, plus @ w.hi + minus @ w.lo


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


def _reach(
    matrix: Array, drive: Array, w: Interval, is_noise: Array, init: Array, observed: dict[str, Array]
) -> Reach | None:
    contraction = contraction_of(matrix)
    if contraction is None:
        return None
    scale, length = contraction.scale, contraction.steps
    stack = [np.eye(len(matrix)), *observed.values()]
    sizes = np.cumsum([len(c) for c in stack])[:-1]
    watch = np.concatenate(stack) if observed else None
    weight = w.largest()
    x, free = drive, init.astype(np.float64)
    rows = len(matrix) if watch is None else len(watch)
    low, high, noise = np.zeros(rows), np.zeros(rows), np.zeros(len(matrix))
    start = free if watch is None else watch @ free
    lowest, highest = start.copy(), start.copy()
    tail, total, block, norms, k = 0.0, 0.0, 0.0, [], 0
    work = len(matrix) ** 2 * max(1, drive.shape[1])
    while True:
        size = float((np.linalg.norm(x / scale[:, None], axis=0) * weight).sum() + np.linalg.norm(free / scale))
        norms.append(size)
        total += size
        seen = x if watch is None else watch @ x
        plus, minus = np.maximum(seen, 0), np.minimum(seen, 0)
        low, high = low + plus @ w.lo + minus @ w.hi, high + plus @ w.hi + minus @ w.lo
        if is_noise.any():
            noise += np.abs(x[:, is_noise]) @ weight[is_noise]
        free = matrix @ free
        x = matrix @ x
        now = free if watch is None else watch @ free
        lowest, highest = np.minimum(lowest, now + low), np.maximum(highest, now + high)
        k += 1
        if k % length == 0:  # what is left is at most a block's norms, contracted again and again
            block = sum(norms[-length:])
            tail = block * contraction.norm / (1 - contraction.norm)
            largest = np.maximum(np.abs(lowest), np.abs(highest))[: len(matrix)]
            if (tail * scale <= TAIL * largest).all() or k >= BLOCKS * length or k * work > WORK:
                break
            norms = norms[-length:]
    gamma = (len(matrix) + 2) * EPS * float(np.linalg.norm(matrix * scale[None, :] / scale[:, None]))
    error = length * contraction.peak / (1 - contraction.norm) * gamma * total + 1e-12 * total
    spread = scale * (tail + error)
    rest = spread if watch is None else np.abs(watch) @ spread
    ends = Interval(lowest - rest, highest + rest)
    lows, highs = (np.split(side, sizes) for side in (ends.lo, ends.hi))
    watched = {name: Interval(a, b) for name, a, b in zip(observed, lows[1:], highs[1:], strict=True)}
    return Reach(Interval(lows[0], highs[0]), noise + spread * bool(is_noise.any()), watched, k)
