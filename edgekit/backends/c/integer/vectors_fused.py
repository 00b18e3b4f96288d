"""Fused ops over eight values in a vector, where there are verbs for all of their lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer.body import Body, body_of, constant_of, indented
from edgekit.backends.c.integer.context import VALUES, Context
from edgekit.backends.c.integer.forms import Code
from edgekit.backends.c.integer.fused import literal
from edgekit.ir import FLOAT32, INT8, INT16, INT32, SPIKE, DType, Entry, Op
from edgekit.ir.ops.elementwise import COMPARE, LOGIC

# compares whose bits are signs of differences: the verb for sixteen, and whether its operands are the other way round
SIGNS = {"lt": ("lt", False), "gt": ("lt", True), "ge": ("ge", False), "le": ("ge", True)}

CTYPES: Mapping[DType, str] = {INT8: "ek_eight", INT16: "ek_eight", INT32: "ek_wide", SPIKE: "ek_lanes"}
FAMILY: Mapping[DType, str] = {INT8: "eight", INT16: "eight", INT32: "wide"}
WRAPPING = frozenset({"add", "sub", "neg", "abs"})  # int8 in int16 may leave the range of int8
HALF, WHOLE = 15, 31  # shifts of the instructions that multiply, double and round, of int16 and of int32
AT_ONCE, SPIKES_AT_ONCE = 8, 16  # values of one round of the loop: a vector, or half a word of spikes


@dataclass(frozen=True)
class _Line:
    """A line of the body: `number` is that of its value. `add_if` adds its third operand to its second where its first
    fired, `sub_if` subtracts it.
    """

    number: int
    kind: str
    operands: tuple[int, ...]
    attrs: Mapping[str, Any]


@dataclass
class _Writer:
    """What is known of a body while its C is written: `loads` are the constants and inputs that its lines ask for."""

    ctx: Context
    entry: Entry
    body: Body
    lines: Sequence[_Line]
    before: list[str] = field(default_factory=list)
    loads: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    def dtype(self, number: int) -> DType:
        return self.body.types[number].dtype

    def constant(self, number: int) -> Array | None:
        return None if self.dtype(number) is SPIKE else constant_of(self.ctx, self.entry, self.body, number)

    def uses(self, number: int) -> int:
        """How many operands of lines the value is."""
        return sum(line.operands.count(number) for line in self.lines)


def fused(ctx: Context, entry: Entry, op: Op) -> Code | None:
    """Eight values at a time; None where a line has no verb for that."""
    body = body_of(ctx, op)
    if any(t.dtype is FLOAT32 for t in body.types):
        return None
    lines = [
        _Line(body.arity + at, kind, operands, dict(pairs))
        for at, (kind, operands, pairs) in enumerate(body.lines)
        if at in body.used
    ]
    writer = _Writer(ctx, entry, body, lines)
    writer.lines = _conditional(writer)
    joined = {line.number: _joined(writer, line) for line in writer.lines if _is_sign(writer, line)}
    texts = [(line, _expression(writer, line)) for line in writer.lines if line.number not in joined]
    if any(text is None for _, text in texts):
        return None
    return Code("map_eights", _loop(writer, [(line, str(text)) for line, text in texts], joined))


def _conditional(w: _Writer) -> list[_Line]:
    """x + (a where m fired, else 0) as one line, as a predicated instruction does it."""
    lines = list(w.lines)
    for line in lines:
        if line.kind != "add" or w.dtype(line.number) is not INT16:
            continue
        for x, chosen in (line.operands, line.operands[::-1]):
            found = next((n for n in lines if n.number == chosen and n.kind == "where"), None)
            if found is None or w.uses(chosen) > 1 or chosen in w.body.results:
                continue
            fired, there, otherwise = found.operands
            nothing = w.constant(otherwise)
            if nothing is not None and not nothing.any():
                lines.remove(found)
                taken = _negative(w, lines, there)
                kind, operand = ("add_if", there) if taken is None else ("sub_if", taken)
                lines[lines.index(line)] = replace(line, kind=kind, operands=(fired, x, operand))
                return _conditional(replace(w, lines=lines))
    return lines


def _negative(w: _Writer, lines: Sequence[_Line], number: int) -> int | None:
    """Another constant that lines read anyway, and that is minus this one: a threshold, and what a reset adds."""
    data = w.constant(number)
    if data is None or (data == INT16.limits[0]).any():
        return None
    for other in dict.fromkeys(o for line in lines for o in line.operands):
        values = w.constant(other) if w.dtype(other) is INT16 else None
        if values is not None and values.shape == data.shape and (values == -data).all():
            return other
    return None


# --- values ----------------------------------------------------------------------------------------------------------


def _value(w: _Writer, number: int, *, wide: bool = False, shift: int = 0) -> str:
    """The C name of a value, `@` standing for the vector of eight; constants as int32 or shifted where asked for."""
    dtype = w.dtype(number)
    if number >= w.body.arity:
        return f"ek_widened(v{number}@)" if wide and dtype is not INT32 else f"v{number}@"
    data = w.constant(number)
    if data is None:
        text = _input(w, number)
        return f"ek_widened({text})" if wide and dtype is not INT32 else text
    held = INT32 if wide else INT16 if shift else dtype
    name = f"c{number}{'w' * wide}{f'_{shift}' if shift else ''}"
    if np.unique(data).size == 1:
        text = f"const {CTYPES[held]} {name} = ek_{FAMILY[held]}_set({literal(int(data.flat[0]) << shift)});"
        if text not in w.before:
            w.before.append(text)
        return name
    tensor, shape = w.body.op.inputs[number], w.ctx.tensor(w.body.op.outputs[0]).shape
    key = (tensor, f"as {list(shape)}", *(f"{n}" for n in (held, shift) if n and n is not dtype))
    values = (np.broadcast_to(data, shape) << shift).astype(held.numpy)
    return _loaded(w, name, held, w.ctx.array(key, held, values))


def _input(w: _Writer, number: int) -> str:
    """An input of the op that is computed, or spikes."""
    name, dtype = w.body.op.inputs[number], w.dtype(number)
    shape = w.ctx.tensor(w.body.op.outputs[0]).shape
    where = (
        w.ctx.whole(w.entry, name, shape) if w.ctx.const(w.entry, name) is not None else w.ctx.pointer(w.entry, name)
    )
    if dtype is not SPIKE:
        return _loaded(w, f"v{number}", dtype, where)
    if f"v{number}" not in w.known:
        w.known.add(f"v{number}")
        w.before.append(f"const ek_half *const a{number} = (const ek_half *){where};")
        w.words.append(f"const uint32_t h{number} = a{number}[i / 16u];")
        w.loads[f"v{number}@"] = f"const ek_lanes v{number}@ = ek_lanes_#(h{number});"
    return f"v{number}@"


def _loaded(w: _Writer, name: str, dtype: DType, where: str) -> str:
    if name not in w.known:
        w.known.add(name)
        w.before.append(f"const {VALUES[dtype]} *const p{name} = {where};")
        load = f"ek_wide_load(p{name} + $)" if dtype is INT32 else f"ek_eight_load{dtype.bits}(p{name} + $)"
        w.loads[f"{name}@"] = f"const {CTYPES[dtype]} {name}@ = {load};"
    return f"{name}@"


# --- lines -----------------------------------------------------------------------------------------------------------


def _expression(w: _Writer, line: _Line) -> str | None:
    """The C expression of a line; None where there is no verb for it."""
    dtype, first = w.dtype(line.number), line.operands[0]
    if line.kind == "rescale":
        return _rescale(w, line)
    if line.kind == "cast":
        return _cast(w, line, first, dtype)
    args = ", ".join(_value(w, o) for o in line.operands)
    if line.kind in LOGIC:
        return f"ek_lanes_{line.kind.removeprefix('logical_')}({args})"
    if line.kind in COMPARE:
        return f"ek_{FAMILY[w.dtype(first)]}_{line.kind}({args})"
    saturating = bool(line.attrs.get("saturate", False))
    if line.kind in ("add_if", "sub_if"):
        return f"ek_eight_{line.kind[:3]}{'s' * saturating}_if({args})"
    if line.kind == "relu":
        return f"ek_{FAMILY[dtype]}_maximum({args}, ek_{FAMILY[dtype]}_set(0))"
    if dtype is INT8 and saturating:  # the sum of two int8 is an int16
        return _clipped(w, line, f"ek_eight_{line.kind}({args})")
    text = f"ek_{FAMILY[dtype]}_{line.kind}{'s' * saturating}({args})"
    return f"ek_eight_wrapped8({text})" if dtype is INT8 and line.kind in WRAPPING else text


def _is_sign(w: _Writer, line: _Line) -> bool:
    """Whether a line compares int16 for spikes that no other line reads."""
    narrow = line.kind in SIGNS and w.dtype(line.operands[0]) is not INT32
    return narrow and w.uses(line.number) == 0


def _joined(w: _Writer, line: _Line) -> str:
    """Sixteen compares at once, as the half word of their bits."""
    verb, other = SIGNS[line.kind]
    a, b = line.operands[::-1] if other else line.operands
    pairs = [_value(w, n) for n in (a, b)]
    return f"ek_eights_{verb}({', '.join(text.replace('@', side) for side in 'ab' for text in pairs)})"


def _cast(w: _Writer, line: _Line, x: int, to: DType) -> str:
    source = w.dtype(x)
    if source is SPIKE:
        return f"ek_{FAMILY[to]}_where({_value(w, x)}, ek_{FAMILY[to]}_set(1), ek_{FAMILY[to]}_set(0))"
    text = _value(w, x, wide=to is INT32)
    if source is INT32 and to is not INT32:
        text = f"ek_narrowed({text})"
    return _clipped(w, line, text) if to is INT8 and source is not INT8 else text


def _clipped(w: _Writer, line: _Line, text: str) -> str:
    """An int16 as int8. One that is only stored may keep what is above its lower byte."""
    return f"ek_eight_clipped8({text})" if w.uses(line.number) else f"ek_eight_low_clipped8({text})"


def _rescale(w: _Writer, line: _Line) -> str | None:
    to, text = w.dtype(line.number), None
    if all(w.dtype(o).bits <= 16 for o in line.operands):
        text = _narrow_product(w, line, to)
    if text is None and (product := _wide_product(w, line, to)) is not None:
        text = product if to is INT32 else f"ek_narrowed({product})"
    if text is None or to is not INT8 or _stays_within(w, line, INT8):
        return text
    return _clipped(w, line, text)


def _narrow_product(w: _Writer, line: _Line, to: DType) -> str | None:
    """saturate(floor((x · m + half) / 2^shift)) of int16, as int16 or int32; their product is an int32."""
    (x, m), shift = line.operands, line.attrs["shift"]
    factor, more = w.constant(m), HALF - shift
    if to is not INT32:
        if more == 0 or (more > 0 and factor is not None and _fits(factor, more, INT16)):
            return f"ek_eight_scaled15({_value(w, x)}, {_value(w, m, shift=more)})"
        if 1 <= shift <= 16:
            return f"ek_eight_scaled({_value(w, x)}, {_value(w, m)}, {shift})"
    if shift >= WHOLE:
        return None
    product = f"ek_wide_product({_value(w, x)}, {_value(w, m)})"
    rounded = f"ek_wide_rounded({product}, {shift})" if shift else product
    return rounded if to is INT32 else f"ek_narrowed({rounded})"


def _wide_product(w: _Writer, line: _Line, to: DType) -> str | None:
    """saturate(floor((x · m + half) / 2^shift)) of int32: with 2^31, a factor or x taken times the rest.

    x may saturate where m is so large that the result is past the end of its dtype then.
    """
    (x, m), more = line.operands, WHOLE - line.attrs["shift"]
    factor = w.constant(m)
    if more == 0 or (more > 0 and factor is not None and _fits(factor, more, INT32)):
        return f"ek_wide_scaled15({_value(w, x, wide=True)}, {_value(w, m, wide=True, shift=more)})"
    if not 0 < more <= 16 or w.constant(x) is not None:
        return None
    if w.dtype(x).bits <= 16:
        return f"ek_wide_scaled15(ek_widened_shifted({_value(w, x)}, {more}), {_value(w, m, wide=True)})"
    if factor is None or to is INT32 or not (np.abs(factor) > -INT16.limits[0]).all():
        return None
    return f"ek_wide_scaled15(ek_wide_clipped_shift({_value(w, x)}, {more}), {_value(w, m, wide=True)})"


def _fits(values: Array, shift: int, dtype: DType) -> bool:
    low, high = dtype.limits
    return bool((values << shift >= low).all() and (values << shift <= high).all())


def _stays_within(w: _Writer, line: _Line, dtype: DType) -> bool:
    """Whether no x of its dtype leaves the range: the ends of x give the ends of the result."""
    (x, m), shift = line.operands, line.attrs["shift"]
    factor = w.constant(m)
    if factor is None:
        return False
    ends = [(end * factor + (1 << shift >> 1)) >> shift for end in w.dtype(x).limits]
    low, high = dtype.limits
    return all(bool((end >= low).all() and (end <= high).all()) for end in ends)


# --- the loop --------------------------------------------------------------------------------------------------------


def _loop(w: _Writer, texts: Sequence[tuple[_Line, str]], joined: Mapping[int, str]) -> list[str]:
    op, n = w.body.op, w.ctx.tensor(w.body.op.outputs[0]).size
    spikes = any(w.ctx.tensor(t).dtype is SPIKE for t in (*op.inputs, *op.outputs))
    stores, joins, after = list[str](), list[str](), list[str]()
    for number, (name, result) in enumerate(zip(op.outputs, w.body.results, strict=True)):
        dtype, where = w.dtype(result), w.ctx.pointer(w.entry, name)
        value = f"v{result}@"
        if dtype is SPIKE:
            w.before.append(f"ek_half *const y{number} = (ek_half *){where};")
            both = f"ek_lanes_join({value.replace('@', 'a')}, {value.replace('@', 'b')})"
            joins.append(f"y{number}[i / 16u] = {joined.get(result, both)};")
            after += [f"ek_trim_spikes({where}, {n}u);"] if n % 32 else []
        else:
            w.before.append(f"{VALUES[dtype]} *const y{number} = {where};")
            verb = "ek_wide_store" if dtype is INT32 else f"ek_eight_store{dtype.bits}"
            stores.append(f"{verb}(y{number} + $, {value});")
    lines = [f"const {CTYPES[w.dtype(line.number)]} v{line.number}@ = {text};" for line, text in texts]
    eight = [*w.loads.values(), *lines, *stores]
    first = [s.replace("@", "a").replace("$", "i").replace("#", "first") for s in eight]
    second = [s.replace("@", "b").replace("$", "i + 8u").replace("#", "second") for s in eight]
    step = SPIKES_AT_ONCE if spikes else AT_ONCE
    return [
        *w.before,
        "{",
        "    uint32_t i;",
        f"    EK_UNROLL1 for (i = 0; i < {-(-n // step) * step}u; i += {step}u) {{",
        *indented(2, [*w.words, *first, *(second if spikes else ()), *joins]),
        "    }",
        "}",
        *after,
    ]
