"""A sum of terms in integers: real products in int32, spikes in an accumulator of their own, the rest elementwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from edgekit.compress.accumulate import (
    Product,
    apart,
    common_scale,
    folded_zeros,
    product,
    reach_of,
    write_chain,
    write_weights,
)
from edgekit.compress.feedback import Correlation
from edgekit.compress.forms import Form
from edgekit.compress.plan import Plan
from edgekit.compress.stored import Array, Spec, Stored, largest_of, tidy
from edgekit.compress.terms import Dot, Memory, Scaled, Switch, Term, spiking
from edgekit.compress.writer import Writer
from edgekit.ir import INT8, INT16, INT32, DType

Part = Callable[[str], str]  # writes an addend under a name (or returns the one it has) on the scale of the sum
FINER_BITS = 6  # an int8 state is summed this much finer, and rounded once; so its parts may be four times as large


class Values(Protocol):
    """What a sum asks of the rest: values, spikes, and values as operands of a matrix."""

    def value(self, name: str) -> Stored: ...

    def spike(self, name: str) -> str: ...

    def operand(self, name: str, *, memory: bool = False) -> Stored: ...


@dataclass
class _Groups:
    """The terms of a sum by how they are computed."""

    real: list[Dot] = field(default_factory=list)
    real_memory: list[Memory] = field(default_factory=list)
    spikes: list[Dot] = field(default_factory=list)
    spike_memory: list[Memory] = field(default_factory=list)
    scaled: list[Scaled] = field(default_factory=list)
    switches: list[Switch] = field(default_factory=list)
    bias: Array | None = None


class SumLowering:
    """Writes sums; `values` gives what they are made of."""

    def __init__(self, writer: Writer, plan: Plan, values: Values) -> None:
        self.writer, self.plan, self.values = writer, plan, values

    def write(self, root: str, spec: Spec, terms: Sequence[Term], out: str) -> Stored:
        """The sum under the name `out`, held as `spec` says."""
        groups = self._grouped(terms)
        elementwise = bool(groups.scaled or groups.switches or groups.spikes or groups.spike_memory)
        if spec.zero or spec.dtype is INT8:
            products = len(groups.real) + len(groups.real_memory)
            if elementwise or not products:
                return self._narrow(root, spec, groups, out)
        name = self._added(root, self._parts(root, spec, groups), out)
        return self.writer.keep(Stored(name, spec.dtype, tidy(spec.scale), spec.zero))

    def _narrow(self, root: str, spec: Spec, groups: _Groups, out: str) -> Stored:
        """An int8 sum: added up in int16 on a finer scale, rounded once."""
        scale = spec.scale * 2.0**-FINER_BITS
        sums = spec.sums
        fine = Spec(INT16, tidy(scale), sums=sums)
        name = self._added(root, self._parts(root, fine, groups), self.writer.fresh(root, "fine"))
        stored = self.writer.keep(Stored(name, INT16, fine.scale))
        return self.writer.convert(stored, spec, out)

    def _grouped(self, terms: Sequence[Term]) -> _Groups:
        groups = _Groups()
        for term in terms:
            if isinstance(term, Dot):
                (groups.spikes if spiking(term, self.plan.sums) else groups.real).append(term)
            elif isinstance(term, Memory):
                (groups.spike_memory if spiking(term, self.plan.sums) else groups.real_memory).append(term)
            elif isinstance(term, Scaled):
                groups.scaled.append(term)
            elif isinstance(term, Switch):
                groups.switches.append(term)
            else:
                groups.bias = term.data if groups.bias is None else groups.bias + term.data
        return groups

    # --- the parts of a sum ---

    def _parts(self, root: str, spec: Spec, groups: _Groups) -> list[Part]:
        parts: list[Part] = [self._scaled(root, spec, t) for t in groups.scaled]
        bias = groups.bias
        real: Part | None = None
        flat = bias is None or bias.size == 1 or bias.size == bias.shape[-1]
        if groups.real:
            real, bias = self._real(root, spec, groups.real, bias if flat else None), None if flat else bias
        for memory in groups.real_memory:
            parts.append(self._memory(root, spec, memory))
        if groups.spikes:
            products = self._spike_products(groups.spikes, spec.stepped)
            if together := [p for p in products if not p.form.alone]:
                part, joined = self._spikes(root, spec, groups, together, real=real, bias=bias if flat else None)
                parts.append(part)
                real, bias = (None, None if flat else bias) if joined else (real, bias)
            parts += [self._alone(root, spec, p) for p in products if p.form.alone]
        for memory in groups.spike_memory:
            parts.append(self._spike_memory(root, spec, memory))
        if real is not None:
            parts.append(real)
        if bias is not None:
            data = bias
            parts.append(lambda _out: self.writer.number(root, "bias", data, spec.dtype, spec.scale))
        parts += [self._switch(root, spec, t) for t in groups.switches]
        return parts

    def _added(self, root: str, parts: Sequence[Part], out: str) -> str:
        """The parts added up, saturating, in the shape of the sum; the ranges tell later where nothing can."""
        if len(parts) == 1:
            return self._shaped(root, parts[0](self.writer.fresh(root, "part") if self._broadcasts(root) else out), out)
        total = parts[0](self.writer.fresh(root, "part"))
        for at, part in enumerate(parts[1:], 2):
            addend = part(self.writer.fresh(root, "part"))
            name = out if at == len(parts) and not self._broadcasts(root) else self.writer.fresh(root, "total")
            total = self.writer.op("add", total, addend, out=name, saturate=True)
        return self._shaped(root, total, out)

    def _broadcasts(self, root: str) -> bool:
        """Whether a sum is larger than every value in it, and gets its shape from a constant alone."""
        shape = self.plan.sums.tensor(root).shape
        return not any(self._shape_of(t) == shape for t in self.plan.terms(root))

    def _shape_of(self, term: Term) -> tuple[int, ...] | None:
        tensor = self.plan.sums.tensor
        if isinstance(term, Dot):
            return (*tensor(term.x).shape[:-1], term.weights.shape[0])
        if isinstance(term, Memory):
            return tensor(term.m).shape
        name = term.value if isinstance(term, Scaled) else term.spike if isinstance(term, Switch) else None
        return None if name is None else tensor(name).shape

    def _shaped(self, root: str, name: str, out: str) -> str:
        """The sum under the name `out`, spread to its shape where it is smaller."""
        shape = self.plan.sums.tensor(root).shape
        if self.writer.builder.tensor(name).shape != shape:
            return self.writer.op("expand", name, out=out, shape=shape)
        if name == out or self._broadcasts(root):
            return name
        return self.writer.op("cast", name, out=out, to=self.writer.dtype(name).name)

    def _scaled(self, root: str, spec: Spec, term: Scaled) -> Part:
        def write(out: str) -> str:
            x = self.values.value(term.value)
            if x.zero:
                x = self.writer.convert(x, Spec(INT16, x.scale), self.writer.fresh(root, "signed"))
            ratio = tidy(term.factor * tidy(x.scale / spec.scale))
            if x.dtype is spec.dtype and ratio.ndim == 0 and ratio == 1:
                return x.name
            return self.writer.rescale(x.name, ratio, spec.dtype, out, decay=True)

        return write

    def _switch(self, root: str, spec: Spec, term: Switch) -> Part:
        def write(out: str) -> str:
            on, off = (
                self.writer.number(root, what, data, spec.dtype, spec.scale)
                for what, data in (("on", term.on), ("off", term.off))
            )
            return self.writer.op("where", self.values.spike(term.spike), on, off, out=out)

        return write

    def _real(self, root: str, spec: Spec, dots: Sequence[Dot], bias: Array | None) -> Part:
        def write(out: str) -> str:
            products = [self._product(root, dot) for dot in dots]
            rows = dots[0].weights.shape[0]
            constant = np.zeros(rows) if bias is None else np.broadcast_to(bias.reshape(-1), (rows,))
            constant = constant + spec.zero * _rows(spec.scale, rows)
            total, scale, reach = None, np.ones(rows), np.abs(constant)
            for group in apart(products):
                finer, scale = scale, common_scale(group, reach, _rows(spec.scale, rows))
                if total is not None:
                    total = self.writer.rescale(total, finer / scale, INT32, self.writer.fresh(root, "aligned"))
                total, constant = self._chain(root, group, scale, total, constant)
                reach = reach + sum(np.abs(p.effective).sum(axis=1) * p.x.limit for p in group)
            assert total is not None
            return self.writer.rescale(total, scale / _rows(spec.scale, rows), spec.dtype, out)

        return write

    def _chain(
        self, root: str, products: Sequence[Product], scale: Array, addend: str | None, constant: Array
    ) -> tuple[str, Array]:
        """Products in one accumulator, onto an addend or the constant, and what is left of the constant."""
        zeros = folded_zeros(products, scale)
        if addend is None:
            offset, constant = np.floor(constant / scale + 0.5) - zeros, np.zeros_like(constant)
            if offset.any():
                addend = self.writer.const(f"{root}/bias", offset, INT32)
        elif zeros.any():
            shift = self.writer.const(f"{root}/zeros", -zeros, INT32)
            addend = self.writer.op("add", addend, shift, out=self.writer.fresh(root, "shifted"))
        name = self.writer.fresh(root, "sum")
        return write_chain(self.writer, root, products, scale, addend, out=name), constant

    def _product(self, root: str, dot: Dot) -> Product:
        x = self.values.operand(dot.x)
        form = self.plan.weights.form(dot, self.plan.sums.feeds_itself(root, dot.x))
        return product(x, dot, form, self._correlation(dot))

    def _memory(self, root: str, spec: Spec, memory: Memory) -> Part:
        def write(out: str) -> str:
            m, u = (self.values.operand(n, memory=True) for n in (memory.m, memory.u))
            form = Form(self.plan.recipe.memory_bits)
            products = [product(x, dot, form) for x, dot in ((m, memory.a), (u, memory.b))]
            scale = common_scale(products, np.zeros(memory.a.weights.shape[0]))
            return self._update(root, spec, products, scale, dtype=INT32, out=out)

        return write

    def _update(
        self, root: str, spec: Spec, products: Sequence[Product], scale: Array, *, dtype: DType, out: str
    ) -> str:
        a, b = (write_weights(self.writer, p, scale) for p in products)
        (m, u), name = (p.x.name for p in products), self.writer.fresh(root, "sum")
        total = self.writer.op("memory_update", m, a, u, b, out=name, accumulate=dtype.name)
        return self._onto(total, tidy(scale / _rows(spec.scale, scale.size)), spec.dtype, out)

    def _onto(self, total: str, ratio: Array, dtype: DType, out: str) -> str:
        """An accumulator on the scale of the sum; itself where that is its own."""
        if ratio.ndim == 0 and ratio == 1 and self.writer.dtype(total) is dtype:
            return total
        return self.writer.rescale(total, ratio, dtype, out)

    # --- spikes ---

    def _spike_scale(self, spec: Spec, rows: int) -> Array:
        scale = spec.scale if spec.sums is None else spec.sums
        return np.array(_rows(scale, rows))

    def _spike_products(self, dots: Sequence[Dot], stepped: bool) -> list[Product]:
        forms = self.plan.weights.forms(dots, stepped)
        return [product(self.values.operand(d.x), d, f, self._correlation(d)) for d, f in zip(dots, forms, strict=True)]

    def _correlation(self, dot: Dot) -> Correlation | None:
        return self.plan.bounds.calibration.correlation(dot.x)

    def _alone(self, root: str, spec: Spec, p: Product) -> Part:
        """Weights of spikes on a scale of their own, added up apart from all others and then rounded."""

        def write(out: str) -> str:
            scale = np.where(p.own_scale > 0, p.own_scale, max(float(p.own_scale.max()), 1e-30))
            up, down = reach_of([p], scale)
            dtype = INT16 if max(up.max(), down.max()) <= largest_of(INT16) else INT32
            total = write_chain(self.writer, root, [p], scale, None, out=self.writer.fresh(root, "alone"), dtype=dtype)
            return self.writer.rescale(total, tidy(scale / _rows(spec.scale, scale.size)), spec.dtype, out)

        return write

    def _spikes(
        self,
        root: str,
        spec: Spec,
        groups: _Groups,
        products: Sequence[Product],
        *,
        real: Part | None,
        bias: Array | None,
    ) -> tuple[Part, bool]:
        """Weights of spikes, and whether reals and bias joined them: they do where one accumulator holds the sum."""
        rows = groups.spikes[0].weights.shape[0]
        scale = self._spike_scale(spec, rows)
        up, down = reach_of(products, scale)
        dtype = INT16 if max(up.max(), down.max()) <= largest_of(INT16) else INT32
        same = spec.dtype is dtype and np.array_equal(_rows(spec.scale, rows), scale)
        reach = self._reach_of_reals(root, spec, groups)
        fits = bool((np.maximum(up, down) + reach / scale + 2 <= largest_of(dtype)).all())
        joined = same and fits and (real is not None or bias is not None)

        def write(out: str) -> str:
            addend = None
            if joined and real is not None:
                addend = real(self.writer.fresh(root, "reals"))
            elif joined and bias is not None:
                addend = self.writer.number(root, "bias", np.broadcast_to(bias.reshape(-1), (rows,)), dtype, scale)
            name = out if same else self.writer.fresh(root, "events")
            total = write_chain(self.writer, root, products, scale, addend, out=name, dtype=dtype)
            return self._onto(total, tidy(scale / _rows(spec.scale, rows)), spec.dtype, out)

        return write, joined

    def _reach_of_reals(self, root: str, spec: Spec, groups: _Groups) -> Array:
        """The largest magnitude that real products and the bias can add: operands may be all that their dtype holds."""
        products = [self._product(root, dot) for dot in groups.real]
        constant = np.zeros(()) if groups.bias is None else np.abs(groups.bias)
        if not products:
            return constant
        scale = common_scale(products, constant, _rows(spec.scale, len(products[0].effective)))
        sums = (np.abs(p.stored_at(scale)).sum(axis=1) * scale * p.x.limit for p in products)
        return np.asarray(constant + sum(sums))

    def _spike_memory(self, root: str, spec: Spec, memory: Memory) -> Part:
        def write(out: str) -> str:
            pairs = ((memory.m, memory.a), (memory.u, memory.b))
            form = Form(self.plan.recipe.memory_bits)
            products = [product(self.values.operand(n), d, form) for n, d in pairs]
            scale = self._spike_scale(spec, memory.a.weights.shape[0])
            up, down = reach_of(products, scale)
            dtype = INT16 if max(up.max(), down.max()) <= largest_of(INT16) else INT32
            return self._update(root, spec, products, scale, dtype=dtype, out=out)

        return write


def _rows(scale: Array, rows: int) -> Array:
    """A scale per output of a matrix: what varies, varies along the last axis."""
    scale = np.asarray(scale)
    return np.broadcast_to(scale if scale.ndim == 0 else scale.reshape(-1, scale.shape[-1])[0], (rows,))
