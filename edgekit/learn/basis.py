"""The space in which prototypes are compared: a model's signal centred and whitened, and the prototypes it starts with.

z = whiten · ((x - center) / spread), such that what windows of one class (of one wearer) differ by has unit variance in
every direction. All of it is estimated on this side, from labelled or decided windows, and stays constant on a device.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError
from edgekit.learn.arithmetic import Array

SHRINK = 0.1  # of correlations towards none: few windows tell them badly
LEAST_VARIANCE = 0.01  # of a signal, relative to the median: one that hardly ever differed would count for all others
ROUNDS = 30  # of k-means
ROOM = 2.0  # by which what is new may lie further out


@dataclass(frozen=True, eq=False)
class Basis:
    """`center` and `spread` [D], `whiten` [K, D], and known prototypes `rows` [G, C, K]: G of each class of the model.

    `standard` bounds the elements of (x - center) / spread, `reach` those of z.
    """

    center: Array
    spread: Array
    whiten: Array
    rows: Array
    standard: float
    reach: float

    def __post_init__(self) -> None:
        d, k = len(self.center), len(self.whiten)
        fits = self.spread.shape == (d,) and self.whiten.shape == (k, d) and self.rows.ndim == 3
        arrays = (self.center, self.spread, self.whiten, self.rows)
        if not fits or self.rows.shape[2] != k or not all(np.isfinite(a).all() for a in arrays):
            shapes = ", ".join(str(a.shape) for a in arrays)
            raise DataError("basis of prototypes", f"holds {shapes}, or numbers that are none")
        if not (self.spread > 0).all() or not min(self.standard, self.reach) > 0:
            raise DataError("basis of prototypes", "has a spread or a bound that is not above zero")

    def signal(self, x: npt.ArrayLike) -> Array:
        """z [N, K] of signals x [N, D]."""
        whole = (np.asarray(x, np.float64) - self.center) / self.spread
        return np.asarray(whole @ self.whiten.T)


def basis_of(
    x: npt.ArrayLike,
    classes: npt.ArrayLike,
    count: int,
    groups: npt.ArrayLike | None = None,
    *,
    shrink: float = SHRINK,
    used: npt.ArrayLike | None = None,
    known: int = 0,
) -> Basis:
    """The basis of signals x [N, D] of windows of classes [N] below `count`, in groups [N] (wearers) if they are told.

    Covariance within each class of each group, its correlations shrunk towards none, gives the whitening; the means of
    classes in groups are the prototypes that are known from the start. A group without a class has the mean of that
    class instead. Windows of other classes, such as -1, tell only how far out windows may lie. `used` is a mask over D
    for signals that are to count. `known` is the number of prototypes of each class, the centers of groups that are
    alike (k-means), or 0 for all. Raises DataError for a class without windows.
    """
    x, labels = np.asarray(x, np.float64), np.asarray(classes)
    members = np.zeros(len(x), np.int64) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if x.ndim != 2 or labels.shape != (len(x),) or members.shape != (len(x),) or not np.isfinite(x).all():
        cause = f"wants x [N, D], N classes and N groups, got {x.shape}, {labels.shape} and {members.shape}"
        raise DataError("basis of prototypes", cause)
    missing = sorted(set(range(count)) - set(labels.tolist()))
    if missing:
        cause = f"no window is of class {', '.join(map(str, missing))}, as labels tell or as the model decides"
        raise DataError("basis of prototypes", cause, "give windows of every class")
    told, every = (labels >= 0) & (labels < count), x
    x, labels, members = x[told], labels[told], members[told]
    cells, inverse = np.unique(members * count + labels, return_inverse=True)
    sizes = np.bincount(inverse).astype(np.float64)
    means = np.zeros((len(cells), x.shape[1]))
    np.add.at(means, inverse, x)
    means /= sizes[:, None]
    within = (x - means[inverse]).T @ (x - means[inverse]) / len(x)
    variance = np.diag(within)
    telling = variance > 0
    if used is not None:
        telling &= np.asarray(used, bool)
    if not telling.any():
        raise DataError("basis of prototypes", "the signal never differs between windows of one class")
    least = LEAST_VARIANCE * float(np.median(variance[telling]))
    spread = np.where(telling, np.sqrt(np.maximum(variance, least)), 1.0)
    correlated = (1 - shrink) * (within / np.outer(spread, spread))[np.ix_(telling, telling)]
    np.fill_diagonal(correlated, 1.0)
    whiten = np.zeros((int(telling.sum()), x.shape[1]))
    whiten[:, telling] = np.linalg.cholesky(np.linalg.inv(correlated)).T
    center = x.mean(axis=0)
    standard = (every - center) / spread * telling
    z, z_means = standard @ whiten.T, (means - center) / spread @ whiten.T
    rows = np.empty((members.max() + 1, count, len(whiten)))
    for c in range(count):
        rows[:, c] = z[told][labels == c].mean(axis=0)
    for cell, mean in zip(cells, z_means, strict=True):
        rows[cell // count, cell % count] = mean
    if 0 < known < len(rows):
        rows = np.stack([_centers(rows[:, c], known) for c in range(count)], axis=1)
    return Basis(center, spread, whiten, rows, *(ROOM * float(np.abs(v).max()) for v in (standard, z)))


def _centers(points: Array, count: int) -> Array:
    """Centers [count, K] of points [N, K] by k-means, from the points that lie farthest from those before."""
    first = [int(np.argmin(np.abs(points - points.mean(axis=0)).sum(axis=1)))]
    while len(first) < count:
        away = np.abs(points[:, None] - points[first]).sum(axis=-1).min(axis=1)
        first.append(int(np.argmax(away)))
    centers = points[first]
    for _ in range(ROUNDS):
        nearest = ((points[:, None] - centers) ** 2).sum(axis=-1).argmin(axis=1)
        for k in range(count):
            if (nearest == k).any():
                centers[k] = points[nearest == k].mean(axis=0)
    return centers
