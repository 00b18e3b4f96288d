"""Fused ops four elements at a time: int16 and spikes as two pairs in registers, int8 and int32 in a register each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer.body import Body, body_of, constant_of, indented, is_shrinking
from edgekit.backends.c.integer.context import Context
from edgekit.backends.c.integer.forms import Code
from edgekit.backends.c.integer.fused import HIGH_LIMIT, HIGH_SHIFT, literal
from edgekit.ir import INT8, INT16, INT32, SPIKE, DType, Entry, Op
from edgekit.ir.dtypes import DTYPES
from edgekit.ir.ops.elementwise import LOGIC, Line

PAIRS, SINGLES = "pq", "abcd"  # names of the registers that hold four elements
PAIR_KINDS = frozenset({"add", "sub", "neg", "minimum", "maximum", "relu", "where", *LOGIC})
SINGLE_KINDS = frozenset({"add", "sub", "neg", "minimum", "maximum", "relu", "abs"})
# a > b is the sign of b - a, and so on: whether the operands change places, and whether the sign is inverted
COMPARES = {"gt": (True, False), "lt": (False, False), "le": (True, True), "ge": (False, True)}
PAIR_SHIFT = 15
SHORT_SHIFT = 30  # the most of a product of two int16 that is rounded in int32
HALF_SHIFTS = 17, 46  # of a product that is cut at bit 16 first: what is added to round it is an int32
WHOLE = (INT8, INT16, INT32)


def in_fours(ctx: Context, entry: Entry, op: Op) -> Code | None:
    """Four values at a time; None where a line has no verb for that."""
    body = body_of(ctx, op)
    lines = [_Lines(ctx, entry, body).line(at) for at in body.used]
    if any(line is None for line in lines):
        return None
    return Code("map_pairs", _loop(ctx, entry, body))


def _registers(dtype: DType) -> str:
    return PAIRS if dtype in (INT16, SPIKE) else SINGLES


@dataclass(frozen=True)
class _Lines:
    """Writes the lines of a body in verbs; `pointers` are declared before the loop, `loads` come before the lines."""

    ctx: Context
    entry: Entry
    body: Body
    pointers: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    factors: dict[int, tuple[tuple[str, ...], Array]] = field(default_factory=dict)

    def dtype(self, number: int) -> DType:
        return self.body.types[number].dtype

    def compared(self, number: int) -> Line | None:
        """The line of a value, where that is a comparison of pairs."""
        at = number - self.body.arity
        line = self.body.lines[at] if at >= 0 else None
        return line if line is not None and line[0] in COMPARES else None

    def needs_mask(self, number: int) -> bool:
        """Whether a spike value is read as a mask: by anything but a choice that compares for itself, or a store."""
        if self.compared(number) is None:
            return True
        lines = [self.body.lines[at] for at in self.body.used]
        return any(number in operands and kind != "where" for kind, operands, _ in lines)

    def line(self, at: int) -> list[str] | None:
        """The declarations of the value of a line; None where there are no verbs for it."""
        kind, operands, pairs = line = self.body.lines[at]
        number = self.body.arity + at
        types = [self.dtype(o) for o in operands]
        if kind == "rescale":
            return self._rescale(at, line)
        if kind == "cast":
            return self._cast(number, operands[0], DTYPES[dict(pairs)["to"]])
        if kind in COMPARES:
            return self._compare(number, line) if types[0] is INT16 else None
        saturating = "s" * bool(dict(pairs).get("saturate", False))
        if kind in PAIR_KINDS and all(t in (INT16, SPIKE) for t in types):
            if kind == "where" and (condition := self.compared(operands[0])) is not None:
                return self._choose(number, condition, operands[1:])
            verb = f"ek_pair_{kind.removeprefix('logical_')}{saturating}"
            return self._each(number, "uint32_t", verb, operands, PAIRS)
        if kind in SINGLE_KINDS and types[0] in (INT8, INT32):
            return self._each(number, "int32_t", f"ek_{kind}{saturating}_{types[0].bits}", operands, SINGLES)
        return None

    def _each(self, number: int, ctype: str, verb: str, operands: Sequence[int], registers: str) -> list[str]:
        calls = [(r, ", ".join(f"v{o}{r}" for o in operands)) for r in registers]
        return [f"const {ctype} v{number}{r} = {verb}({args});" for r, args in calls]

    def _compare(self, number: int, line: Line) -> list[str] | None:
        if not self.needs_mask(number):
            return []
        return self._each(number, "uint32_t", f"ek_pair_{line[0]}", line[1], PAIRS)

    def _choose(self, number: int, condition: Line, values: Sequence[int]) -> list[str] | None:
        kind, (a, b), _ = condition
        if self.dtype(a) is not INT16:
            return None
        swapped, inverted = COMPARES[kind]
        first, second = (b, a) if swapped else (a, b)
        yes, no = values if inverted else values[::-1]  # chosen where first >= second
        return self._each(number, "uint32_t", "ek_pair_choose", (first, second, yes, no), PAIRS)

    def collected(self, number: int) -> tuple[list[str], bool]:
        """What has the sign of each spike of a value, and whether a sign means that there is none."""
        line = self.compared(number)
        if line is None or self.needs_mask(number):
            return [f"v{number}{r}" for r in PAIRS], False
        swapped, inverted = COMPARES[line[0]]
        a, b = line[1][::-1] if swapped else line[1]
        return [f"ek_pair_subs(v{a}{r}, v{b}{r})" for r in PAIRS], inverted

    def _cast(self, number: int, x: int, to: DType) -> list[str] | None:
        source = self.dtype(x)
        if source is SPIKE:
            if to is not INT16:
                return None
            return [f"const uint32_t v{number}{r} = v{x}{r} & 0x10001u;" for r in PAIRS]
        if source not in WHOLE:
            return None
        parts = [f"ek_low(v{x}{r})" for r in PAIRS], [f"ek_high(v{x}{r})" for r in PAIRS]
        singles = [p for pair in zip(*parts, strict=True) for p in pair] if source is INT16 else []
        return self._made(number, singles or [f"v{x}{r}" for r in SINGLES], to, clip=to.bits < source.bits)

    def _made(self, number: int, singles: Sequence[str], to: DType, *, clip: bool) -> list[str]:
        """Four int32 expressions as a value of a dtype."""
        made = [f"ek_clip_{to.bits}({s})" if clip else s for s in singles]
        if to is INT16:
            made = [f"ek_pair({low}, {high})" for low, high in zip(made[::2], made[1::2], strict=True)]
        ctype = "uint32_t" if to is INT16 else "int32_t"
        return [f"const {ctype} v{number}{r} = {m};" for r, m in zip(_registers(to), made, strict=True)]

    def _rescale(self, at: int, line: Line) -> list[str] | None:
        _, (x, m), pairs = line
        shift, to = dict(pairs)["shift"], DTYPES[dict(pairs)["to"]]
        number, source = self.body.arity + at, self.dtype(x)
        factor = constant_of(self.ctx, self.entry, self.body, m)
        if factor is None:
            return None
        shrinking = is_shrinking(self.ctx, self.entry, self.body, line)
        if source is INT16 and to is INT16 and shift == PAIR_SHIFT and shrinking and np.unique(factor).size == 1:
            return self._halved(number, x, int(factor.flat[0]))
        made, wide = self._products(at, line, factor)
        if (to is not INT32 and not shrinking) or wide:
            made = [f"ek_clip_{'wide_' * wide}{to.bits}({product})" for product in made]
        return self._made(number, made, to, clip=False)

    def _products(self, at: int, line: Line, factor: Array) -> tuple[list[str], bool]:
        """The four rescaled values before they are clipped, and whether they are int64."""
        _, (x, m), pairs = line
        shift, to, source = dict(pairs)["shift"], DTYPES[dict(pairs)["to"]], self.dtype(x)
        values = [f"v{x}{r}" for r in SINGLES]
        if source is INT16:
            values = [f"ek_{half}(v{x}{r})" for r in PAIRS for half in ("low", "high")]
        if source is INT32 and shift <= HIGH_SHIFT and bool((np.abs(factor) < HIGH_LIMIT >> HIGH_SHIFT - shift).all()):
            verb, last, factor = "ek_scaled_high", "", factor * 2 ** (HIGH_SHIFT + 1 - shift)
        elif source is INT32 and shift == HIGH_SHIFT and to is INT32 and bool((factor >= 0).all()):
            verb, last, factor = "ek_scaled_below", "", factor * 2
        elif source is INT16 and HALF_SHIFTS[0] <= shift <= HALF_SHIFTS[1]:
            words, factors = [f"v{x}{r}" for r in PAIRS for _ in range(2)], self._factors(at, m, factor)
            verbs = ("ek_scaled_low", "ek_scaled_top") * 2
            return [f"{v}({w}, {f}, {shift}u)" for v, w, f in zip(verbs, words, factors, strict=True)], False
        elif source is not INT32 and HALF_SHIFTS[0] <= shift <= HALF_SHIFTS[1]:
            verb, last = "ek_scaled_half", f", {shift}u"
        elif source is not INT32 and shift <= SHORT_SHIFT and bool((np.abs(factor) < 2**15).all()):
            verb, last = "ek_scaled", f", {shift}u"
        else:
            verb, last = "ek_scaled_wide", f", {shift}u"
        factors = self._factors(at, m, factor)
        return [f"{verb}({v}, {f}{last})" for v, f in zip(values, factors, strict=True)], verb == "ek_scaled_wide"

    def _halved(self, number: int, x: int, m: int) -> list[str]:
        """A decay in Q15: one instruction less where twice the factor is an int16."""
        verb, factor = ("ek_pair_scaled16", 2 * m) if 2 * m < 2**15 else ("ek_pair_scaled15", m)
        return [f"const uint32_t v{number}{r} = {verb}(v{x}{r}, {factor}u);" for r in PAIRS]

    def _factors(self, at: int, m: int, data: Array) -> list[str]:
        """The four factors of a line modulo 2^32: literals, or loaded from an array of their own."""
        factor = data.astype(np.int32)
        if np.unique(factor).size == 1:
            return [literal(int(factor.flat[0]))] * 4
        name, shape = self.body.op.inputs[m], self.body.types[self.body.results[0]].shape
        key = (name, f"of line {at}, as {list(shape)}", self.body.op.outputs[0])
        self.factors[at] = key, np.broadcast_to(factor, shape)
        return [f"f{at}{r}" for r in SINGLES]

    def load_factors(self) -> None:
        """Declare and load the factors that are not all one."""
        for at, (key, data) in self.factors.items():
            array = self.ctx.array(key, INT32, data)
            self.pointers.append(f"const ek_word *f{at} = (const ek_word *){array};")
            self.loads.extend(_loaded(f"f{at}", f"f{at}", SINGLES))

    def load(self, number: int) -> None:
        """Declare and load an input of the body."""
        name, dtype = self.body.op.inputs[number], self.dtype(number)
        data, shape = self.ctx.const(self.entry, name), self.body.types[self.body.results[0]].shape
        v, a = f"v{number}", f"a{number}"
        if data is not None and dtype is not SPIKE and np.unique(data).size == 1:
            value = int(data.flat[0])
            text = f"{value & 0xFFFF}u * 0x10001u" if dtype is INT16 else literal(value)
            ctype = "uint32_t" if dtype is INT16 else "int32_t"
            self.pointers.extend(f"const {ctype} {v}{r} = {text};" for r in _registers(dtype))
            return
        where = self.ctx.pointer(self.entry, name) if data is None else self.ctx.whole(self.entry, name, shape)
        if dtype is INT8:
            self.pointers.append(f"const ek_i8 *{a} = {where};")
            self.loads.extend(f"const int32_t {v}{r} = {a}[{i}];" for i, r in enumerate(SINGLES))
            self.loads.append(f"{a} += 4;")
        else:
            self.pointers.append(f"const ek_word *{a} = (const ek_word *){where};")
            self.loads.extend(_loaded(v, a, _registers(dtype)))


def _loaded(v: str, a: str, registers: str) -> list[str]:
    """Whole words of an array into registers, the pointer moved on."""
    ctype = "uint32_t" if registers == PAIRS else "int32_t"
    lines = [f"{ctype} {', '.join(v + r for r in registers)};"]
    return lines + [f"EK_LOAD2({a}, {v}{b}, {v}{c});" for b, c in zip(registers[::2], registers[1::2], strict=True)]


def _loop(ctx: Context, entry: Entry, body: Body) -> list[str]:
    """The function: a loop over fours, within one over the words of spikes where there are any."""
    n, lines = ctx.tensor(body.op.outputs[0]).size, _Lines(ctx, entry, body)
    read = body.read | {o for at in body.used for o in body.lines[at][1] if o < body.arity}
    factors = {body.lines[at][1][1] for at in body.used if body.lines[at][0] == "rescale"}
    others = {
        o for at in body.used for k, o in enumerate(body.lines[at][1]) if (body.lines[at][0], k) != ("rescale", 1)
    }
    before, after, last = list[str](), list[str](), list[str]()
    for i, name in enumerate(body.op.inputs):
        if i not in read or (i in factors and i not in others):
            continue
        if body.types[i].dtype is SPIKE:
            data, shape = ctx.const(entry, name), ctx.tensor(body.op.outputs[0]).shape
            where = ctx.pointer(entry, name) if data is None else ctx.whole(entry, name, shape)
            before.append(f"uint32_t w{i} = {where}[w];")
            lines.loads.extend(f"const uint32_t v{i}{r} = ek_pair_mask(w{i} >> {k});" for k, r in enumerate(PAIRS))
            lines.loads.append(f"w{i} >>= 2;")
        else:
            lines.load(i)
    made = [line for at in body.used for line in lines.line(at) or ()]
    lines.load_factors()
    stores, groups = list[str](), [-(-n // 4) - 8 * (-(-n // 32) - 1), -(-n // 32)]
    for number, (name, result) in enumerate(zip(body.op.outputs, body.results, strict=True)):
        dtype, where, y = body.types[result].dtype, ctx.pointer(entry, name), f"y{number}"
        if dtype is SPIKE:
            signs, inverted = lines.collected(result)
            lines.pointers.append(f"ek_word *const {y} = {where};")
            before.append(f"uint32_t b{number} = 0;")
            stores += [f"b{number} = ek_pair_collect(b{number}, {sign});" for sign in signs]
            moved = f"b{number} >> (16u - 2u * take)" if n % 32 else f"b{number}"
            after.append(f"{y}[w] = {'~' * inverted}({moved});")
            if n % 32 % 4 or (inverted and n % 32):
                there = sum(1 << ctx.flavour.slots[i] for i in range(n % 32))
                last.append(f"{y}[{groups[1] - 1}] &= 0x{there:08x}u;")
        elif dtype is INT8:
            lines.pointers.append(f"ek_i8 *{y} = {where};")
            stores += [f"{y}[{i}] = (int8_t)v{result}{r};" for i, r in enumerate(SINGLES)] + [f"{y} += 4;"]
        else:
            registers = _registers(dtype)
            lines.pointers.append(f"ek_word *{y} = (ek_word *){where};")
            ends = zip(registers[::2], registers[1::2], strict=True)
            stores += [f"EK_STORE2({y}, v{result}{b}, v{result}{c});" for b, c in ends]
    inner = [*lines.loads, *made, *stores]
    if not any(ctx.tensor(t).dtype is SPIKE for t in (*body.op.inputs, *body.op.outputs)):
        return [
            *lines.pointers,
            "uint32_t k;",
            f"EK_UNROLL1 for (k = 0; k < {-(-n // 4)}u; ++k) {{",
            *indented(1, inner),
            "}",
        ]
    take = f"w == {groups[1] - 1}u ? {groups[0]}u : 8u" if groups[0] != 8 else "8u"
    return [
        *lines.pointers,
        "uint32_t w, k;",
        f"EK_UNROLL1 for (w = 0; w < {groups[1]}u; ++w) {{",
        *indented(1, [f"const uint32_t take = {take};", *before]),
        "    EK_UNROLL2 for (k = 0; k < take; ++k) {",
        *indented(2, inner),
        "    }",
        *indented(1, after),
        "}",
        *last,
    ]
