"""How large values can become: what was seen, with headroom, or what is proven where the proof wastes few bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgekit.compress.calibrate import Calibration, Observation
from edgekit.compress.stored import Array
from edgekit.compress.terms import Constant, Dot, Memory, Scaled, Sums, Switch, Term

WASTE = 4.0  # a proven bound is taken up to this many times the largest value seen


class Bounds:
    """Bounds of float values from a calibration and, by name, from a proof."""

    def __init__(self, calibration: Calibration, sums: Sums, proven: Mapping[str, float] | None = None) -> None:
        self.calibration, self.sums, self.proven = calibration, sums, dict(proven or {})

    def seen(self, name: str) -> Observation:
        """What calibration saw of a value; of a constant, itself."""
        data = self.sums.data(name)
        if data is not None:
            return Observation(data, data, float(np.abs(data).max(initial=0.0)), whole=False)
        return self.calibration.of(name)

    def of(self, name: str, headroom: float, derived: float | None = None) -> tuple[float, str]:
        """The magnitude to make room for, and where it comes from."""
        seen = self.seen(name).clip
        known = [b for b in (derived, self.proven.get(name)) if b is not None and np.isfinite(b)]
        if known and (min(known) <= WASTE * seen or derived is not None):
            return max(min(known), 1e-30), "proven"
        return max(seen * headroom, 1e-6), f"calibrated, {headroom:g} times" if headroom != 1 else "calibrated"

    def input_sums(self, terms: Sequence[Term]) -> tuple[Array, Array]:
        """The most by which the terms that are no state's raise and lower a sum, as two magnitudes per element."""
        sums = self.sums
        up, down = np.zeros(()), np.zeros(())
        for term in terms:
            if isinstance(term, Dot):
                high, low = self._dot(term)
            elif isinstance(term, Memory):
                (a, b), (c, d) = self._dot(term.a), self._dot(term.b)
                high, low = a + c, b + d
            elif isinstance(term, Constant):
                high, low = np.maximum(term.data, 0), np.maximum(-term.data, 0)
            elif isinstance(term, Scaled) and term.value not in sums.graph.state_names:
                reach = np.abs(term.factor) * self.of(term.value, 2.0)[0]
                high, low = reach, reach
            elif isinstance(term, Switch) and (term.on > 0).any():
                high, low = np.maximum(term.on, 0), np.zeros(())
            else:  # resets and the decayed state itself: part of the formula
                continue
            up, down = up + high, down + low
        return up, down

    def _dot(self, dot: Dot) -> tuple[Array, Array]:
        plus, minus = np.maximum(dot.weights, 0), np.maximum(-dot.weights, 0)
        if self.sums.is_spike(dot.x):
            return plus.sum(axis=1), minus.sum(axis=1)
        largest = self.seen(dot.x).clip * (1.0 if dot.x in self.sums.step.inputs else 2.0)
        return (plus + minus).sum(axis=1) * largest, (plus + minus).sum(axis=1) * largest
