"""Calibration: the float graph runs over all windows, and each of its values is observed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.compress.feedback import Correlation
from edgekit.compress.terms import Sums
from edgekit.errors import DataError, UsageError
from edgekit.ir import OPS, Graph
from edgekit.reference import Interpreter

Array = npt.NDArray[Any]
Progress = Callable[[int, int], None]

METHODS = ("min-max", "percentile", "mse")
BATCH = 256  # windows at once: more fall out of the caches
BINS = 2048
LARGEST = 1e9  # of a normalised input: squares of what is beyond leave float32 on the way through a model
PERCENTILE = 0.9999  # of all elements lie within the range of this method
OCTAVE = 64  # bins to a factor of two: the histogram is of log2 |x|, so that no range has to be known beforehand
MOST_CORRELATED = 2048  # elements of a value whose second moments are observed
STILL = 1e-12  # of its power: the variance below which a value is taken for a constant
_LOWEST = -20.0  # log2 of the smallest magnitude told apart


class Observer:
    """What was seen of one value: the range of each element, and of the whole a histogram of magnitudes."""

    def __init__(self, shape: tuple[int, ...], histogram: bool) -> None:
        self.lo, self.hi = np.full(shape, np.inf), np.full(shape, -np.inf)
        self.counts = np.zeros(BINS, np.int64) if histogram else None
        self.whole = True  # every value was an integer
        self.power, self.count = 0.0, 0

    def see(self, values: Array) -> None:
        """Take note of values [N, *shape]."""
        self.lo = np.minimum(self.lo, values.min(axis=0))
        self.hi = np.maximum(self.hi, values.max(axis=0))
        self.whole = self.whole and bool((values == np.rint(values)).all())
        self.power, self.count = self.power + float(np.vdot(values, values)), self.count + values.size
        if self.counts is not None:
            with np.errstate(divide="ignore"):
                octaves = np.log2(np.abs(values, dtype=np.float32)).ravel()
            bins = np.clip((octaves - _LOWEST) * OCTAVE, 0, BINS - 1).astype(np.int64)
            self.counts += np.bincount(bins, minlength=BINS)


@dataclass(frozen=True, eq=False)
class Observation:
    """The range of a value: of each element `lo` and `hi`, and the largest magnitude `clip` that the method keeps.

    `rms` is its root mean square, `whole` tells that it only took whole numbers.
    """

    lo: Array
    hi: Array
    clip: float
    whole: bool
    rms: float = 0.0

    @property
    def largest(self) -> float:
        """The largest magnitude that was seen."""
        return float(max(np.abs(self.lo).max(initial=0.0), np.abs(self.hi).max(initial=0.0)))


@dataclass(frozen=True, eq=False)
class Calibration:
    """What every float value of a step did over the calibration windows."""

    values: Mapping[str, Observation]
    method: str
    windows: int
    steps: int
    moments: Mapping[str, Array] = field(default_factory=dict)  # E[x xᵀ] of what goes through a matrix
    means: Mapping[str, Array] = field(default_factory=dict)  # of each element of what goes through a matrix
    variances: Mapping[str, Array] = field(default_factory=dict)  # of the same; 0 for what never changed
    _correlations: dict[str, Correlation] = field(default_factory=dict)

    def of(self, name: str) -> Observation:
        """The observation of one value; DataError where it never was computed."""
        if name not in self.values:
            raise DataError(f"calibration of {name!r}", "is missing: the graph is not the one that was calibrated")
        return self.values[name]

    def variance(self, name: str) -> Array:
        """The variances of an operand of matrices, summed over all of its axes but the last."""
        if name not in self.variances:
            raise DataError(f"calibration of {name!r}", "is missing: the graph is not the one that was calibrated")
        found = self.variances[name]
        return np.asarray(found.reshape(-1, found.shape[-1]).sum(axis=0))

    def correlation(self, name: str) -> Correlation | None:
        """How the elements of a value go together that a matrix takes; None where that was not observed."""
        if name in self.moments and name not in self._correlations:
            self._correlations[name] = Correlation(self.moments[name])
        return self._correlations.get(name)


def calibrate(
    graph: Graph,
    windows: Mapping[str, Array],
    *,
    method: str = "min-max",
    normalisation: Mapping[str, tuple[Array, Array]] | None = None,
    bits: int = 8,
    progress: Progress = lambda _done, _total: None,
) -> Calibration:
    """Run the step of a float graph over windows {input: [N, T, *shape]} and observe all its float values.

    Of what goes through a matrix, spikes included, the second moments are observed too.

    `normalisation` holds offset and scale of inputs given in raw units; the graph takes (raw - offset) · scale. Method
    `mse` looks for the clip that `bits` bits lose least at. UsageError for an unknown method, DataError for no windows.
    """
    if method not in METHODS:
        raise UsageError(f"calibration method {method!r}", "is not known", f"known are {', '.join(METHODS)}")
    step, engine = graph.entries["step"], Interpreter(graph)
    given = {name: _normalised(windows[name], (normalisation or {}).get(name)) for name in step.inputs}
    count, steps = next(iter(given.values())).shape[:2]
    if count == 0 or steps == 0:
        raise DataError("calibration data", "holds no windows")
    _check_spread(given)
    names = _observed(graph)
    observers = {n: Observer(graph.tensors[n].shape, method != "min-max") for n in names}
    bordered = _bordered(graph)
    operands = _operands(graph)
    moments = {n: np.zeros((w, w)) for n, w in _multiplied(graph).items()}
    totals = {n: np.zeros((2, *graph.tensors[n].shape)) for n in operands}
    for start in range(0, count, BATCH):
        stop = min(start + BATCH, count)
        state = engine.initial_state(stop - start)
        for t in range(steps):
            values = engine.trace({n: a[start:stop, t] for n, a in given.items()}, state)
            for name in names:
                array = values[name]
                observers[name].see(np.where(np.abs(array) > LARGEST, 0, array) if name in bordered else array)
            for name, total in moments.items():
                x = np.asarray(values[name], np.float32).reshape(-1, len(total))
                np.add(total, x.T @ x, out=total)
            for name, both in totals.items():
                wide = np.asarray(_streams(values[name], stop - start), np.float64)
                np.add(both, [wide.sum(axis=0), np.square(wide).sum(axis=0)], out=both)
            state = {
                s.tensor: _streams(values[step.updates.get(s.tensor, s.tensor)], stop - start) for s in graph.states
            }
        progress(stop, count)
    seen = {
        n: Observation(o.lo, o.hi, _clip(o, method, bits), o.whole, float(np.sqrt(o.power / max(o.count, 1))))
        for n, o in observers.items()
    }
    each = {n: both / (count * steps) for n, both in totals.items()}
    return Calibration(
        seen,
        method,
        count,
        steps,
        {n: total / (count * steps) for n, total in moments.items()},
        {n: mean for n, (mean, _) in each.items()},
        {n: np.where(square - mean**2 > STILL * square, square - mean**2, 0.0) for n, (mean, square) in each.items()},
    )


def _check_spread(given: Mapping[str, Array]) -> None:
    """DataError for inputs that are far beyond any unit."""
    for name, values in given.items():
        largest = float(np.abs(values).max())
        if not largest <= LARGEST:
            raise DataError(
                "calibration data", f"input {name!r} reaches {largest:.3g}", "give windows in the model's own units"
            )


def _normalised(raw: Array, known: tuple[Array, Array] | None) -> Array:
    raw = np.asarray(raw, np.float32)
    return raw if known is None else ((raw - known[0]) * known[1]).astype(np.float32)


def _observed(graph: Graph) -> list[str]:
    step = graph.entries["step"]
    made = [n for op in step.ops for n in op.outputs]
    names = dict.fromkeys([*step.inputs, *(s.tensor for s in graph.states), *made])
    return [n for n in names if graph.tensors[n].dtype.is_float]


def _bordered(graph: Graph) -> set[str]:
    """Values with a border that is no number of the model: as low as a float can be, for the largest of windows."""
    found: set[str] = set()
    for op in graph.entries["step"].ops:
        endless = op.kind == "pad" and abs(op.attrs.get("value", 0.0)) > LARGEST
        if endless or (OPS[op.kind].group == "movement" and found.intersection(op.inputs)):
            found.update(op.outputs)
    return found


def _operands(graph: Graph) -> tuple[str, ...]:
    """What goes through the matrices of a step, those of a memory too; of casts of spikes the spikes."""
    sums, at = Sums(graph), {"linear": (0,), "memory_update": (0, 2)}
    return tuple(dict.fromkeys(sums.uncast(op.inputs[k]) for op in sums.step.ops for k in at.get(op.kind, ())))


def _multiplied(graph: Graph) -> dict[str, int]:
    """What goes through a matrix, and how many elements that has; of casts of spikes the spikes."""
    sums = Sums(graph)
    found = {sums.uncast(op.inputs[0]): op.inputs[1] for op in sums.step.ops if op.kind == "linear"}
    sizes = {name: graph.tensors[weights].shape[-1] for name, weights in found.items()}
    return {name: size for name, size in sizes.items() if size <= MOST_CORRELATED}


def _streams(values: Array, batch: int) -> Array:
    return values if values.shape[0] == batch else np.broadcast_to(values, (batch, *values.shape[1:]))


def _clip(seen: Observer, method: str, bits: int) -> float:
    largest = float(max(np.abs(seen.lo).max(initial=0.0), np.abs(seen.hi).max(initial=0.0)))
    if seen.counts is None or largest == 0:
        return largest
    upper = 2.0 ** (_LOWEST + (np.arange(BINS) + 1) / OCTAVE)  # of each bin
    if method == "percentile":
        inside = np.cumsum(seen.counts) >= PERCENTILE * seen.counts.sum()
        return float(min(largest, upper[np.argmax(inside)]))
    middle = upper * 2.0 ** (-0.5 / OCTAVE)
    tried = largest * 2.0 ** (-np.arange(6 * OCTAVE) / OCTAVE)
    beyond = np.maximum(middle[None] - tried[:, None], 0.0)
    rounding = (tried / (2 ** (bits - 1) - 1)) ** 2 / 12
    losses = (beyond**2 * seen.counts).sum(axis=1) + rounding * seen.counts.sum()
    return float(tried[np.argmin(losses)])
