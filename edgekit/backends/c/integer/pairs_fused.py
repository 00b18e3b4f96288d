"""Fused ops four elements at a time: int8, int16 and spikes as two pairs in registers, int32 in a register each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer.body import Body, body_of, constant_of, indented, is_shrinking
from edgekit.backends.c.integer.context import Context
from edgekit.backends.c.integer.forms import Code
from edgekit.backends.c.integer.fused import HIGH_LIMIT, HIGH_SHIFT, literal
from edgekit.ir import FLOAT32, INT8, INT16, INT32, SPIKE, DType, Entry, Op
from edgekit.ir.dtypes import DTYPES
from edgekit.ir.ops.elementwise import COMPARE, Line

PAIRS, SINGLES = "pq", "abcd"  # names of the registers that hold four elements
# a > b is the sign of b - a, and so on: whether the operands change places, and whether the sign is inverted
ORDERS = {"gt": (True, False), "lt": (False, False), "le": (True, True), "ge": (False, True)}
PAIR_SHIFT = 15
SHORT_SHIFT = 30  # the most of a product of two int16 that is rounded in int32
HALF_SHIFTS = 17, 46  # of a product that is cut at bit 16 first: what is added to round it is an int32


def in_fours(ctx: Context, entry: Entry, op: Op) -> Code | None:
    """A chain four values at a time; None where reals take part."""
    body = body_of(ctx, op)
    types = [body.types[body.arity + at] for at in body.used] + [ctx.tensor(n) for n in op.inputs]
    if any(t.dtype is FLOAT32 for t in types):
        return None
    return Code("map_pairs", _loop(ctx, body, _Fours(ctx, entry, body)))


def _paired(dtype: DType) -> bool:
    return dtype is not INT32


@dataclass
class _Fours:
    """Writes a body in verbs: `pointers` go before the loop, `loads` and then `made` into it.

    `values` are the C expressions of the values: two pairs, or four int32.
    """

    ctx: Context
    entry: Entry
    body: Body
    pointers: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    values: dict[int, list[str]] = field(default_factory=dict)

    def dtype(self, number: int) -> DType:
        return self.body.types[number].dtype

    # --- values --------------------------------------------------------------------------------------------------

    def declare(self, name: str, expressions: Sequence[str]) -> list[str]:
        """Constants of the loop's body, and their names."""
        registers, ctype = (PAIRS, "uint32_t") if len(expressions) == len(PAIRS) else (SINGLES, "int32_t")
        names = [f"{name}{r}" for r in registers]
        self.made.extend(f"const {ctype} {n} = {e};" for n, e in zip(names, expressions, strict=True))
        return names

    def pairs(self, number: int) -> list[str]:
        """A value as two pairs."""
        found = self.values[number]
        if len(found) == len(SINGLES):
            joined = [f"ek_pair({low}, {high})" for low, high in zip(found[::2], found[1::2], strict=True)]
            found = self.values[number] = self.declare(f"v{number}", joined)
        return found

    def singles(self, number: int) -> list[str]:
        """A value as four int32; of a mask 0 and -1."""
        found = self.values[number]
        return found if len(found) == len(SINGLES) else _halves(found)

    def load(self, number: int) -> None:
        """Declare and load an input."""
        name, dtype = self.body.op.inputs[number], self.dtype(number)
        data, shape = self.ctx.const(self.entry, name), self.body.types[self.body.results[0]].shape
        v, registers = f"v{number}", PAIRS if _paired(dtype) else SINGLES
        if data is not None and dtype is not SPIKE and np.unique(data).size == 1:
            value = int(data.flat[0])
            text = f"{value & 0xFFFF}u * 0x10001u" if _paired(dtype) else literal(value)
            self.pointers.append(f"const {'uint32_t' if _paired(dtype) else 'int32_t'} {v} = {text};")
            self.values[number] = [v] * len(registers)
            return
        where = self.ctx.pointer(self.entry, name) if data is None else self.ctx.whole(self.entry, name, shape)
        self.values[number] = [f"{v}{r}" for r in registers]
        if dtype is SPIKE:
            self.loads += [f"const uint32_t {v}{r} = ek_pair_mask(w{number} >> {k});" for k, r in enumerate(PAIRS)]
            self.loads.append(f"w{number} >>= 2;")
            return
        self.pointers.append(f"const ek_word *a{number} = (const ek_word *){where};")
        if dtype is INT8:
            self.loads += [f"uint32_t {', '.join(self.values[number])};"]
            self.loads.append(f"EK_LOAD_BYTES(a{number}, {', '.join(self.values[number])});")
        else:
            self.loads += _loaded(f"a{number}", self.values[number], "uint32_t" if _paired(dtype) else "int32_t")

    # --- lines ---------------------------------------------------------------------------------------------------

    def line(self, at: int) -> None:
        """Write one line."""
        kind, operands, pairs = line = self.body.lines[at]
        number, attrs = self.body.arity + at, dict(pairs)
        if kind == "rescale":
            self.values[number] = self._rescale(at, line)
        elif kind == "cast":
            self.values[number] = self._cast(number, operands[0], DTYPES[attrs["to"]])
        elif self.ordered(number) is None or self.needs_mask(number):
            saturating = "s" * bool(attrs.get("saturate", False))
            if all(_paired(self.dtype(o)) for o in operands):
                self.values[number] = self.declare(f"v{number}", self._in_pairs(line, saturating))
            else:
                self.values[number] = self._in_singles(number, line, saturating)

    def ordered(self, number: int) -> Line | None:
        """The line of a value, where that compares pairs by their order."""
        at = number - self.body.arity
        line = self.body.lines[at] if at >= 0 else None
        return line if line is not None and line[0] in ORDERS and _paired(self.dtype(line[1][0])) else None

    def needs_mask(self, number: int) -> bool:
        """Whether a comparison is read by anything but choices of pairs, which compare for themselves, and stores."""
        lines = [(at, self.body.lines[at]) for at in self.body.used]
        return any(
            number in operands and not (kind == "where" and _paired(self.dtype(self.body.arity + at)))
            for at, (kind, operands, _) in lines
        )

    def _in_pairs(self, line: Line, saturating: str) -> list[str]:
        kind, operands, _ = line
        if kind == "where" and (condition := self.ordered(operands[0])) is not None:
            (swapped, inverted), (a, b) = ORDERS[condition[0]], condition[1]
            first, second = (b, a) if swapped else (a, b)
            yes, no = operands[1:] if inverted else operands[:0:-1]  # chosen where first >= second
            return self._called("ek_pair_choose", (first, second, yes, no))
        if kind in ("add", "sub", "neg", "abs") and self.dtype(operands[0]) is INT8:
            again = "ek_pair_sat_8" if saturating else "ek_even_bytes"
            return [f"{again}({call})" for call in self._called(f"ek_pair_{kind}", operands)]
        return self._called(f"ek_pair_{kind.removeprefix('logical_')}{saturating}", operands)

    def _called(self, verb: str, operands: Sequence[int]) -> list[str]:
        columns = zip(*(self.pairs(o) for o in operands), strict=True)
        return [f"{verb}({', '.join(column)})" for column in columns]

    def _in_singles(self, number: int, line: Line, saturating: str) -> list[str]:
        kind, operands, _ = line
        columns = zip(*(self.singles(o) for o in operands), strict=True)
        calls = [f"ek_{kind}{saturating}_32({', '.join(column)})" for column in columns]
        if kind in COMPARE:
            calls = [f"ek_pair(-{low}, -{high})" for low, high in zip(calls[::2], calls[1::2], strict=True)]
        return self.declare(f"v{number}", calls)

    def _cast(self, number: int, x: int, to: DType) -> list[str]:
        source = self.dtype(x)
        if source is SPIKE:
            ones = self.declare(f"v{number}", [f"{v} & 0x10001u" for v in self.pairs(x)])
            return ones if _paired(to) else _halves(ones)
        if to is INT32:
            return self.declare(f"v{number}", self.singles(x)) if source is not INT32 else self.values[x]
        if source is INT32:
            return self.declare(f"s{number}", [f"ek_clip_{to.bits}({v})" for v in self.values[x]])
        narrow = to.bits < source.bits
        return self.declare(f"v{number}", [f"ek_pair_sat_8({v})" for v in self.pairs(x)]) if narrow else self.pairs(x)

    def _rescale(self, at: int, line: Line) -> list[str]:
        _, (x, m), pairs = line
        shift, to = dict(pairs)["shift"], DTYPES[dict(pairs)["to"]]
        number, source = self.body.arity + at, self.dtype(x)
        factor = constant_of(self.ctx, self.entry, self.body, m)
        shrinking = is_shrinking(self.ctx, self.entry, self.body, line)
        if factor is not None and np.unique(factor).size == 1 and shrinking and _paired(source) and shift <= PAIR_SHIFT:
            once = int(factor.flat[0]) << PAIR_SHIFT - shift  # of a decay; of 2^15 itself there is no int16
            if once < 2**PAIR_SHIFT:
                # one instruction less where twice the factor is an int16 too
                verb, once = ("ek_pair_scaled16", 2 * once) if 2 * once < 2**PAIR_SHIFT else ("ek_pair_scaled15", once)
                scaled = self.declare(f"v{number}", [f"{verb}({v}, {once}u)" for v in self.pairs(x)])
                return scaled if _paired(to) else _halves(scaled)
        products, wide = self._products(at, line, factor)
        if wide or (to is not INT32 and not shrinking):
            products = [f"ek_clip_{'wide_' * wide}{to.bits}({product})" for product in products]
        return self.declare(f"s{number}" if _paired(to) else f"v{number}", products)

    def _products(self, at: int, line: Line, factor: Array | None) -> tuple[list[str], bool]:
        """The four rescaled values before they are clipped, and whether they are int64."""
        _, (x, m), pairs = line
        shift, to, source = dict(pairs)["shift"], DTYPES[dict(pairs)["to"]], self.dtype(x)
        short = shift <= SHORT_SHIFT and source is not INT32
        if factor is None:
            narrow = short and self.dtype(m) is not INT32
            verb, factors = "ek_scaled" if narrow else "ek_scaled_wide", self.singles(m)
            last = f", {shift}u"
        elif source is INT32 and shift <= HIGH_SHIFT and (np.abs(factor) < HIGH_LIMIT >> HIGH_SHIFT - shift).all():
            factors = self._factors(at, m, factor * 2 ** (HIGH_SHIFT + 1 - shift))
            verb, last = "ek_scaled_high", ""
        elif source is INT32 and shift == HIGH_SHIFT and to is INT32 and (factor >= 0).all():
            verb, last, factors = "ek_scaled_below", "", self._factors(at, m, factor * 2)
        elif source is not INT32 and HALF_SHIFTS[0] <= shift <= HALF_SHIFTS[1]:
            words, factors = [v for v in self.pairs(x) for _ in range(2)], self._factors(at, m, factor)
            verbs = ("ek_scaled_low", "ek_scaled_top") * 2
            return [f"{v}({w}, {f}, {shift}u)" for v, w, f in zip(verbs, words, factors, strict=True)], False
        else:
            verb = "ek_scaled" if short and (np.abs(factor) < 2**15).all() else "ek_scaled_wide"
            last, factors = f", {shift}u", self._factors(at, m, factor)
        calls = [f"{verb}({v}, {f}{last})" for v, f in zip(self.singles(x), factors, strict=True)]
        return calls, verb == "ek_scaled_wide"

    def _factors(self, at: int, m: int, data: Array) -> list[str]:
        """The four factors of a line modulo 2^32: literals, or loaded from an array of their own."""
        factor = data.astype(np.int32)
        if np.unique(factor).size == 1:
            return [literal(int(factor.flat[0]))] * 4
        shape, name = self.body.types[self.body.results[0]].shape, f"f{at}"
        key = (self.body.op.inputs[m], f"of line {at}, as {list(shape)}", self.body.op.outputs[0])
        array = self.ctx.array(key, INT32, np.broadcast_to(factor, shape))
        self.pointers.append(f"const ek_word *{name} = (const ek_word *){array};")
        names = [f"{name}{r}" for r in SINGLES]
        self.loads += _loaded(name, names, "int32_t")
        return names

    # --- results -------------------------------------------------------------------------------------------------

    def signs(self, number: int) -> tuple[list[str], bool]:
        """What has the sign of each spike of a value, and whether a sign means that there is none."""
        line = self.ordered(number)
        if line is None or self.needs_mask(number):
            return self.pairs(number), False
        swapped, inverted = ORDERS[line[0]]
        return self._called("ek_pair_subs", line[1][::-1] if swapped else line[1]), inverted

    def store(self, number: int, y: str, where: str) -> list[str]:
        """The lines that store a value that is no spike."""
        dtype = self.dtype(number)
        if dtype is INT8 and len(self.values[number]) == len(SINGLES):
            self.pointers.append(f"ek_i8 *{y} = {where};")
            return [*(f"{y}[{i}] = (int8_t){v};" for i, v in enumerate(self.values[number])), f"{y} += 4;"]
        self.pointers.append(f"ek_word *{y} = (ek_word *){where};")
        if dtype is INT8:
            return [f"EK_STORE_BYTES({y}, {', '.join(self.pairs(number))});"]
        values = self.pairs(number) if dtype is INT16 else self.values[number]
        return [f"EK_STORE2({y}, {a}, {b});" for a, b in zip(values[::2], values[1::2], strict=True)]


def _halves(pairs: Sequence[str]) -> list[str]:
    """Two pairs as four int32."""
    return [f"ek_{half}({v})" for v in pairs for half in ("low", "high")]


def _loaded(a: str, names: Sequence[str], ctype: str) -> list[str]:
    """Whole words of an array into registers, the pointer moved on."""
    ends = zip(names[::2], names[1::2], strict=True)
    return [f"{ctype} {', '.join(names)};", *(f"EK_LOAD2({a}, {b}, {c});" for b, c in ends)]


def _loop(ctx: Context, body: Body, fours: _Fours) -> list[str]:
    """The function: a loop over fours, within one over the words of spikes where there are any."""
    op, shape, n = body.op, ctx.tensor(body.op.outputs[0]).shape, ctx.tensor(body.op.outputs[0]).size
    before, after, last = list[str](), list[str](), list[str]()
    for i, name in enumerate(op.inputs):
        if not _is_loaded(ctx, fours, i):
            continue
        fours.load(i)
        if body.types[i].dtype is SPIKE:
            is_const = ctx.const(fours.entry, name) is not None
            where = ctx.whole(fours.entry, name, shape) if is_const else ctx.pointer(fours.entry, name)
            before.append(f"uint32_t w{i} = {where}[w];")
    for at in body.used:
        fours.line(at)
    stores, words = list[str](), -(-n // 32)
    for number, (name, result) in enumerate(zip(op.outputs, body.results, strict=True)):
        y, where = f"y{number}", ctx.pointer(fours.entry, name)
        if body.types[result].dtype is not SPIKE:
            stores += fours.store(result, y, where)
            continue
        signs, inverted = fours.signs(result)
        fours.pointers.append(f"ek_word *const {y} = {where};")
        before.append(f"uint32_t b{number} = 0;")
        stores += [f"b{number} = ek_pair_collect(b{number}, {sign});" for sign in signs]
        moved = f"b{number} >> (16u - 2u * take)" if n % 32 else f"b{number}"
        after.append(f"{y}[w] = {'~' * inverted}({moved});")
        if n % 32:
            there = sum(1 << ctx.flavour.slots[i] for i in range(n % 32))
            last.append(f"{y}[{words - 1}] &= 0x{there:08x}u;")
    inner = [*fours.loads, *fours.made, *stores]
    if not any(ctx.tensor(t).dtype is SPIKE for t in (*op.inputs, *op.outputs)):
        head = f"EK_UNROLL1 for (k = 0; k < {-(-n // 4)}u; ++k) {{"
        return [*fours.pointers, "uint32_t k;", head, *indented(1, inner), "}"]
    fewer = -(-(n % 32) // 4)
    take = f"w == {words - 1}u ? {fewer}u : 8u" if fewer % 8 else "8u"
    return [
        *fours.pointers,
        "uint32_t w, k;",
        f"EK_UNROLL1 for (w = 0; w < {words}u; ++w) {{",
        *indented(1, [f"const uint32_t take = {take};", *before]),
        f"    EK_UNROLL{2 if n >= 32 else 1} for (k = 0; k < take; ++k) {{",
        *indented(2, inner),
        "    }",
        *indented(1, after),
        "}",
        *last,
    ]


def _is_loaded(ctx: Context, fours: _Fours, i: int) -> bool:
    """Whether an input is read other than as a constant factor, which a line has in a form of its own."""
    body, lines = fours.body, [fours.body.lines[at] for at in fours.body.used]
    is_const = constant_of(ctx, fours.entry, body, i) is not None
    return any(
        o == i and not (is_const and kind == "rescale" and k == 1) for kind, os, _ in lines for k, o in enumerate(os)
    )
