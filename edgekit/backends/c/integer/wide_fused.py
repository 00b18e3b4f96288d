"""Fused ops over eight values at a time, where there are verbs for all of their lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer.body import Body, body_of, constant_of, indented
from edgekit.backends.c.integer.context import VALUES, Context
from edgekit.backends.c.integer.forms import Code
from edgekit.ir import INT8, INT16, INT32, SPIKE, DType, Entry, Op
from edgekit.ir.dtypes import DTYPES
from edgekit.ir.ops.elementwise import LOGIC, Line

LANES = 8
WORD = 32  # elements of a word of spikes
TYPES: Mapping[DType, str] = {INT8: "ek_v8", INT16: "ek_v16", INT32: "ek_v32", SPIKE: "ek_vm"}
NARROW_SHIFT = 30  # the largest of a product of two int16


def fused(ctx: Context, entry: Entry, op: Op) -> Code | None:
    """Eight values at a time; None where reals are among them."""
    body = body_of(ctx, op)
    numbers = {body.arity + at for at in body.used} | body.read
    if any(body.types[number].dtype not in TYPES for number in numbers):
        return None
    rescales = (at for at in body.used if body.lines[at][0] == "rescale")
    return Code("map_wide", _lines(ctx, entry, body, {at: _rescale_of(ctx, entry, body, at) for at in rescales}))


@dataclass(frozen=True, eq=False)
class _Rescale:
    """A product with `data` (None: a computed factor) by `verb`, the bits of its factors and of its result, and what
    the verb is told beside them.
    """

    data: Array | None
    verb: str
    factor: int
    result: int
    told: str = ""


def _rescale_of(ctx: Context, entry: Entry, body: Body, at: int) -> _Rescale:
    """The cheapest verb that rounds a product exactly: of 16-bit factors, by the upper half, or of 64 bits."""
    _, (x, m), pairs = body.lines[at]
    shift, data = dict(pairs)["shift"], constant_of(ctx, entry, body, m)
    if data is None:
        return _Rescale(None, "scaled", 32, 32, f", {shift}, 1")
    bits = body.types[x].dtype.bits
    low, high = int(data.min()), int(data.max())
    if bits <= 16 and low > -(2**15) and high < 2**15 and shift <= NARROW_SHIFT:
        return _Rescale(data, "scaled15", 16, 16) if shift == 15 else _Rescale(data, "rounded", 16, 32, f", {shift}")
    if shift == 31 and low > -(2**31):
        return _Rescale(data, "scaled31", 32, 32)
    largest = 2 ** (bits - 1) * max(-low, high)
    fits = (largest + (1 << shift >> 1)) >> shift < 2**31
    return _Rescale(data, "scaled", 32, 32, f", {shift}, {int(not fits)}")


def _lines(ctx: Context, entry: Entry, body: Body, factors: Mapping[int, _Rescale]) -> list[str]:
    op, shape = body.op, ctx.tensor(body.op.outputs[0]).shape
    n = ctx.tensor(op.outputs[0]).size
    before, words, loads, closes = list[str](), list[str](), list[str](), list[str]()
    constants = {(at, 1) for at, how in factors.items() if how.data is not None}
    plain = {o for at in body.used for k, o in enumerate(body.lines[at][1]) if (at, k) not in constants}
    for i, name in enumerate(op.inputs):
        if i not in plain:
            continue
        dtype, data = body.types[i].dtype, ctx.const(entry, name)
        if dtype is not SPIKE and data is not None:
            once, each = _constant(ctx, name, np.broadcast_to(data, shape), dtype, f"v{i}")
            before, loads = [*before, once], [*loads, *each]
            continue
        where = ctx.whole(entry, name, shape) if data is not None else ctx.pointer(entry, name)
        before.append(f"const {VALUES[dtype]} *const a{i} = {where};")
        if dtype is SPIKE:
            words.append(f"const uint32_t w{i} = a{i}[w];")
            loads.append(f"const ek_vm v{i} = ek_vm_of(w{i}, k);")
        else:
            loads.append(f"const {TYPES[dtype]} v{i} = {TYPES[dtype]}_load(a{i} + i);")
    for at in body.used:
        number, dtype, line = body.arity + at, body.types[body.arity + at].dtype, body.lines[at]
        text = _rescaled(body, line, factors[at], f"m{number}") if at in factors else _expression(body, line)
        if at in factors and (data := factors[at].data) is not None:
            wide = INT16 if factors[at].factor == 16 else INT32
            once, each = _constant(ctx, op.inputs[line[1][1]], np.broadcast_to(data, shape), wide, f"m{number}")
            before, loads = [*before, once], [*loads, *each]
        loads.append(f"const {TYPES[dtype]} v{number} = {text};")
    for number, (name, result) in enumerate(zip(op.outputs, body.results, strict=True)):
        dtype = body.types[result].dtype
        before.append(f"{VALUES[dtype]} *const y{number} = {ctx.pointer(entry, name)};")
        if dtype is SPIKE:
            words.append(f"ek_bits b{number} = ek_bits_none();")
            loads.append(f"b{number} = ek_bits_put(b{number}, v{result}, k);")
            there = f" & ek_there({n}u - {WORD}u * w)" if n % WORD else ""
            closes.append(f"y{number}[w] = ek_bits_word(b{number}){there};")
        else:
            loads.append(f"{TYPES[dtype]}_store(y{number} + i, v{result});")
    if not words:
        head = f"for (i = 0; i < {n}u; i += {LANES}u) {{"
        return [*before, "{", "    uint32_t i;", f"    EK_UNROLL2 {head}", *indented(2, loads), "    }", "}"]
    return [
        *before,
        "{",
        "    uint32_t w, k;",
        f"    for (w = 0; w < {-(-n // WORD)}u; ++w) {{",
        *indented(2, words),
        f"        EK_UNROLL4 for (k = 0; k < {min(WORD // LANES, -(-n // LANES))}u; ++k) {{",
        *indented(3, [f"const uint32_t i = {WORD}u * w + {LANES}u * k;", "(void)i;", *loads]),
        "        }",
        *indented(2, closes),
        "    }",
        "}",
    ]


def _constant(ctx: Context, name: str, data: Array, dtype: DType, value: str) -> tuple[str, list[str]]:
    """A constant as `value`: the line before the loop, and those in it unless all elements are the same."""
    if np.unique(data).size == 1:
        number = int(data.flat[0])
        text = f"({number + 1} - 1)" if number == -(2**31) else str(number)
        return f"const {TYPES[dtype]} {value} = {TYPES[dtype]}_set({text});", []
    array = ctx.array((name, f"as {list(data.shape)} of {dtype}"), dtype, data.astype(dtype.numpy))
    once = f"const {VALUES[dtype]} *const {value}a = {array};"
    return once, [f"const {TYPES[dtype]} {value} = {TYPES[dtype]}_load({value}a + i);"]


def _as(text: str, have: int, want: int) -> str:
    """A value of `have` bits in `want`: widened, or saturated."""
    return text if have == want else f"ek_v{want}_of_{have}({text})"


def _rescaled(body: Body, line: Line, how: _Rescale, constant: str) -> str:
    _, (x, m), pairs = line
    value = _as(f"v{x}", body.types[x].dtype.bits, how.factor)
    factor = constant if how.data is not None else _as(f"v{m}", body.types[m].dtype.bits, how.factor)
    if how.verb == "rounded":
        text = f"ek_v32_rounded(ek_v32_product({value}, {factor}){how.told})"
    else:
        text = f"ek_v{how.factor}_{how.verb}({value}, {factor}{how.told})"
    return _as(text, how.result, DTYPES[dict(pairs)["to"]].bits)


def _expression(body: Body, line: Line) -> str:
    kind, operands, pairs = line
    attrs, types = dict(pairs), [body.types[o].dtype for o in operands]
    args = ", ".join(f"v{o}" for o in operands)
    if kind == "cast":
        to = DTYPES[attrs["to"]].bits
        return f"ek_v{to}_of_spikes({args})" if types[0] is SPIKE else _as(args, types[0].bits, to)
    if kind in LOGIC:
        return f"ek_vm_{kind.removeprefix('logical_')}({args})"
    bits = types[-1].bits
    return f"ek_v{bits}_{kind}{'s' * bool(attrs.get('saturate', False))}({args})"
