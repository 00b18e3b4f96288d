"""Pruning of single weights: the share of a matrix that stays, alone or in blocks, as a mask."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgekit.compress.stored import Array

Mask = npt.NDArray[np.bool_]
Block = tuple[int, int]  # outputs x inputs

ROUNDS = 4  # in which weights are pruned: what is left of each tells anew what its loss costs
WIDEST = 1024  # inputs of a matrix that is refitted: each output takes a system of equations of its own
DAMPING = 0.01  # of the mean power of the inputs: what was seen of their correlation is not the whole truth


def pruned(
    weights: Array, density: float, block: Block, moments: Array | None = None, *, by_loss: bool = False
) -> tuple[Mask, Array]:
    """Which weights [out, in] stay at a density, and what they are then, the others 0.

    With the moments E[x xᵀ] of the inputs those that stay make good what went, see `refitted`; `by_loss` they also tell
    which go, see `costs`, in a few rounds.
    """
    w = np.asarray(weights, np.float64)
    if moments is None or w.shape[1] > WIDEST:
        mask = mask_of(w, density, block, moments if by_loss else None)
        return mask, np.where(mask, w, 0.0)
    mask, left = np.ones(w.shape, bool), w
    for share in np.linspace(1.0, density, ROUNDS + 1)[1:]:
        mask = mask_of(left, float(share), block, moments if by_loss else None)
        left = refitted(w, mask, moments)
    return mask, left


def mask_of(weights: Array, density: float, block: Block = (1, 1), moments: Array | None = None) -> Mask:
    """Which weights [out, in] stay: the share `density` of all blocks, those whose loss costs most.

    Blocks at the lower and right border are smaller; at least one block stays. Equal blocks stay in row order.
    """
    rows, columns = weights.shape
    cost = costs(weights, block, moments)
    count = max(1, int(np.floor(density * cost.size + 0.5)))
    stays = np.zeros(cost.size, bool)
    stays[np.argsort(-cost.reshape(-1), kind="stable")[:count]] = True
    whole = np.repeat(np.repeat(stays.reshape(cost.shape), block[0], axis=0), block[1], axis=1)
    return whole[:rows, :columns]


def costs(weights: Array, block: Block, moments: Array | None = None) -> Array:
    """What the loss of each block costs: Σ w², or with the moments H = E[x xᵀ] of the inputs what sums are then off by.

    That is E |(w - w') x|² where all other weights of an output make good what they can: w_B ([(H + λ)⁻¹]_BB)⁻¹ w_Bᵀ
    over the inputs B of the block, for each of its outputs (Hassibi and Stork, 1993; for blocks Kurtic et al., 2022).
    """
    w = np.asarray(weights, np.float64)
    (rows, columns), (tall, wide) = w.shape, block
    starts = range(0, columns, wide)
    inverse = None if moments is None else np.linalg.inv(damped(moments))
    by_row = np.empty((rows, len(starts)))
    for at, start in enumerate(starts):
        part = w[:, start : start + wide]
        if inverse is None:
            by_row[:, at] = (part**2).sum(axis=1)
        else:
            own = np.linalg.inv(inverse[start : start + wide, start : start + wide])
            by_row[:, at] = np.einsum("oi,ij,oj->o", part, own, part)
    return np.add.reduceat(by_row, range(0, rows, tall), axis=0)


def damped(moments: Array) -> Array:
    """H + λ, so that it can be inverted."""
    h = np.asarray(moments, np.float64)
    return np.asarray(h + max(DAMPING * float(np.diag(h).mean()), 1e-30) * np.eye(len(h)))


def refitted(weights: Array, mask: Mask, moments: Array) -> Array:
    """Weights w' [out, in], zero where the mask is False, with the least E |(w - w') x|² + λ |w - w'|².

    Of each output with the inputs K that stay: w'_K = w_K + (H_KK + λ)⁻¹ H_KG w_G, where H = E[x xᵀ] [in, in] and G are
    the inputs that went.
    """
    w, h = np.asarray(weights, np.float64), damped(moments)
    found = np.where(mask, w, 0.0)
    patterns, which = np.unique(mask, axis=0, return_inverse=True)
    for at, stays in enumerate(patterns):
        rows = np.flatnonzero(which.reshape(-1) == at)
        if stays.any() and not stays.all():
            lost = w[np.ix_(rows, ~stays)] @ h[np.ix_(~stays, stays)]
            found[np.ix_(rows, stays)] += np.linalg.solve(h[np.ix_(stays, stays)], lost.T).T
    return found
