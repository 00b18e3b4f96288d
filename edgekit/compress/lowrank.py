"""Low rank: a matrix as the product of two thinner ones, fitted to what goes through it."""

from __future__ import annotations

import numpy as np

from edgekit.compress.stored import Array
from edgekit.errors import UsageError

DAMPING = 1e-3  # of the mean power of the inputs: directions that were not seen still count a little


def factors(weights: Array, rank: int, moments: Array | None = None) -> tuple[Array, Array]:
    """U [out, rank] and V [rank, in] with the least E |(W - U V) x|² for inputs with the moments E[x xᵀ].

    With H = E[x xᵀ] + λ = S Sᵀ and W S = P Σ Qᵀ (singular values): U = P Σ, V = Qᵀ S⁻¹, of the largest `rank` ones. The
    elements of V x have a power of about 1 each. Without moments S is the identity (Eckart and Young, 1936).
    """
    w = np.asarray(weights, np.float64)
    if moments is None:
        root = inverse = np.eye(w.shape[1])
    else:
        values, vectors = np.linalg.eigh(moments)
        damped = np.sqrt(np.maximum(values, 0) + max(DAMPING * float(values.mean()), 1e-30))
        root, inverse = (vectors * damped) @ vectors.T, (vectors / damped) @ vectors.T
    p, sizes, q = np.linalg.svd(w @ root, full_matrices=False)
    return p[:, :rank] * sizes[:rank], q[:rank] @ inverse


def check_rank(name: str, shape: tuple[int, ...], rank: int) -> None:
    """UsageError where two factors would hold no fewer weights than the matrix."""
    rows, columns = shape
    most = (rows * columns - 1) // (rows + columns)
    if rank > most:
        remedy = f"take at most {most}" if most else "leave this matrix as it is"
        raise UsageError(f"rank {rank} of {name} [{rows}, {columns}]", "saves nothing", remedy)
