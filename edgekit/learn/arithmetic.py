"""What rules compute with, in float32: one vocabulary, which `fixed.py` speaks in integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgekit.ir.dtypes import SPIKE
from edgekit.ir.graph import Shape
from edgekit.learn.draft import Draft

Array = npt.NDArray[Any]
MOST_COUNT = 511  # up to which counts are held: in integers, in 64ths
LOWEST = -1e30  # of the reals of a program
COUNTED = 2.0**15  # up to which whole numbers are exact in integers
LEAST = 1e-30  # that they are divided by


@dataclass(frozen=True)
class Num:
    """A value: real = scale · stored, |real| at most about `bound`. Floats are stored as they are, with scale 1."""

    name: str
    bound: float = 1.0
    scale: float = 1.0


class Arithmetic(Protocol):
    """Real arithmetic in the ops of a draft.

    Vectors have shape [N], or [B, N] for B rows at once. `bound` is how large a result may become: integers choose
    their scale by it, and saturate there. What is `fine` has 32 bits.
    """

    draft: Draft

    def matrix(self, stem: str, init: Array, bound: float) -> Num:
        """Plastic weights [R, C]: a state that a reset keeps."""

    def vector(self, stem: str, init: Array, bound: float, policy: str, *, fine: bool = False) -> Num:
        """A state of reals."""

    def total(self, stem: str, like: Num, most: int, policy: str = "scratch") -> Num:
        """A sum of up to `most` values over a window: a state of its own."""

    def trace(self, stem: str, like: Num, bound: float) -> Num:
        """A trace that each window begins anew: a state of its own."""

    def value(self, name: str) -> Num:
        """What the graph holds under a name; a spike as 0 or 1."""

    def target(self, stem: str, size: int) -> Num:
        """An input of the entry: what the output should be, 0 or 1 for classes."""

    def given(self, stem: str, shape: Shape, bound: float) -> Num:
        """An input of the entry: reals up to a bound."""

    def product(self, w: Num, x: Num, bound: float, *, fine: bool = False) -> Num:
        """W x."""

    def back(self, w: Num, y: Num, bound: float, *, fine: bool = False) -> Num:
        """Wᵀ y."""

    def distance(self, w: Num, x: Num) -> Num:
        """Σ |x - w| for each row w: `fine`. Both on one scale."""

    def learned(self, w: Num, a: Num, b: Num, rate: float) -> Num:
        """W + rate · Σ a bᵀ over the rows of a and b."""

    def kept_near(self, value: Num, state: Num, budget: float) -> Num:
        """A new value of a state, no element of it further from the first one than the budget."""

    def add(self, a: Num, b: Num, bound: float) -> Num:
        """a + b."""

    def sub(self, a: Num, b: Num, bound: float) -> Num:
        """a - b."""

    def times(self, a: Num, b: Num, bound: float) -> Num:
        """a · b, element by element."""

    def scaled(self, a: Num, factor: float) -> Num:
        """factor · a."""

    def weighted(self, a: Num, factors: Array, bound: float) -> Num:
        """a times a number for each element."""

    def chosen(self, mask: str, a: Num) -> Num:
        """a where a spike is, 0 elsewhere."""

    def either(self, mask: str, a: Num, b: Num) -> Num:
        """a where a spike is, b elsewhere. Both on one scale, which `alike` sees to."""

    def alike(self, a: Num, like: Num) -> Num:
        """a as another value is held."""

    def finer(self, a: Num, bound: float) -> Num:
        """a as `fine` values of that bound are held."""

    def narrow(self, a: Num) -> Num:
        """a as values that are not `fine` are held."""

    def lowest(self, like: Num) -> Num:
        """A constant that no other value is below, held as another one is."""

    def part(self, count: Num, most: int) -> Num:
        """1 / min(count, most), of a count of at least 1 that is held up to `MOST_COUNT`."""

    def ratio(self, a: Num, b: Num) -> Num:
        """a / b of two that are `fine` and not below zero, at most 2; 0 where b is 0."""

    def told(self, a: Num) -> str:
        """A result of an entry, which says on what scale it is held."""

    def number(self, stem: str, data: Array, bound: float = 0.0, *, fine: bool = False) -> Num:
        """A constant, held up to a bound if that is more than it needs."""

    def compare(self, kind: str, a: Num, b: Num) -> str:
        """Where a < b (`lt`), a = b (`eq`), a <= b (`le`), a > b (`gt`): spikes. b is held as a is."""

    def raised(self, y: Num) -> Num:
        """exp(y - max y) along the only axis."""

    def softmax(self, y: Num) -> Num:
        """exp(y) / Σ exp(y) along the only axis."""

    def stepped(self, a: Num, step: float, limit: float) -> Num:
        """a limited to ±limit and rounded to whole steps; halves as the arithmetic rounds."""

    def update(self, state: Num, value: Num) -> None:
        """The value becomes the state."""

    def clear(self, state: Num) -> None:
        """The state becomes zero."""


class Floats:
    """Float32."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft

    def matrix(self, stem: str, init: Array, bound: float) -> Num:
        """Plastic weights [R, C]: a state that a reset keeps."""
        return self.vector(stem, init, bound, "keep")

    def vector(self, stem: str, init: Array, bound: float, policy: str, *, fine: bool = False) -> Num:  # noqa: ARG002
        """A state of reals."""
        return Num(self.draft.state(stem, np.asarray(init, np.float32), policy), bound)

    def total(self, stem: str, like: Num, most: int, policy: str = "scratch") -> Num:
        """A sum of up to `most` values over a window: a state of its own."""
        shape = self.draft.tensor(like.name).shape
        return self.vector(stem, np.zeros(shape), like.bound * most, policy)

    def trace(self, stem: str, like: Num, bound: float) -> Num:
        """A trace that each window begins anew: a state of its own."""
        shape = self.draft.tensor(like.name).shape
        return self.vector(stem, np.zeros(shape), bound, "reset")

    def value(self, name: str) -> Num:
        """What the graph holds under a name; a spike as 0 or 1."""
        if self.draft.tensor(name).dtype is SPIKE:
            name = self._op("cast", name, to="float32")
        return Num(name)

    def target(self, stem: str, size: int) -> Num:
        """An input of the entry: what the output should be."""
        return Num(self.draft.input(stem, (size,)))

    def given(self, stem: str, shape: Shape, bound: float) -> Num:
        """An input of the entry: reals."""
        return Num(self.draft.input(stem, shape), bound)

    def product(self, w: Num, x: Num, bound: float, *, fine: bool = False) -> Num:  # noqa: ARG002
        """W x."""
        return Num(self._op("linear", x.name, w.name), bound)

    def back(self, w: Num, y: Num, bound: float, *, fine: bool = False) -> Num:  # noqa: ARG002
        """Wᵀ y."""
        return Num(self._op("matvec_t", y.name, w.name), bound)

    def distance(self, w: Num, x: Num) -> Num:
        """Σ |x - w| for each row w."""
        return Num(self._op("distance", x.name, w.name))

    def kept_near(self, value: Num, state: Num, budget: float) -> Num:
        """A new value of a state, no element of it further from the first one than the budget."""
        first = self.draft.first(state.name)
        low = self._op("maximum", value.name, self.draft.const("least", first - np.float32(budget)))
        return Num(self._op("minimum", low, self.draft.const("most", first + np.float32(budget))), value.bound)

    def learned(self, w: Num, a: Num, b: Num, rate: float) -> Num:
        """W + rate · Σ a bᵀ over the rows of a and b."""
        return Num(self._op("outer_add", w.name, self.scaled(a, rate).name, b.name), w.bound)

    def add(self, a: Num, b: Num, bound: float) -> Num:
        """a + b."""
        return Num(self._op("add", a.name, b.name), bound)

    def sub(self, a: Num, b: Num, bound: float) -> Num:
        """a - b."""
        return Num(self._op("sub", a.name, b.name), bound)

    def times(self, a: Num, b: Num, bound: float) -> Num:
        """a · b, element by element."""
        return Num(self._op("mul", a.name, b.name), bound)

    def scaled(self, a: Num, factor: float) -> Num:
        """factor · a."""
        return a if factor == 1 else Num(self._op("mul", a.name, self._number(factor)), a.bound * abs(factor))

    def weighted(self, a: Num, factors: Array, bound: float) -> Num:
        """a times a number for each element."""
        return Num(self._op("mul", a.name, self.draft.const("factors", factors)), bound)

    def chosen(self, mask: str, a: Num) -> Num:
        """a where a spike is, 0 elsewhere."""
        return Num(self._op("where", mask, a.name, self._number(0.0)), a.bound)

    def alike(self, a: Num, like: Num) -> Num:  # noqa: ARG002
        """a as another value is held: as it is."""
        return a

    def finer(self, a: Num, bound: float) -> Num:
        """a as `fine` values are held: as it is."""
        return Num(a.name, bound)

    def narrow(self, a: Num) -> Num:
        """a as it is."""
        return a

    def lowest(self, like: Num) -> Num:  # noqa: ARG002
        """A constant that no value of a program is below."""
        return Num(self._number(LOWEST))

    def part(self, count: Num, most: int) -> Num:
        """1 / min(count, most), of a count of at least 1."""
        return Num(self._op("reciprocal", self._each("minimum", count.name, float(most))))

    def number(self, stem: str, data: Array, bound: float = 0.0, *, fine: bool = False) -> Num:  # noqa: ARG002
        """A constant."""
        return Num(self.draft.const(stem, data), max(bound, float(np.abs(data).max())))

    def compare(self, kind: str, a: Num, b: Num) -> str:
        """Where a < b (`lt`), a = b (`eq`), a <= b (`le`), a > b (`gt`): spikes."""
        return self._op(kind, a.name, b.name)

    def softmax(self, y: Num) -> Num:
        """exp(y) / Σ exp(y) along the only axis."""
        raised = self.raised(y).name
        return Num(self._op("div", raised, self._op("sum", raised, axis=0, keepdims=True)))

    def raised(self, y: Num) -> Num:
        """exp(y - max y) along the only axis."""
        most = self._op("amax", y.name, axis=0, keepdims=True)
        return Num(self._op("exp", self._op("sub", y.name, most)))

    def stepped(self, a: Num, step: float, limit: float) -> Num:
        """a limited to ±limit and rounded to whole steps, halves to even: round(clip(a) / limit · n) / n · limit."""
        n = limit / step
        inside = self.clipped(a, limit)
        whole = self._op("round", self._each("mul", self._each("div", inside.name, limit), n))
        return Num(self._each("mul", self._each("div", whole, n), limit), limit)

    def clipped(self, a: Num, limit: float) -> Num:
        """a limited to ±limit."""
        low = self._each("maximum", a.name, -limit)
        return Num(self._each("minimum", low, limit), min(a.bound, limit))

    def ratio(self, a: Num, b: Num) -> Num:
        """a / b of two that are not below zero, at most 2; 0 where b is 0."""
        whole = self._each("maximum", b.name, LEAST)
        return Num(self._each("minimum", self._op("div", a.name, whole), 2.0), 2.0)

    def told(self, a: Num) -> str:
        """A result of an entry."""
        return a.name

    def rows_together(self, a: Num, b: Num, bound: float) -> Num:
        """Σ a bᵀ over rows, or of one row each: [N] x [M] -> [N, M]."""
        columns = []
        for vector in (a, b):
            shape = self.draft.tensor(vector.name).shape
            if len(shape) == 1:
                columns.append(self._op("reshape", vector.name, shape=(*shape, 1)))
            else:
                columns.append(self._op("transpose", vector.name, perm=(1, 0)))
        return Num(self._op("linear", *columns), bound)

    def rows_of(self, mask: str, columns: int) -> str:
        """A mask over rows as one over a matrix."""
        (rows,) = self.draft.tensor(mask).shape
        return self._op("expand", self._op("reshape", mask, shape=(rows, 1)), shape=(rows, columns))

    def either(self, mask: str, a: Num, b: Num) -> Num:
        """a where a spike is, b elsewhere."""
        return Num(self._op("where", mask, a.name, b.name), max(a.bound, b.bound))

    def update(self, state: Num, value: Num) -> None:
        """The value becomes the state."""
        self.draft.update(state.name, value.name)

    def clear(self, state: Num) -> None:
        """The state becomes zero."""
        shape = self.draft.tensor(state.name).shape
        self.draft.update(state.name, self.draft.const("zeros", np.zeros(shape)))

    def _each(self, kind: str, name: str, number: float) -> str:
        return self._op(kind, name, self._number(number))

    def _number(self, value: float) -> str:
        return self.draft.const("number", np.asarray(value))

    def _op(self, kind: str, *inputs: str, **attrs: Any) -> str:
        return self.draft.emit(kind, *inputs, **attrs)


def moved(a: Arithmetic, kind: str, *values: Num, **attrs: Any) -> Num:
    """Values moved or compared by an op that leaves numbers as they are; all of them held alike."""
    first = values[0]
    name = a.draft.emit(kind, *(v.name for v in values), **attrs)
    return Num(name, max(v.bound for v in values), first.scale)


def first_of(a: Arithmetic, mask: str, axis: int) -> str:
    """The first spike along an axis of a mask, alone."""
    one = a.number("one", np.ones(()), COUNTED)
    told = a.finer(a.chosen(mask, one), COUNTED)
    before = moved(a, "cumsum", told, axis=axis, exclusive=True)
    return a.draft.emit("logical_and", mask, a.compare("eq", before, a.number("none", np.zeros(()), COUNTED)))


def energy(a: Arithmetic, x: Num, bound: float) -> Num:
    """|x|², which is `fine`: [N] -> [1]."""
    row = moved(a, "reshape", x, shape=(1, a.draft.tensor(x.name).size))
    return a.finer(a.product(row, x, bound, fine=True), bound)


def rewritten_output(a: Arithmetic, y: Num) -> None:
    """Make a value the only output of the step that is open, and what an integer program turns into reals."""
    draft = a.draft
    draft.output(y.name)
    if draft.has("dequantize"):
        tensor = draft.tensor(y.name)
        draft.open("dequantize")
        given = draft.input("output.stored", tensor.shape, tensor.dtype)
        draft.output(draft.emit("dequantize", given, draft.const("output.scale", np.asarray(y.scale)), out="output"))
