"""What rules compute with, in integers: int16 values on known scales, each rounded half up once and saturated.

Sums of products are exact. Nothing wraps: what does not fit its bound stays at the end of the range. Of a change of
weights, what rounding leaves of one weight is carried to the next of its row, so that small changes are not lost.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor, log2
from typing import Any

import numpy as np

from edgekit.compress.writer import multiplier
from edgekit.errors import UnsupportedError
from edgekit.ir.dtypes import INT16, INT32, SPIKE, DType
from edgekit.ir.graph import Shape
from edgekit.ir.ops.plastic import WIDEST_SHIFT, WIDEST_UPDATE
from edgekit.ir.quant import QuantParams
from edgekit.learn.arithmetic import Array, Num
from edgekit.learn.draft import Draft

TOP = INT16.limits[1]
ON = 2**14  # a spike among reals
SEGMENTS = 1024  # of a function by table
DOUBLINGS, ROUNDS = 5, 4  # of a divisor at once, and how often
SAME = 1e-6  # relative: scales are kept in float32


def scale_of(bound: float, dtype: DType = INT16) -> float:
    """The power of two on which an int16 just holds a bound, an int32 twice that."""
    return float(2.0 ** (ceil(log2(max(bound, 1e-9))) - (15 if dtype is INT16 else 30)))


class Fixed:
    """Integers; see `Arithmetic` for what each operation is."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft

    # --- what comes in ---

    def matrix(self, stem: str, init: Array, bound: float) -> Num:
        """Plastic weights [R, C]: a state that a reset keeps."""
        return self.vector(stem, init, bound, "keep")

    def vector(self, stem: str, init: Array, bound: float, policy: str, *, fine: bool = False) -> Num:
        """A state of reals."""
        dtype = INT32 if fine else INT16
        scale = scale_of(bound, dtype)
        first = np.clip(np.floor(np.asarray(init, np.float64) / scale + 0.5), *dtype.limits)
        return Num(self._state(stem, first, policy, dtype, scale), bound, scale)

    def total(self, stem: str, like: Num, most: int, policy: str = "scratch") -> Num:
        """A sum over a window: exact, in int32."""
        shape = self.draft.tensor(like.name).shape
        return Num(self._state(stem, np.zeros(shape), policy, INT32, like.scale), like.bound * most, like.scale)

    def trace(self, stem: str, like: Num, bound: float) -> Num:
        """A trace that each window begins anew."""
        shape = self.draft.tensor(like.name).shape
        return self.vector(stem, np.zeros(shape), bound, "reset")

    def value(self, name: str) -> Num:
        """What the graph holds under a name; a spike as 0 or 1."""
        tensor = self.draft.tensor(name)
        if tensor.dtype is SPIKE:
            on, off = (self.draft.const("spike", np.asarray(v), INT16) for v in (ON, 0))
            return Num(self._op("where", name, on, off), 1.0, 1 / ON)
        if tensor.quant is None or tensor.quant.axis is not None or tensor.quant.zero_point.any():
            raise UnsupportedError("learning", f"{name!r} is not held on one scale", "widen it to 16 bits")
        scale = float(tensor.quant.scale.reshape(-1)[0])
        return Num(name, scale * tensor.dtype.limits[1], scale)

    def target(self, stem: str, size: int) -> Num:
        """An input of the entry: the class as spikes, one of them 1."""
        given = self.draft.input(stem, (size,), SPIKE)
        on, off = (self.draft.const("target", np.asarray(v), INT16) for v in (TOP, 0))
        return Num(self._op("where", given, on, off), 1.0, 1 / TOP)

    def given(self, stem: str, shape: Shape, bound: float) -> Num:
        """An input of the entry: int16 on a scale that it says itself."""
        scale = scale_of(bound)
        return Num(self.told(Num(self.draft.input(stem, shape, INT16), bound, scale)), bound, scale)

    def number(self, stem: str, data: Array, bound: float = 0.0, *, fine: bool = False) -> Num:
        """A constant."""
        dtype = INT32 if fine else INT16
        most = max(float(np.abs(data).max()), 2.0**-15)
        scale = scale_of(max(bound, most * (1 + 2.0**-14)), dtype)
        return Num(self._const(stem, np.asarray(data, np.float64) / scale, dtype), max(bound, most), scale)

    # --- matrices ---

    def product(self, w: Num, x: Num, bound: float, *, fine: bool = False) -> Num:
        """W x."""
        return self._contracted("matvec", w, x, bound, INT32 if fine else INT16)

    def back(self, w: Num, y: Num, bound: float, *, fine: bool = False) -> Num:
        """Wᵀ y."""
        return self._contracted("matvec_t", w, y, bound, INT32 if fine else INT16)

    def _contracted(self, kind: str, w: Num, x: Num, bound: float, dtype: DType = INT16) -> Num:
        x = self.narrow(x)
        exact = w.scale * x.scale
        most = TOP if dtype is INT16 else 2.0**30
        shift = min(max(0, ceil(log2(bound / (most * exact)))), WIDEST_SHIFT)
        return Num(self._op(kind, x.name, w.name, shift=shift, to=dtype.name), bound, exact * 2.0**shift)

    def distance(self, w: Num, x: Num) -> Num:
        """Σ |x - w| for each row w: exact, in int32."""
        size = self.draft.tensor(w.name).shape[1]
        return Num(self._op("distance", x.name, w.name), size * (w.bound + x.bound), w.scale)

    def learned(self, w: Num, a: Num, b: Num, rate: float) -> Num:
        """W + rate · Σ a bᵀ: a is brought to the scale on which its products with b are units of W, times 2^shift."""
        b = self.narrow(b)
        largest = a.bound * rate * b.scale / w.scale
        shift = min(max(0, floor(log2(TOP / largest))), WIDEST_UPDATE)
        ready = self._held(a, w.scale * 2.0**-shift / (rate * b.scale), INT16)
        return Num(self._op("outer_add", w.name, ready.name, b.name, shift=shift), w.bound, w.scale)

    def kept_near(self, value: Num, state: Num, budget: float) -> Num:
        """A new value of a state, no element of it further from the first one than the budget, in whole units."""
        held = self._held(value, state.scale, self.draft.tensor(state.name).dtype)
        first, units = self.draft.first(state.name).astype(np.float64), floor(budget / state.scale)
        dtype = self.draft.tensor(state.name).dtype
        low = self._op("maximum", held.name, self._const("least", first - units, dtype))
        return Num(self._op("minimum", low, self._const("most", first + units, dtype)), value.bound, state.scale)

    # --- vectors ---

    def add(self, a: Num, b: Num, bound: float) -> Num:
        """a + b."""
        return self._joined("add", a, b, bound)

    def sub(self, a: Num, b: Num, bound: float) -> Num:
        """a - b."""
        return self._joined("sub", a, b, bound)

    def _joined(self, kind: str, a: Num, b: Num, bound: float) -> Num:
        wide = any(self.draft.tensor(n.name).dtype is INT32 for n in (a, b))
        dtype = INT32 if wide else INT16
        scale = (a if self.draft.tensor(a.name).dtype is INT32 else b).scale if wide else self._common(a, b, bound)
        sides = [self._held(n, scale, dtype).name for n in (a, b)]
        return Num(self._op(kind, *sides, saturate=True), bound, scale)

    def _common(self, a: Num, b: Num, bound: float) -> float:
        """A scale on which a result fits its bound: that of an operand if it does."""
        fits = [n.scale for n in (a, b) if n.scale * (TOP + 1) >= bound]
        return min(fits) if fits else scale_of(bound)

    def times(self, a: Num, b: Num, bound: float) -> Num:
        """a · b, element by element."""
        a, b = self.narrow(a), self.narrow(b)
        exact = a.scale * b.scale
        shift = max(0, ceil(log2(bound / (TOP * exact))))
        return Num(self._op("rescale", a.name, b.name, shift=shift, to="int16"), bound, exact * 2.0**shift)

    def scaled(self, a: Num, factor: float) -> Num:
        """factor · a: the same integers on another scale."""
        if factor <= 0:
            raise UnsupportedError("learning", f"a factor of {factor} has no integer form")
        return Num(a.name, a.bound * factor, a.scale * factor)

    def weighted(self, a: Num, factors: Array, bound: float) -> Num:
        """a times a number for each element, rounded once."""
        scale = scale_of(bound)
        times, shift = multiplier(np.asarray(factors, np.float64) * a.scale / scale)
        name = self._op("rescale", a.name, self._const("factors", times, INT32), shift=shift, to="int16")
        return Num(name, bound, scale)

    def either(self, mask: str, a: Num, b: Num) -> Num:
        """a where a spike is, b elsewhere."""
        other = self.alike(b, a)
        return Num(self._op("where", mask, a.name, other.name), max(a.bound, b.bound), a.scale)

    def alike(self, a: Num, like: Num) -> Num:
        """a as another value is held."""
        return self._held(a, like.scale, self.draft.tensor(like.name).dtype)

    def finer(self, a: Num, bound: float) -> Num:
        """a in int32, as fine as its bound allows."""
        return self._held(a, scale_of(bound, INT32), INT32)

    def lowest(self, like: Num) -> Num:
        """The lowest number of the dtype in which another value is held."""
        dtype = self.draft.tensor(like.name).dtype
        return Num(self._const("lowest", np.asarray(dtype.limits[0]), dtype), like.bound, like.scale)

    def part(self, count: Num, most: int) -> Num:
        """1 / min(count, most), to within 2^-15: knots of a table at 64ths."""
        held = self._held(count, 1 / 64, INT16)
        table = self._table("part", lambda q: ON / np.clip(q / 64, 1, most))
        return Num(self._op("lookup", held.name, table), 1.0, 1 / ON)

    def ratio(self, a: Num, b: Num) -> Num:
        """a / b, at most 2, to within 0.2 %: both are doubled until b fills its range, then a table has its inverse.

        Where b is less than 32 of its units, the ratio is too small.
        """
        a = self._held(a, b.scale, INT32)
        names = [a.name, b.name]
        low = self._const("low", np.asarray(2.0 ** (30 - DOUBLINGS)), INT32)
        more, same = (self._const("times", np.asarray(v), INT32) for v in (2**DOUBLINGS, 1))
        for _ in range(ROUNDS):
            times = self._op("where", self._op("lt", names[1], low), more, same)
            names = [self._op("rescale", name, times, shift=0, to="int32") for name in names]
        one = self._const("one", np.ones(()), INT16)
        above, below = (self._op("rescale", name, one, shift=15, to="int16") for name in names)
        least = 2.0 ** (15 - DOUBLINGS)
        inverse = self._op("lookup", below, self._table("inverse", lambda q: TOP * least / np.maximum(q, least)))
        shift = int(log2(least)) + 1
        return Num(self._op("rescale", above, inverse, shift=shift, to="int16"), 2.0, 2 / TOP)

    def told(self, a: Num) -> str:
        """A result of an entry, which says on what scale it is held."""
        dtype = self.draft.tensor(a.name).dtype
        return self.draft.scaled(a.name, QuantParams(np.asarray([a.scale]), np.zeros(1, np.int32), None, *dtype.limits))

    def chosen(self, mask: str, a: Num) -> Num:
        """a where a spike is, 0 elsewhere."""
        zero = self._const("zero", np.zeros(()), self.draft.tensor(a.name).dtype)
        return Num(self._op("where", mask, a.name, zero), a.bound, a.scale)

    def compare(self, kind: str, a: Num, b: Num) -> str:
        """Where a < b (`lt`), a = b (`eq`), a <= b (`le`), a > b (`gt`): spikes."""
        dtype = self.draft.tensor(a.name).dtype
        return self._op(kind, a.name, self._held(b, a.scale, dtype).name)

    def softmax(self, y: Num) -> Num:
        """exp(y) / Σ exp(y) along the only axis, by tables of exp and of the reciprocal."""
        (size,) = self.draft.tensor(y.name).shape
        raised = self.raised(y).name
        narrow = max(0, ceil(log2(size)))  # the sum is at least TOP, and at most `size` times that
        one = self._const("one", np.ones(()), INT16)
        total = self._op("rescale", self._op("sum", raised, axis=0, keepdims=True), one, shift=narrow, to="int16")
        least = TOP / 2**narrow
        inverse = self._op("lookup", total, self._table("inverse", lambda q: TOP * least / np.maximum(q, least)))
        return Num(self._op("rescale", raised, inverse, shift=15, to="int16"), 1.0, 1 / TOP)

    def raised(self, y: Num) -> Num:
        """exp(y - max y) along the only axis, by table."""
        y = self.narrow(y)
        most = self._op("amax", y.name, axis=0, keepdims=True)
        below = self._op("sub", y.name, most, saturate=True)
        table = self._table("exp", lambda q: TOP * np.exp(np.minimum(q, 0) * y.scale))
        return Num(self._op("lookup", below, table), 1.0, 1 / TOP)

    def stepped(self, a: Num, step: float, limit: float) -> Num:
        """a limited to ±limit and rounded to whole steps, halves up."""
        steps, n = self._held(a, step, INT16), floor(limit / step + 0.5)
        low = self._op("maximum", steps.name, self._const("least", np.asarray(-n), INT16))
        return Num(self._op("minimum", low, self._const("most", np.asarray(n), INT16)), limit, step)

    # --- what stays ---

    def update(self, state: Num, value: Num) -> None:
        """The value becomes the state."""
        held = self._held(value, state.scale, self.draft.tensor(state.name).dtype)
        self.draft.update(state.name, held.name)

    def clear(self, state: Num) -> None:
        """The state becomes zero."""
        tensor = self.draft.tensor(state.name)
        self.draft.update(state.name, self._const("zeros", np.zeros(tensor.shape), tensor.dtype))

    def narrow(self, a: Num) -> Num:
        """a in int16."""
        if self.draft.tensor(a.name).dtype is INT16:
            return a
        return self._held(a, scale_of(a.bound), INT16)

    def _held(self, a: Num, scale: float, dtype: DType) -> Num:
        """The value on a scale, in a dtype."""
        tensor = self.draft.tensor(a.name)
        ratio = a.scale / scale
        if abs(ratio - 1) < SAME:
            name = a.name if tensor.dtype is dtype else self._op("cast", a.name, to=dtype.name)
            return Num(name, a.bound, scale)
        if tensor.data is not None:
            return Num(self._const(f"{a.name}.held", tensor.data * ratio, dtype), a.bound, scale)
        times, shift = multiplier(np.asarray(ratio))
        factor = self._const("times", times, INT32)
        return Num(self._op("rescale", a.name, factor, shift=shift, to=dtype.name), a.bound, scale)

    def _table(self, stem: str, function: Callable[[Array], Array]) -> str:
        knots = np.linspace(-(2.0**15), 2.0**15, SEGMENTS + 1)
        return self._const(stem, function(knots), INT16)

    def _const(self, stem: str, data: Array, dtype: DType) -> str:
        whole = np.floor(np.asarray(data, np.float64) + 0.5)
        return self.draft.const(stem, np.clip(whole, *dtype.limits), dtype)

    def _state(self, stem: str, init: Array, policy: str, dtype: DType, scale: float) -> str:
        quant = QuantParams(np.asarray([scale]), np.zeros(1, np.int32), None, *dtype.limits)
        return self.draft.state(stem, init, policy, dtype, quant)

    def _op(self, kind: str, *inputs: str, **attrs: Any) -> str:
        return self.draft.emit(kind, *inputs, **attrs)
