"""Rounding of weights with error feedback: what rounding one weight does to a sum, the weights after it make good."""

from __future__ import annotations

import hashlib

import numpy as np

from edgekit.compress.palette import nearest
from edgekit.compress.stored import Array

DAMPING = 0.03  # of each input's power: what was seen of their correlation is not the whole truth
BLOCK = 64  # inputs between two updates of all that come later


class Correlation:
    """How the inputs of a matrix go together: an order from strong to weak, and a factor of the inverse correlation.

    From the second moments H = E[x xᵀ] of n inputs: C = D⁻¹ H D⁻¹ + λ with D = √diag H, and UᵀU = C⁻¹, U upper. `power`
    is diag H.
    """

    def __init__(self, moments: Array) -> None:
        self.power = power = np.diag(moments)
        self.deviation = np.sqrt(np.where(power > 0, power, 1.0))
        close = moments / np.outer(self.deviation, self.deviation)
        close[np.diag_indices_from(close)] = 1 + DAMPING
        self.order = np.argsort(-power, kind="stable")
        ordered = close[np.ix_(self.order, self.order)]
        self.factor = np.linalg.cholesky(np.linalg.inv(ordered)).T
        self._known: dict[bytes, Array] = {}

    def rounded(self, weights: Array, scale: Array, largest: int, levels: tuple[int, ...] | None = None) -> Array:
        """Integers q near weights [out, in] such that (weights - q) x is small for inputs like those that were seen.

        Input k counts in units of `scale[k]`. One input after the other is rounded half up, or to the nearest of the
        `levels`, and the error e_j of its weights is taken from all later ones: w_k -= e_j U_jk / U_jj in units of D.
        Zeros stay zeros.
        """
        told = bytes(f"{largest} {levels}", "ascii")
        digest = hashlib.sha256(weights.tobytes() + scale.tobytes() + told).digest()
        if digest not in self._known:
            self._known[digest] = self._rounded(weights, scale, largest, levels).astype(np.int16)
        return self._known[digest].astype(np.int64)

    def _rounded(self, weights: Array, scale: Array, largest: int, levels: tuple[int, ...] | None) -> Array:
        units = (self.deviation / scale)[self.order]  # so large an integer input k usually is
        wanted = weights[:, self.order] * units
        zero = weights[:, self.order] == 0
        whole = np.zeros_like(wanted)
        gain = self.factor / np.diag(self.factor)[:, None]
        for start in range(0, wanted.shape[1], BLOCK):
            stop = min(start + BLOCK, wanted.shape[1])
            errors = np.zeros((len(wanted), stop - start))
            for j in range(start, stop):
                whole[:, j] = np.where(zero[:, j], 0, rounded_to(wanted[:, j] / units[j], largest, levels))
                errors[:, j - start] = wanted[:, j] - whole[:, j] * units[j]
                wanted[:, j + 1 : stop] -= np.outer(errors[:, j - start], gain[j, j + 1 : stop])
            wanted[:, stop:] -= errors @ gain[start:stop, stop:]
        found = np.empty_like(whole)
        found[:, self.order] = whole
        return found


def rounded_to(weights: Array, largest: int, levels: tuple[int, ...] | None = None) -> Array:
    """Rounded half up to integers of magnitude `largest` at most, or to the nearest of the levels."""
    if levels is not None:
        return nearest(weights, levels)
    return np.asarray(np.clip(np.floor(weights + 0.5), -largest, largest))
