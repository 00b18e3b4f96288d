"""Rounding of weights with error feedback: what rounding one weight does to a sum, the weights after it make good."""

from __future__ import annotations

import hashlib

import numpy as np

from edgekit.compress.stored import Array

DAMPING = 0.03  # of each input's power: what was seen of their correlation is not the whole truth
BLOCK = 64  # inputs between two updates of all that come later


class Correlation:
    """How the inputs of a matrix go together: an order from strong to weak, and a factor of the inverse correlation.

    From the second moments H = E[x xᵀ] of n inputs: C = D⁻¹ H D⁻¹ + λ with D = √diag H, and UᵀU = C⁻¹, U upper.
    """

    def __init__(self, moments: Array) -> None:
        power = np.diag(moments)
        self.deviation = np.sqrt(np.where(power > 0, power, 1.0))
        close = moments / np.outer(self.deviation, self.deviation)
        close[np.diag_indices_from(close)] = 1 + DAMPING
        self.order = np.argsort(-power, kind="stable")
        ordered = close[np.ix_(self.order, self.order)]
        self.factor = np.linalg.cholesky(np.linalg.inv(ordered)).T
        self._known: dict[bytes, Array] = {}

    def rounded(self, weights: Array, scale: Array, largest: int) -> Array:
        """Integers q near weights [out, in] such that (weights - q) x is small for inputs like those that were seen.

        Input k counts in units of `scale[k]`. One input after the other is rounded half up, and the error e_j of its
        weights is taken from all later ones: w_k -= e_j U_jk / U_jj in units of D. Zeros stay zeros.
        """
        digest = hashlib.sha256(weights.tobytes() + scale.tobytes() + bytes(str(largest), "ascii")).digest()
        if digest not in self._known:
            self._known[digest] = self._rounded(weights, scale, largest).astype(np.int16)
        return self._known[digest].astype(np.int64)

    def _rounded(self, weights: Array, scale: Array, largest: int) -> Array:
        units = (self.deviation / scale)[self.order]  # so large an integer input k usually is
        wanted = weights[:, self.order] * units
        limit = np.where(weights[:, self.order] == 0, 0, largest)
        whole = np.zeros_like(wanted)
        gain = self.factor / np.diag(self.factor)[:, None]
        for start in range(0, wanted.shape[1], BLOCK):
            stop = min(start + BLOCK, wanted.shape[1])
            errors = np.zeros((len(wanted), stop - start))
            for j in range(start, stop):
                whole[:, j] = np.clip(np.floor(wanted[:, j] / units[j] + 0.5), -limit[:, j], limit[:, j])
                errors[:, j - start] = wanted[:, j] - whole[:, j] * units[j]
                wanted[:, j + 1 : stop] -= np.outer(errors[:, j - start], gain[j, j + 1 : stop])
            wanted[:, stop:] -= errors @ gain[start:stop, stop:]
        found = np.empty_like(whole)
        found[:, self.order] = whole
        return found
