"""Palettes: the few integers that stand best for all weights of a matrix."""

from __future__ import annotations

import numpy as np

from edgekit.compress.stored import Array


def best_levels(weights: Array, count: int, largest: int, power: Array | None = None) -> tuple[int, ...]:
    """At most `count` integers, ascending, of magnitude `largest` at most, with the least Σ p (w - level)².

    Weights [out, in] are in units of their scale, p is the power E[x²] of each input. The best partition of a line is
    found by dynamic programming (Wang and Song, 2011) over bins of one unit. Where weights are exactly 0, a level is.
    """
    p = np.broadcast_to(1.0 if power is None else power / max(float(np.max(power)), 1e-30) + 1e-9, weights.shape)
    bins = np.clip(np.floor(weights + 0.5), -largest, largest).astype(np.int64).ravel() + largest
    size = 2 * largest + 1
    sums = [np.bincount(bins, (p * weights**k).ravel(), size) for k in range(3)]  # Σ p, Σ p w, Σ p w²
    before = [np.concatenate([[0.0], np.cumsum(s)]) for s in sums]
    mass, first, second = (b[None, :] - b[:, None] for b in before)  # of bins i up to j, j left out: [i, j]
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = np.clip(np.floor(np.where(mass > 0, first / mass, 0.0) + 0.5), -largest, largest)
    if bool((weights == 0).any()):
        edges = np.arange(size + 1)
        centre = np.where((edges[:, None] <= largest) & (edges[None, :] > largest), 0.0, centre)
    cost = np.where(np.tri(size + 1, k=-1, dtype=bool), np.inf, second - 2 * centre * first + centre**2 * mass)
    best, cuts = cost[0], []
    for _ in range(count - 1):
        through = best[:, None] + cost
        cuts.append(np.argmin(through, axis=0))
        best = through.min(axis=0)
    end, found = size, set()
    for cut in reversed(cuts):
        if mass[cut[end], end] > 0:
            found.add(int(centre[cut[end], end]))
        end = int(cut[end])
    if mass[0, end] > 0:
        found.add(int(centre[0, end]))
    return tuple(sorted(found))


def nearest(values: Array, levels: tuple[int, ...]) -> Array:
    """The nearest level of each value, the upper one of two that are as near."""
    known = np.asarray(levels, np.float64)
    return np.asarray(known[np.searchsorted((known[1:] + known[:-1]) / 2, values, side="right")])
