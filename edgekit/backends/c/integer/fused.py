"""The body of a fused op in integer verbs: one value at a time, or in the registers of a flavour."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.backends.c.integer.body import Body, body_of, constant_of, indented, is_shrinking
from edgekit.backends.c.integer.context import PORTS, VALUES, Context
from edgekit.backends.c.integer.forms import Code
from edgekit.ir import FLOAT32, INT32, SPIKE, DType, Entry, Op
from edgekit.ir.dtypes import DTYPES
from edgekit.ir.ops.elementwise import LOGIC, Line

CTYPES: Mapping[DType, str] = {**PORTS, SPIKE: "int"}
HIGH_SHIFT, HIGH_LIMIT = 31, 2**30  # a requantisation that is the upper half of one product


def fused_code(ctx: Context, entry: Entry, op: Op) -> Code:
    """A fused op in the registers of the flavour, or value by value, 32 at a time where spikes go in or come out."""
    return ctx.forms.fused(ctx, entry, op) or Code("map_int", _scalar(ctx, entry, body_of(ctx, op)))


def _scalar(ctx: Context, entry: Entry, body: Body) -> list[str]:
    op, n = body.op, ctx.tensor(body.op.outputs[0]).size
    shape = ctx.tensor(op.outputs[0]).shape
    pointers, loads, words, stores, closes = list[str](), list[str](), list[str](), list[str](), list[str]()
    high = {body.lines[at][1][1] for at in body.used if _is_high(ctx, entry, body, body.lines[at])}
    for i, name in enumerate(op.inputs):
        if i not in body.read:
            continue
        dtype, data = body.types[i].dtype, ctx.const(entry, name)
        if data is not None and dtype is not SPIKE and dtype is not FLOAT32:
            data = data.astype(np.int64) * (2 if i in high else 1)
            if np.unique(data).size == 1:
                loads.append(f"const {CTYPES[dtype]} v{i} = {literal(int(data.flat[0]))};")
                continue
            key = (name, f"as {list(shape)}{' doubled' * (i in high)}")
            where = ctx.array(key, dtype, np.broadcast_to(data, shape).astype(dtype.numpy))
        else:
            where = ctx.whole(entry, name, shape) if data is not None else ctx.pointer(entry, name)
        if dtype is SPIKE:
            words.append(f"const uint32_t w{i} = {where}[w];")
            loads.append(f"const int v{i} = (int)(w{i} >> EK_SLOT(k) & 1u);")
        else:
            pointers.append(f"const {VALUES[dtype]} *const a{i} = {where};")
            loads.append(f"const {CTYPES[dtype]} v{i} = a{i}[i];")
    for at in body.used:
        i = body.arity + at
        loads.append(f"const {CTYPES[body.types[i].dtype]} v{i} = {_expression(ctx, entry, body, at)};")
    for number, (name, result) in enumerate(zip(op.outputs, body.results, strict=True)):
        dtype, where = body.types[result].dtype, ctx.pointer(entry, name)
        pointers.append(f"{VALUES[dtype]} *const y{number} = {where};")
        if dtype is SPIKE:
            words.append(f"uint32_t b{number} = 0;")
            stores.append(f"b{number} |= (uint32_t)v{result} << EK_SLOT(k);")
            closes.append(f"y{number}[w] = b{number};")
        else:
            stores.append(f"y{number}[i] = v{result};")
    if not any(ctx.tensor(t).dtype is SPIKE for t in (*op.inputs, *op.outputs)):
        loop = f"for (i = 0; i < {n}u; ++i) {{"
        return [*pointers, "{", "    uint32_t i;", f"    {loop}", *indented(2, [*loads, *stores]), "    }", "}"]
    return [
        *pointers,
        "{",
        "    uint32_t w, k;",
        f"    for (w = 0; w < {-(-n // 32)}u; ++w) {{",
        f"        const uint32_t left = {n}u - 32u * w, take = left < 32u ? left : 32u;",
        *indented(2, words),
        "        for (k = 0; k < take; ++k) {",
        *indented(3, ["const uint32_t i = 32u * w + k;", "(void)i;", *loads, *stores]),
        "        }",
        *indented(2, closes),
        "    }",
        "}",
    ]


def literal(value: int) -> str:
    """An integer as a C expression of its value."""
    return f"({value + 1} - 1)" if value == -(2**31) else str(value)


def _is_high(ctx: Context, entry: Entry, body: Body, line: Line) -> bool:
    """Whether a rescale is the rounded upper half of x · 2m: a constant m below 2^30 that nothing else reads."""
    kind, operands, pairs = line
    if kind != "rescale" or dict(pairs)["shift"] != HIGH_SHIFT:
        return False
    m = operands[1]
    factor = constant_of(ctx, entry, body, m)
    alone = sum(body.lines[at][1].count(m) for at in body.used) == 1 and m not in body.results
    return factor is not None and alone and bool((np.abs(factor) < HIGH_LIMIT).all()) and body.types[m].dtype is INT32


def _rescale(ctx: Context, entry: Entry, body: Body, line: Line) -> str:
    _, (x, m), pairs = line
    shift, to = dict(pairs)["shift"], DTYPES[dict(pairs)["to"]]
    ctype = CTYPES[to]
    if _is_high(ctx, entry, body, line):
        product, wide = f"ek_scaled_high(v{x}, v{m})", False
    elif body.types[x].dtype.bits <= 16 and body.types[m].dtype.bits <= 16 and shift <= 30:
        product, wide = f"ek_scaled(v{x}, v{m}, {shift}u)", False
    else:
        product, wide = f"ek_scaled_wide(v{x}, v{m}, {shift}u)", True
    if is_shrinking(ctx, entry, body, line) or (to is INT32 and not wide):
        return f"({ctype}){product}"
    return f"ek_clip_{'wide_' * wide}{to.bits}({product})"


def _expression(ctx: Context, entry: Entry, body: Body, at: int) -> str:
    line = body.lines[at]
    kind, operands, pairs = line
    attrs, types = dict(pairs), [body.types[o].dtype for o in operands]
    args = ", ".join(f"v{o}" for o in operands)
    if kind == "rescale":
        return _rescale(ctx, entry, body, line)
    if kind == "cast":
        to = DTYPES[attrs["to"]]
        if to is SPIKE:
            return f"v{operands[0]} != 0.0f"
        if types[0] is not SPIKE and to.bits < types[0].bits:
            return f"ek_clip_{to.bits}({args})"
        return f"({CTYPES[to]}){args}"
    if kind in LOGIC:
        return f"ek_{kind}({args})"
    numbers = types[1] if kind == "where" else types[0]
    return f"ek_{kind}{'s' * bool(attrs.get('saturate', False))}_{numbers.bits}({args})"
