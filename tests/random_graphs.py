"""Random graphs for property tests: any op of the table over a few inputs, states and constants."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from edgekit.ir import FLOAT32, INT8, SPIKE, DType, Graph, GraphBuilder, QuantParams, to_document

UNARY = ("neg", "abs", "tanh", "sigmoid", "relu", "erf", "sin", "cos", "floor", "round")
BINARY = ("add", "sub", "mul", "minimum", "maximum")
COMPARE = ("gt", "ge", "lt", "le")


class _Maker:
    """Adds one random op after another; every value stays finite, of at most 64 elements."""

    def __init__(self, seed: int, quantised: bool, plastic: bool = False) -> None:
        self.rng, self.quantised = random.Random(seed), quantised
        self.kinds = (*self.KINDS, *self.PLASTIC) if plastic else self.KINDS
        self.numbers = np.random.default_rng(seed)
        self.b = GraphBuilder(f"random{seed % 1000}", dt=self.rng.choice([None, 0.05]))
        self.values: list[str] = []

    def const(self, *shape: int) -> str:
        return self.b.const(self.b.fresh("c"), self.numbers.normal(size=shape))

    def weights(self, out: int, *features: int) -> str:
        name, data = self.b.fresh("w"), self.numbers.normal(size=(out, *features)) / np.sqrt(np.prod(features))
        if not (self.quantised and self.rng.random() < 0.3):
            return self.b.const(name, data)
        scale = (np.abs(data.reshape(out, -1)).max(axis=1) / 127).astype(np.float32)
        quant = QuantParams(scale, np.zeros(out, np.int32), 0, -127, 127)
        return self.b.const(name, quant.quantize(data.astype(np.float32)), INT8, quant)

    def pick(self, fits: Callable[[tuple[int, ...], DType], bool] = lambda shape, dtype: True) -> str | None:
        """A value so far, more likely a recent one."""
        good = [n for n in self.values if fits(self.b.tensor(n).shape, self.b.tensor(n).dtype)]
        return self.rng.choice(good[-4:] if good and self.rng.random() < 0.7 else good) if good else None

    def real(self, shape: tuple[int, ...] | None = None) -> str | None:
        return self.pick(lambda s, d: d is FLOAT32 and shape in (None, s))

    def partner(self, name: str) -> str:
        """Something that broadcasts against `name` without making it larger: a value, a scalar or a row."""
        shape = self.b.tensor(name).shape
        choices = [self.const(), self.const(*shape[-1:]), self.const(*shape)]
        other = self.real(shape)
        return self.rng.choice([*choices, other, other] if other else choices)

    def op(self) -> None:
        made = getattr(self, f"_{self.rng.choice(self.kinds)}")()
        if made is not None and self.b.tensor(made).size <= 64:
            self.values.append(made)

    KINDS = (
        *("elementwise", "elementwise", "compare", "logic", "where", "cast", "cast"),
        *("linear", "linear", "linear", "memory", "reduce", "reshape", "reshape", "move", "join"),
        *("conv", "conv", "windows", "pad"),
    )
    PLASTIC = ("matrix", "product", "back", "back", "update", "update", "update")  # weights that are values

    def _elementwise(self) -> str | None:
        x = self.real()
        if x is None:
            return None
        if self.rng.random() < 0.4:
            return self.b.op(self.rng.choice(UNARY), x)
        pair = [x, self.partner(x)]
        self.rng.shuffle(pair)
        y = self.b.op(self.rng.choice(BINARY), *pair)
        return self.b.op("tanh", y) if self.rng.random() < 0.3 else y

    def _compare(self) -> str | None:
        x = self.real()
        return None if x is None else self.b.op(self.rng.choice(COMPARE), x, self.partner(x))

    def _logic(self) -> str | None:
        s = self.pick(lambda _, d: d is SPIKE)
        if s is None:
            return None
        other = self.pick(lambda shape, d: d is SPIKE and shape == self.b.tensor(s).shape)
        kind = self.rng.choice(["logical_not", "logical_and", "logical_or"])
        return self.b.op(kind, s) if kind == "logical_not" else self.b.op(kind, s, str(other))

    def _where(self) -> str | None:
        s = self.pick(lambda _, d: d is SPIKE)
        x = None if s is None else self.real(self.b.tensor(s).shape)
        return None if s is None or x is None else self.b.op("where", s, x, self.partner(x))

    def _cast(self) -> str | None:
        s = self.pick(lambda _, d: d is SPIKE)
        return None if s is None else self.b.op("cast", s, to="float32")

    def _linear(self) -> str | None:
        x = self.pick(lambda shape, _: len(shape) >= 1)
        if x is None:
            return None
        shape = self.b.tensor(x).shape
        out = self.rng.choice([1, 3, 5])
        y_shape = (*shape[:-1], out)
        addend = self.rng.choice([None, self.const(out), self.const(), self.real(y_shape)])
        form = {"form": "sparse"} if self.rng.random() < 0.3 else {}
        y = self.b.op("linear", x, self.weights(out, shape[-1]), *([addend] if addend else []), **form)
        return self.b.op(self.rng.choice(["add", "mul"]), y, self.const(out)) if self.rng.random() < 0.3 else y

    def _matrix(self) -> str | None:
        x = self.real()
        size = self.b.tensor(str(x)).size
        rows = self.rng.choice([n for n in range(1, size + 1) if size % n == 0])
        return self.b.op("reshape", str(x), shape=(rows, size // rows))

    def _weights_of(self, axis: int) -> tuple[str, str] | None:
        """A matrix, and a vector or rows of them that fit one of its axes."""
        w = self.pick(lambda shape, d: d is FLOAT32 and len(shape) == 2)
        if w is None:
            return None
        size = self.b.tensor(w).shape[axis]
        x = self.pick(lambda shape, d: d is FLOAT32 and shape[-1:] == (size,))
        return w, x or self.const(size)

    def _product(self) -> str | None:
        found = self._weights_of(1)
        return None if found is None else self.b.op("tanh", self.b.op("linear", found[1], found[0]))

    def _back(self) -> str | None:
        found = self._weights_of(0)
        return None if found is None else self.b.op("tanh", self.b.op("matvec_t", found[1], found[0]))

    def _update(self) -> str | None:
        found = self._weights_of(1)
        if found is None or len(self.b.tensor(found[1]).shape) > 2:
            return None
        w, b = found
        shape = (*self.b.tensor(b).shape[:-1], self.b.tensor(w).shape[0])
        return self.b.op("outer_add", w, self.real(shape) or self.const(*shape), b)

    def _memory(self) -> str | None:
        m = self.pick(lambda shape, _: len(shape) == 2)
        if m is None:
            return None
        rows, order = self.b.tensor(m).shape
        u = self.pick(lambda shape, _: len(shape) == 2 and shape[0] == rows)
        columns = self.b.tensor(str(u)).shape[1]
        a, b = self.weights(order, order), self.weights(order, columns)
        if self.rng.random() < 0.5:
            return self.b.op("memory_update", m, a, str(u), b)
        return self.b.op("add", self.b.op("linear", m, a), self.b.op("linear", str(u), b))

    def _reduce(self) -> str | None:
        x = self.pick(lambda shape, d: d is FLOAT32 and len(shape) >= 1)
        if x is None:
            return None
        axis, kind = self.rng.randrange(len(self.b.tensor(x).shape)), self.rng.choice(["sum", "amax", "cumsum"])
        if kind == "cumsum":
            reverse, exclusive = self.rng.random() < 0.5, self.rng.random() < 0.5
            return self.b.op("cumsum", x, axis=axis, reverse=reverse, exclusive=exclusive)
        return self.b.op(kind, x, axis=axis, keepdims=self.rng.random() < 0.5)

    def _reshape(self) -> str | None:
        x = self.pick()
        if x is None:
            return None
        size = self.b.tensor(x).size
        rows = self.rng.choice([n for n in range(1, size + 1) if size % n == 0])
        return self.b.op("reshape", x, shape=self.rng.choice([(size,), (rows, size // rows), (size, 1)]))

    def _move(self) -> str | None:
        x = self.pick(lambda shape, _: len(shape) >= 1)
        if x is None:
            return None
        shape = self.b.tensor(x).shape
        axis = self.rng.randrange(len(shape))
        kind = self.rng.choice(["transpose", "slice", "gather", "expand"])
        if kind == "transpose":
            return self.b.op("transpose", x, perm=tuple(self.rng.sample(range(len(shape)), len(shape))))
        if kind == "slice":
            start = self.rng.randrange(shape[axis])
            stop = self.rng.randrange(start, shape[axis]) + 1
            return self.b.op("slice", x, axis=axis, start=start, stop=stop, step=self.rng.choice([1, 1, 2]))
        if kind == "gather":
            indices = tuple(self.rng.randrange(shape[axis]) for _ in range(self.rng.randint(1, 4)))
            return self.b.op("gather", x, axis=axis, indices=indices)
        return self.b.op("expand", x, shape=(2, *shape))

    def _slide(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Sizes, strides and dilations of windows that fit."""
        dilation = tuple(self.rng.choice([1, 1, 2]) for _ in shape)
        size = tuple(self.rng.randint(1, min(3, (n - 1) // d + 1)) for n, d in zip(shape, dilation, strict=True))
        return {"size": size, "stride": tuple(self.rng.randint(1, 2) for _ in shape), "dilation": dilation}

    def _conv(self) -> str | None:
        x = self.pick(lambda shape, _: 2 <= len(shape) <= 4)
        if x is None:
            return None
        channels, *axes = self.b.tensor(x).shape
        groups = self.rng.choice([n for n in range(1, channels + 1) if channels % n == 0])
        slide = self._slide(tuple(axes))
        out = groups * self.rng.choice([1, 2, 5])
        kernel = self.weights(out, channels // groups, *slide.pop("size"))
        bias = [self.const(out)] if self.rng.random() < 0.5 else []
        y = self.b.op("conv", x, kernel, *bias, groups=groups, **slide)
        scale = self.const(out, *(1,) * len(axes))
        return self.b.op(self.rng.choice(["add", "mul"]), y, scale) if self.rng.random() < 0.3 else y

    def _windows(self) -> str | None:
        x = self.pick(lambda shape, _: 1 <= len(shape) <= 3)
        if x is None:
            return None
        shape = self.b.tensor(x).shape
        seen = self.b.op("windows", x, **self._slide(shape[self.rng.randrange(len(shape)) :]))
        real = self.b.tensor(seen).dtype is FLOAT32
        number = seen if real else self.b.op("cast", seen, to="float32")
        axis = len(self.b.tensor(seen).shape) - 1
        return self.b.op("amax", number, axis=axis) if self.rng.random() < 0.5 else seen

    def _pad(self) -> str | None:
        x = self.pick(lambda shape, _: len(shape) >= 1)
        if x is None:
            return None
        sides = [tuple(self.rng.randint(0, 2) for _ in self.b.tensor(x).shape) for _ in range(2)]
        value = self.rng.choice([0.0, -1.5]) if self.b.tensor(x).dtype is FLOAT32 else 0.0
        return self.b.op("pad", x, before=sides[0], after=sides[1], value=value)

    def _join(self) -> str | None:
        x = self.pick(lambda shape, _: len(shape) >= 1)
        if x is None:
            return None
        tensor = self.b.tensor(x)
        other = self.pick(lambda s, d: d is tensor.dtype and len(s) == len(tensor.shape) and s[1:] == tensor.shape[1:])
        return self.b.op("concat", x, str(other), axis=0)


def random_graph(seed: int, ops: int = 12, *, quantised: bool = True, entries: int = 1, plastic: bool = False) -> Graph:
    """A graph of about `ops` ops per entry with two inputs, four states (one kept, one of spikes) and an output each.

    Every state but the spikes is updated through tanh, so that nothing grows without bound. With `plastic`, values
    serve as weights too, and are updated.
    """
    maker = _Maker(seed, quantised, plastic)
    b, rng = maker.b, maker.rng
    size = rng.randint(1, 6)
    u = b.state("u", maker.numbers.normal(size=size) if rng.random() < 0.5 else np.zeros(size))
    s = b.state("s", maker.numbers.random((2, size)) < 0.3, SPIKE)
    k = b.state("kept", maker.numbers.normal(size=(2, size)), reset="keep")
    r = b.state("fired", maker.numbers.random(size) < 0.5)  # floats that only ever hold spikes
    states = (u, s, k, r)
    for at in range(entries):
        if at:
            b.entry(f"entry{at}")
        maker.values = [b.input(f"x{at}", (size,)), b.input(f"y{at}", (2, size)), *states]
        for _ in range(ops):
            maker.op()
        _finish(maker, states)
    return b.build()


def _finish(maker: _Maker, states: tuple[str, str, str, str]) -> None:
    """Update the states from what there is, and let the last value out."""
    b, (u, s, k, r) = maker.b, states
    last = [n for n in maker.values if n not in states][-1]
    source = maker.real() or u
    for state in (u, k):
        shape, size = b.tensor(state).shape, b.tensor(source).size
        flat = b.op("reshape", source, shape=(size,))
        drive = b.op("linear", flat, maker.weights(int(np.prod(shape)), size))
        b.update(state, b.op("tanh", b.op("add", state, b.op("reshape", drive, shape=shape))))
    if maker.rng.random() < 0.8:
        b.update(s, b.op("gt", k, maker.const()))
    b.update(r, b.op("cast", b.op("gt", u, maker.const()), to="float32"))
    spikes = b.tensor(last).dtype is SPIKE
    b.output(b.op("cast", last, to="float32") if spikes else last)
    if maker.rng.random() < 0.3:
        b.output(u)


def random_inputs(graph: Graph, seed: int, batch: int, steps: int, entry: str = "step") -> dict[str, np.ndarray]:
    """Normal inputs [batch, steps, *shape] of an entry, some of them exactly zero."""
    rng = np.random.default_rng(seed)
    inputs = {}
    for name in graph.entries[entry].inputs:
        x = rng.normal(size=(batch, steps, *graph.tensors[name].shape)).astype(np.float32)
        inputs[name] = np.where(rng.random(x.shape) < 0.2, np.float32(0), x)
    return inputs


def same_graph(a: Graph, b: Graph) -> bool:
    """Whether two graphs say the same: structure, attributes and every array bit for bit; tensors in any order."""

    def form(graph: Graph) -> tuple[Any, Any]:
        document, weights = to_document(graph)
        document["tensors"] = sorted(document["tensors"], key=lambda row: str(row["name"]))
        return document, {n: (w.dtype.str, w.shape, w.tobytes()) for n, w in weights.items()}

    return form(a) == form(b)
