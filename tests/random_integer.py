"""Random integer programs: every op of the table that has a meaning for integers, named and shrunk by two numbers.

`random_integer_graph(seed, ops)` is the program; fewer `ops` of one seed are a beginning of the same program, so that a
failing one shrinks. The first ops of a graph come from one list of `CELLS` (op and dtypes), dealt out seed after seed:
a few seeds in a row hit every cell.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from integer_streams import edges, whole_numbers

from edgekit.ir import INT4, INT8, INT16, INT32, SPIKE, DType, Graph, GraphBuilder

WHOLE = (INT8, INT16, INT32)
VALUES = (SPIKE, *WHOLE)
SIZES = (1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 130)
SHIFTS = (0, 1, 7, 8, 15, 16, 30, 31, 32, 33, 47, 62)
FACTORS = ("q31", "q15", "halves", "any", "value")  # what a rescale multiplies by
MOST = 320  # elements of one value
DEALT = 14  # cells of a graph of full size; ops beyond that are drawn
FULL = 22

Cell = tuple[str, tuple[Any, ...]]


def _cells() -> list[Cell]:
    """Every op with every combination of dtypes and attributes that changes what it computes."""
    cells: list[Cell] = []
    for d in WHOLE:
        cells += [("unary", (kind, d)) for kind in ("neg", "abs", "relu")]
        cells += [("binary", (kind, d, saturate)) for kind in ("add", "sub") for saturate in (False, True)]
        cells += [("binary", (kind, d, False)) for kind in ("minimum", "maximum")]
        cells += [("compare", (kind, d)) for kind in ("gt", "ge", "lt", "le", "eq", "ne")]
        cells += [("where", (d,)), ("reduce", ("sum", d)), ("reduce", ("amax", d))]
        cells += [("cast", (source, d)) for source in VALUES]
        cells += [("rescale", (d, to, factor)) for to in WHOLE for factor in FACTORS]
    cells += [("logic", (kind,)) for kind in ("logical_and", "logical_or", "logical_not")]
    for x in (SPIKE, INT8, INT16):
        for total in (INT16, INT32):
            cells += [("linear", (x, w, total, form)) for w in (INT4, INT8, INT16) for form in _forms(x)]
            cells.append(("memory", (x, total)))
    cells += [("shared", (w, total)) for w in (INT4, INT8, INT16) for total in (INT16, INT32)]
    cells += [("population", (d,)) for d in WHOLE]
    cells += [("matvec", (x, to)) for x in (SPIKE, INT16) for to in (INT16, INT32)]
    cells += [("matvec_t", (to,)) for to in (INT16, INT32)]
    cells.append(("distance", ()))
    cells += [("outer_add", (rows, turns)) for rows in (0, 1, 3) for turns in (1, 3)]
    cells.append(("reduce", ("amax", SPIKE)))
    cells += [("cumsum", (reverse, exclusive)) for reverse in (False, True) for exclusive in (False, True)]
    cells += [("lookup", (INT8, INT8, 8)), ("lookup", (INT8, INT16, 8))]
    cells += [("lookup", (INT16, INT16, bits)) for bits in range(2, 13)]
    for d in VALUES:
        cells += [(kind, (d,)) for kind in ("reshape", "transpose", "expand", "slice", "concat", "gather")]
        cells += [("pad", (d,)), ("windows", (d,))]
        cells += [("update", (d, policy)) for policy in ("reset", "keep")]
    random.Random(4).shuffle(cells)
    return cells


def _forms(x: DType) -> tuple[str, ...]:
    return ("auto", "event", "dense") if x is SPIKE else ("auto",)


CELLS = tuple(_cells())
DEFAULT_SEEDS = range(-(-len(CELLS) // DEALT))  # seeds that hit every cell


class _Maker:
    """Adds one op after another to a graph; each op has random numbers of its own, so that a beginning stays one."""

    def __init__(self, seed: int, name: str) -> None:
        self.seed, self.b = seed, GraphBuilder(name, dt=None)
        self.values: list[str] = []
        self.read: set[str] = set()
        self.turn("start")

    def turn(self, at: object) -> None:
        """Fresh random numbers for the op number `at`."""
        self.rng = random.Random(f"{self.seed}/{at}")
        self.numbers = np.random.default_rng(self.rng.getrandbits(64))

    def tensor(self, name: str) -> Any:
        return self.b.tensor(name)

    def add(self, kind: str, *inputs: str, **attrs: Any) -> str:
        """An op, its result among the values."""
        self.read.update(inputs)
        self.values.append(self.b.op(kind, *inputs, **attrs))
        return self.values[-1]

    def const(self, shape: Sequence[int], dtype: DType) -> str:
        return self.b.const(self.b.fresh("c"), whole_numbers(self.numbers, tuple(shape), dtype), dtype)

    def pick(self, fits: Callable[[Any], bool]) -> str | None:
        """A value so far, more likely a recent one."""
        good = [n for n in self.values if fits(self.tensor(n))]
        return self.rng.choice(good[-4:] if good and self.rng.random() < 0.6 else good) if good else None

    def value(self, dtype: DType, rank: int = 0) -> str:
        """A value of a dtype and at least so many axes; made of another one where there is none."""
        found = self.pick(lambda t: t.dtype is dtype and len(t.shape) >= rank)
        return found if found is not None else self.shaped(self.converted(self.any_value(), dtype), rank)

    def lively(self, dtype: DType) -> str:
        """A value of a dtype that is likely to reach the ends of its range."""
        x = self.value(dtype)
        if dtype is SPIKE or self.rng.random() < 0.4:
            return x
        shape = self.tensor(x).shape
        return self.add("add", x, self.b.const(self.b.fresh("c"), edges(self.numbers, shape[-1:], dtype), dtype))

    def any_value(self) -> str:
        found = self.pick(lambda t: True)
        assert found is not None
        return found

    def shaped(self, name: str, rank: int) -> str:
        shape = self.tensor(name).shape
        missing = rank - len(shape)
        return self.add("reshape", name, shape=(*(1,) * missing, *shape)) if missing > 0 else name

    def converted(self, name: str, dtype: DType) -> str:
        """The value in another dtype."""
        source = self.tensor(name).dtype
        if source is dtype:
            return name
        if dtype is SPIKE:
            return self.add(self.rng.choice(["gt", "lt", "ne"]), name, self.const((), source))
        if source is SPIKE or dtype.bits > source.bits or self.rng.random() < 0.3:
            return self.add("cast", name, to=dtype.name)
        one = self.b.const(self.b.fresh("one"), 1, INT8)
        return self.add("rescale", name, one, shift=source.bits - dtype.bits, to=dtype.name)

    def partner(self, name: str, dtype: DType | None = None) -> str:
        """Something of a dtype that broadcasts against a value: a constant, or a value of its shape or of a row."""
        tensor = self.tensor(name)
        dtype, shape = dtype or tensor.dtype, tensor.shape
        rows = [(), shape[-1:], shape, (1,) * len(shape), (*shape[:-1], 1) if shape else ()]
        fitting = {*rows, *(shape[at:] for at in range(len(shape)))}
        other = self.pick(lambda t: t.dtype is dtype and t.shape in fitting)
        if other is None and self.rng.random() < 0.4:
            same = self.pick(lambda t: t.shape in fitting)
            other = self.converted(same, dtype) if same is not None else None
        if other is not None and self.rng.random() < 0.7:
            return other
        return self.const(self.rng.choice(rows), dtype)

    def weights(self, out: int, features: int, dtype: DType) -> str:
        """Weights [out, in], sometimes mostly zero."""
        data = whole_numbers(self.numbers, (out, features), dtype)
        return self.b.const(self.b.fresh("w"), data, dtype)

    def cell(self, cell: Cell) -> None:
        kind, arguments = cell
        getattr(self, f"_{kind}")(*arguments)

    # --- one method a cell -------------------------------------------------------------------------------------------

    def _unary(self, kind: str, d: DType) -> None:
        self.add(kind, self.lively(d))

    def _binary(self, kind: str, d: DType, saturate: bool) -> None:
        x = self.lively(d)
        pair = [x, self.partner(x)]
        self.rng.shuffle(pair)
        self.add(kind, *pair, **({"saturate": True} if saturate else {}))

    def _compare(self, kind: str, d: DType) -> None:
        x = self.value(d)
        pair = [x, self.partner(x)]
        self.rng.shuffle(pair)
        self.add(kind, *pair)

    def _logic(self, kind: str) -> None:
        s = self.value(SPIKE)
        self.add(kind, s, *([] if kind == "logical_not" else [self.partner(s)]))

    def _where(self, d: DType) -> None:
        x = self.value(d)
        pair = [x, self.partner(x)]
        self.rng.shuffle(pair)
        self.add("where", self.partner(x, SPIKE), *pair)

    def _cast(self, source: DType, to: DType) -> None:
        self.add("cast", self.lively(source), to=to.name)

    def _rescale(self, d: DType, to: DType, factor: str) -> None:
        x = self.value(d)
        if factor == "value":
            m = self.rng.choice(WHOLE)
            shift = self.rng.choice(SHIFTS) if self.rng.random() < 0.7 else max(0, d.bits + m.bits - to.bits - 2)
            self.add("rescale", x, self.partner(x, m), shift=shift, to=to.name)
            return
        shape = self.rng.choice([(), self.tensor(x).shape[-1:]])
        low, high, shift, m = {
            "q31": (-(2**31), 2**31, 31, INT32),  # the multiplier of one rounding instruction
            "q15": (-(2**15), 2**15, 15, INT16),
            "halves": (-3, 4, self.rng.choice([1, 2, 3]), self.rng.choice(WHOLE)),  # ties, below zero too
            "any": (0, 0, self.rng.choice(SHIFTS), self.rng.choice(WHOLE)),
        }[factor]
        data = self.numbers.integers(low, high, shape) if high else whole_numbers(self.numbers, shape, m)
        self.add("rescale", x, self.b.const(self.b.fresh("m"), data, m), shift=shift, to=to.name)

    def _linear(self, x: DType, w: DType, total: DType, form: str) -> None:
        source = self.value(x, 1)
        *lead, features = self.tensor(source).shape
        rows = prod(lead)
        out = self.rng.choice([n for n in SIZES if n * rows <= MOST] or [1])
        shape = (*lead, out)
        addends: list[str | None] = [None, self.const((out,), total), self.const((), total), self.const(shape, total)]
        same = self.pick(lambda t: t.dtype is total and t.shape == shape)
        addend = same if same is not None and self.rng.random() < 0.5 else self.rng.choice(addends)
        attrs = {} if form == "auto" and self.rng.random() < 0.5 else {"form": form}
        inputs = (source, self.weights(out, features, w), *([addend] if addend else []))
        self.add("linear", *inputs, accumulate=total.name, **attrs)

    def _shared(self, w: DType, total: DType) -> None:
        """Linears that read the same spikes, a part of their sums added on: what a backend may join into one."""
        spikes = self.value(SPIKE, 1)
        if len(self.tensor(spikes).shape) > 1:
            spikes = self.regular(spikes, (self.rng.choice(SIZES),))
        features, running = self.tensor(spikes).shape[0], self.const((), total)
        out = self.rng.choice(SIZES)
        for _ in range(self.rng.randint(2, 3)):
            form = {"form": self.rng.choice(_forms(SPIKE))}
            running = self.add("linear", spikes, self.weights(out, features, w), running, accumulate=total.name, **form)
            if self.rng.random() < 0.4:  # another width, and so no addend of before
                out, running = self.rng.choice(SIZES), self.const((), total)

    def _population(self, d: DType) -> None:
        """Leaky neurons that read what they fired: decay, current, subtractive reset, threshold, spikes as a state."""
        n, total = self.rng.choice(SIZES), INT32 if d is INT32 else INT16
        v, s = (
            self.b.state(self.b.fresh("v"), np.zeros(n), d),
            self.b.state(self.b.fresh("s"), np.zeros(n, bool), SPIKE),
        )
        self.values += [v, s]
        bits = min(d.bits, 16) - 1
        decay = self.b.const(
            self.b.fresh("beta"), self.rng.randrange(2**bits // 2, 2**bits), INT8 if bits == 7 else INT16
        )
        low = self.weights(n, n, INT4)
        current = self.add("linear", s, low, accumulate=total.name, form=self.rng.choice(_forms(SPIKE)))
        driven = self.regular(self.converted(self.any_value(), d), (n,))
        kept = self.add("rescale", v, decay, shift=bits, to=d.name)
        threshold = self.b.const(self.b.fresh("thr"), d.limits[1] // self.rng.choice([2, 5, 20]), d)
        back = self.add("where", s, threshold, self.const((), d))
        both = self.add("add", kept, self.add("add", driven, self.converted(current, d), saturate=True), saturate=True)
        new = self.add("sub", both, back, saturate=self.rng.random() < 0.7)
        fired = self.add("gt", new, threshold)
        self.b.update(v, new)
        self.b.update(s, fired)

    def _memory(self, x: DType, total: DType) -> None:
        channels, order, k = self.rng.choice([(64, 4, 1), (5, 3, 1), (16, 8, 1), (9, 5, 2), (1, 16, 3), (4, 33, 1)])
        other = self.rng.choice((SPIKE, INT8, INT16))
        m, u = self.regular(self.value(x), (channels, order)), self.regular(self.value(other), (channels, k))
        a, b = (self.rng.choice((INT4, INT8, INT16)) for _ in range(2))
        self.add("memory_update", m, self.weights(order, order, a), u, self.weights(order, k, b), accumulate=total.name)

    def regular(self, name: str, shape: tuple[int, ...]) -> str:
        """Elements of a value, picked at random, in a shape."""
        size = self.tensor(name).size
        if size == prod(shape):
            return self.add("reshape", name, shape=shape)
        flat = self.add("reshape", name, shape=(size,))
        indices = tuple(self.rng.randrange(size) for _ in range(prod(shape)))
        return self.add("reshape", self.add("gather", flat, axis=0, indices=indices), shape=shape)

    def matrix(self, height: int, width: int) -> str:
        """Weights that are a value of the program, or one of its states."""
        style = self.rng.randrange(3)
        if style == 0 and height * width <= MOST:
            return self.regular(self.value(INT16), (height, width))
        data = whole_numbers(self.numbers, (height, width), INT16)
        if style == 1:
            return self.b.const(self.b.fresh("w"), data, INT16)
        return self.b.state(self.b.fresh("plastic"), data, INT16, reset="keep")

    def _matvec(self, x: DType, to: DType) -> None:
        source = self.value(x, 1)
        *lead, width = self.tensor(source).shape
        height = self.rng.choice([n for n in SIZES if n * prod(lead) <= MOST and n * width <= 9 * MOST] or [1])
        addend = [self.regular(self.value(INT32), (height,))] if self.rng.random() < 0.5 else []
        shift = self.rng.choice([*range(33), 46])
        self.add("matvec", source, self.matrix(height, width), *addend, shift=shift, to=to.name)

    def _matvec_t(self, to: DType) -> None:
        source = self.value(INT16, 1)
        *lead, height = self.tensor(source).shape
        width = self.rng.choice([n for n in SIZES if n * prod(lead) <= MOST and n * height <= 9 * MOST] or [1])
        shift = self.rng.choice([*range(33), 46])
        self.add("matvec_t", source, self.matrix(height, width), shift=shift, to=to.name)

    def _distance(self) -> None:
        source = self.value(INT16, 1)
        *lead, width = self.tensor(source).shape
        height = self.rng.choice([n for n in SIZES if n * prod(lead) <= MOST and n * width <= 9 * MOST] or [1])
        self.add("distance", source, self.matrix(height, width))

    def _outer_add(self, rows: int, turns: int) -> None:
        """A state that changes once or a few times in a row; ops that come later may still read the old one."""
        height, width = self.rng.choice([(1, 7), (5, 1), (4, 11), (6, 8), (2, 33), (3, 20), (1, 70)])
        data = whole_numbers(self.numbers, (height, width), INT16)
        state = new = self.b.state(self.b.fresh("plastic"), data, INT16, reset="keep")
        lead = (rows,) if rows else ()
        for _ in range(turns):
            a, b = (self.regular(self.value(INT16), (*lead, n)) for n in (height, width))
            new = self.add("outer_add", new, a, b, shift=self.rng.randrange(31))
        self.values.append(state)
        self.b.update(state, new)

    def _reduce(self, kind: str, d: DType) -> None:
        x = self.value(d, 1)
        axis = self.rng.randrange(len(self.tensor(x).shape))
        self.add(kind, x, axis=axis, keepdims=self.rng.random() < 0.5)

    def _cumsum(self, reverse: bool, exclusive: bool) -> None:
        x = self.value(INT32, 1)
        axis = self.rng.randrange(len(self.tensor(x).shape))
        self.add("cumsum", x, axis=axis, reverse=reverse, exclusive=exclusive)

    def _lookup(self, d: DType, to: DType, bits: int) -> None:
        entries = 256 if d is INT8 else 2**bits + 1
        self.add("lookup", self.value(d), self.const((entries,), to))

    def _reshape(self, d: DType) -> None:
        x = self.value(d)
        size = self.tensor(x).size
        rows = self.rng.choice([n for n in range(1, size + 1) if size % n == 0])
        shapes = [(size,), (rows, size // rows), (rows, 1, size // rows)]
        self.add("reshape", x, shape=self.rng.choice(shapes))

    def _transpose(self, d: DType) -> None:
        x = self.value(d, 2)
        rank = len(self.tensor(x).shape)
        self.add("transpose", x, perm=tuple(self.rng.sample(range(rank), rank)))

    def _expand(self, d: DType) -> None:
        x = self.value(d)
        shape = self.tensor(x).shape
        if prod(shape) * 3 > MOST or len(shape) > 3:
            x = self.regular(x, shape := (self.rng.choice([1, 5, 17]), 1))
        wide = tuple(3 if n == 1 and self.rng.random() < 0.5 else n for n in shape)
        self.add("expand", x, shape=self.rng.choice([wide, (2, *shape)]) if prod(wide) <= MOST else (2, *shape))

    def _slice(self, d: DType) -> None:
        x = self.value(d, 1)
        shape = self.tensor(x).shape
        axis = self.rng.randrange(len(shape))
        start = self.rng.randrange(shape[axis])
        stop = self.rng.randrange(start, shape[axis]) + 1
        self.add("slice", x, axis=axis, start=start, stop=stop, step=self.rng.choice([1, 1, 2, 3]))

    def _concat(self, d: DType) -> None:
        x = self.value(d, 1)
        shape = self.tensor(x).shape
        axis = self.rng.randrange(len(shape))

        def fits(t: Any) -> bool:
            same = t.dtype is d and len(t.shape) == len(shape)
            return same and all(at == axis or n == m for at, (n, m) in enumerate(zip(t.shape, shape, strict=True)))

        parts = [x, *(str(self.pick(fits)) for _ in range(self.rng.randint(1, 2)))]
        if self.rng.random() < 0.3:
            parts.append(self.const(shape, d))
        if sum(self.tensor(p).size for p in parts) > MOST:
            parts = [self.regular(x, (5, 3)), self.regular(x, (5, 3))]
            axis = self.rng.randrange(2)
        self.rng.shuffle(parts)
        self.add("concat", *parts, axis=axis)

    def _gather(self, d: DType) -> None:
        x = self.value(d, 1)
        shape = self.tensor(x).shape
        axis = self.rng.randrange(len(shape))
        most = max(1, MOST * shape[axis] // prod(shape))
        count = min(most, self.rng.choice([1, 2, 5, 33]))
        self.add("gather", x, axis=axis, indices=tuple(self.rng.randrange(shape[axis]) for _ in range(count)))

    def _pad(self, d: DType) -> None:
        x = self.value(d, 1)
        if self.tensor(x).size > MOST // 9 or len(self.tensor(x).shape) > 2:
            x = self.regular(x, self.rng.choice([(7,), (5, 3), (1, 9)]))
        before, after = (tuple(self.rng.randint(0, 2) for _ in self.tensor(x).shape) for _ in range(2))
        value = 0 if d is SPIKE else self.rng.choice([0, d.limits[0], d.limits[1], -3])
        self.add("pad", x, before=before, after=after, value=value)

    def _windows(self, d: DType) -> None:
        x = self.regular(self.value(d, 1), self.rng.choice([(9,), (33,), (2, 7), (3, 4, 5), (2, 3, 2, 4)]))
        axes = self.tensor(x).shape[self.rng.randrange(len(self.tensor(x).shape)) :]
        dilation = tuple(self.rng.choice([1, 1, 2]) for _ in axes)
        size = tuple(self.rng.randint(1, min(4, (n - 1) // k + 1)) for n, k in zip(axes, dilation, strict=True))
        stride = tuple(self.rng.randint(1, 3) for _ in axes)
        self.add("windows", x, size=size, stride=stride, dilation=dilation)

    def _update(self, d: DType, policy: str) -> None:
        """A state of its own, and its new value; ops that come later may still read the old one."""
        shape = self.tensor(self.any_value()).shape
        init = whole_numbers(self.numbers, shape, d) if self.rng.random() < 0.6 else np.zeros(shape, d.numpy)
        state = self.b.state(self.b.fresh("state"), init, d, reset=policy)
        new = self.regular(self.value(d), shape)
        self.values.append(state)
        style = self.rng.randrange(4)
        if style == 0:  # the value itself, which others may read too
            pass
        elif d is SPIKE:
            new = self.add(self.rng.choice(["logical_and", "logical_or"]), new, self.add("logical_not", state))
        elif style == 1:
            new = self.add("add", state, new, saturate=self.rng.random() < 0.5)
        else:  # a leaky integrator with a decay in Q7 or Q15
            bits = min(d.bits, 16) - 1
            decay = self.numbers.integers(0, 2**bits, size=self.rng.choice([(), shape[-1:]]))
            factor = self.b.const(self.b.fresh("decay"), decay, INT8 if bits == 7 else INT16)
            kept = self.add("rescale", state, factor, shift=bits, to=d.name)
            new = self.add(self.rng.choice(["add", "sub"]), kept, new, saturate=self.rng.random() < 0.7)
        self.b.update(state, new)

    # --- the end -----------------------------------------------------------------------------------------------------

    def outputs(self) -> None:
        """Every value that nothing reads leaves, those of one dtype side by side; and some that others read."""
        self.turn("outputs")
        unread = [n for n in self.values if n not in self.read]
        made: list[str] = []
        for d in VALUES:
            leaves = [n for n in unread if self.tensor(n).dtype is d]
            if len(leaves) > 1:
                flat = [self.b.op("reshape", n, shape=(self.tensor(n).size,)) for n in leaves]
                made.append(self.b.op("concat", *flat, axis=0))
            else:
                made += leaves
        extra = [n for n in dict.fromkeys(self.rng.choices(self.values, k=2)) if n not in made]
        self.b.output(*made, *extra)
        self.given = (*made, *extra)

    def borders(self, inputs: Sequence[str]) -> None:
        """The entries `quantize` and `dequantize`."""
        self.turn("borders")
        self.b.entry("quantize")
        for name in inputs:
            tensor = self.tensor(name)
            raw = self.b.input(f"{name}.raw", tensor.shape)
            channel = self.rng.choice([(), tensor.shape[-1:]])
            gain = self.numbers.uniform(0.1, 1, channel) * tensor.dtype.limits[1]
            offset = self.b.const(self.b.fresh("offset"), self.numbers.normal(size=channel))
            factor = self.b.const(self.b.fresh("gain"), gain)
            self.b.output(self.b.op("quantize", raw, offset, factor, to=tensor.dtype.name))
        self.b.entry("dequantize")
        for name in self.given:
            tensor = self.tensor(name)
            stored = self.b.input(self.b.fresh(f"{name}.stored"), tensor.shape, tensor.dtype)
            if tensor.dtype is SPIKE:
                self.b.output(self.b.op("cast", stored, to="float32"))
                continue
            scale = self.numbers.uniform(1e-4, 1, self.rng.choice([(), tensor.shape[-1:]]))
            self.b.output(self.b.op("dequantize", stored, self.b.const(self.b.fresh("scale"), scale)))


def random_integer_graph(seed: int, ops: int = FULL, *, name: str | None = None) -> Graph:
    """The program `seed`, of about `ops` ops; every third one takes spikes, and has no border then."""
    maker = _Maker(seed, name or f"r{seed}")
    size, rows = maker.rng.choice(SIZES), maker.rng.choice([1, 2, 3, 5])
    inputs = [maker.b.input("x", (size,), maker.rng.choice((INT8, INT16)))]
    if maker.rng.random() < 0.5:
        inputs.append(maker.b.input("y", (rows, min(size, 33)), maker.rng.choice((INT8, INT16))))
    spikes = seed % 3 == 2
    if spikes:
        inputs.append(maker.b.input("fired", (maker.rng.choice(SIZES),), SPIKE))
    maker.values += inputs
    for at in range(ops):
        maker.turn(at)
        scheduled = CELLS[(seed * DEALT + at) % len(CELLS)]
        maker.cell(scheduled if at < DEALT else maker.rng.choice(CELLS))
    maker.outputs()
    if not spikes:
        maker.borders(inputs)
    return maker.b.build()


def smallest(seed: int, fails: Callable[[Graph], bool], ops: int = FULL) -> int:
    """The fewest ops of a seed with which a check fails."""
    return next(n for n in range(1, ops + 1) if n == ops or fails(random_integer_graph(seed, n)))


def describe(seed: int, ops: int) -> str:
    """How to get a failing program again."""
    return f"random_integer_graph({seed}, {ops})"
