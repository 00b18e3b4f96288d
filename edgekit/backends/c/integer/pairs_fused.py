"""Fused ops over two int16 in a register, where there are verbs for all of their lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit.backends.c.integer.body import Body, body_of, constant_of, indented, is_shrinking
from edgekit.backends.c.integer.context import Context
from edgekit.backends.c.integer.forms import Code
from edgekit.ir import INT16, SPIKE, Entry, Op, Tensor
from edgekit.ir.ops.elementwise import LOGIC, Line

# lines over int16 and spikes that two values in a register have verbs for
PAIR_KINDS = frozenset({"add", "sub", "neg", "minimum", "maximum", "relu", "where", "cast", "rescale", *LOGIC})
PAIR_COMPARES = frozenset({"gt", "ge", "lt", "le"})
PAIR_SHIFT = 15


def fused(ctx: Context, entry: Entry, op: Op) -> Code | None:
    """Two values at a time; None where a line has no verb for that."""
    body = body_of(ctx, op)
    if not all(_in_pairs(ctx, entry, body, body.lines[at]) for at in body.used):
        return None
    return Code("map_pairs", _pairs(ctx, entry, body))


def _in_pairs(ctx: Context, entry: Entry, body: Body, line: Line) -> bool:
    kind, operands, pairs = line
    attrs = dict(pairs)
    if any(body.types[o].dtype not in (INT16, SPIKE) for o in operands):
        return False
    if kind == "rescale":
        m = constant_of(ctx, entry, body, operands[1])
        if m is None or np.unique(m).size > 1 or (attrs["to"], attrs["shift"]) != ("int16", PAIR_SHIFT):
            return False
        return is_shrinking(ctx, entry, body, line)
    if kind == "cast":
        return bool(attrs["to"] == "int16")
    return kind in PAIR_KINDS or kind in PAIR_COMPARES


def _pairs(ctx: Context, entry: Entry, body: Body) -> list[str]:
    """Two int16 in a word: element 2k in its lower half. Masks are all ones in the half of a spike."""
    op, shape = body.op, ctx.tensor(body.op.outputs[0]).shape
    n = ctx.tensor(op.outputs[0]).size
    pointers, loads, words, stores, closes = list[str](), list[str](), list[str](), list[str](), list[str]()
    for i, name in enumerate(op.inputs):
        if i not in body.read:
            continue
        dtype, data = body.types[i].dtype, ctx.const(entry, name)
        if dtype is SPIKE:
            where = ctx.whole(entry, name, shape) if data is not None else ctx.pointer(entry, name)
            words.append(f"const uint32_t w{i} = {where}[w];")
            loads.append(f"const uint32_t v{i} = ek_pair_mask(w{i} >> k);")
        elif data is not None and np.unique(data).size == 1:
            pointers.append(f"const uint32_t v{i} = {int(data.flat[0]) & 0xFFFF}u * 0x10001u;")
        else:
            where = ctx.whole(entry, name, shape) if data is not None else ctx.pointer(entry, name)
            pointers.append(f"const ek_word *a{i} = (const ek_word *){where};")
            loads.append(f"const uint32_t v{i} = a{i}[k];")
            closes.append(f"a{i} += 16;")
    for at in body.used:
        loads.append(f"const uint32_t v{body.arity + at} = {_pair_expression(body.types, body.lines[at])};")
    for number, (name, result) in enumerate(zip(op.outputs, body.results, strict=True)):
        where = ctx.pointer(entry, name)
        if body.types[result].dtype is SPIKE:
            pointers.append(f"ek_word *const y{number} = {where};")
            words.append(f"uint32_t b{number} = 0;")
            stores.append(f"b{number} |= v{result} & 0x10001u << k;")
            closes.append(f"y{number}[w] = b{number}{' & valid' * (n % 32 > 0)};")
        else:
            pointers.append(f"ek_word *y{number} = (ek_word *){where};")
            stores.append(f"y{number}[k] = v{result};")
            closes.append(f"y{number} += 16;")
    pairs = -(-n // 2)
    valid = [f"const uint32_t valid = ek_valid({n}u - 32u * w);"] if any("valid" in c for c in closes) else []
    take = f"{pairs}u - 16u * w < 16u ? {pairs}u - 16u * w : 16u" if pairs % 16 else "16u"
    return [
        *pointers,
        "{",
        "    uint32_t w, k;",
        f"    for (w = 0; w < {-(-n // 32)}u; ++w) {{",
        *indented(2, [f"const uint32_t take = {take};", *valid, *words]),
        "        EK_UNROLL4 for (k = 0; k < take; ++k) {",
        *indented(3, [*loads, *stores]),
        "        }",
        *indented(2, closes),
        "    }",
        "}",
    ]


def _pair_expression(types: Sequence[Tensor], line: Line) -> str:
    kind, operands, pairs = line
    args = [f"v{o}" for o in operands]
    if kind == "rescale":
        return f"ek_pair_scaled15({args[0]}, {args[1]})"
    if kind == "cast":
        return f"{args[0]} & 0x10001u" if types[operands[0]].dtype is SPIKE else args[0]
    saturating = "s" * bool(dict(pairs).get("saturate", False))
    return f"ek_pair_{kind.removeprefix('logical_')}{saturating}({', '.join(args)})"
