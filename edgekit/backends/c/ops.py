"""One C function per op: a call of its kernel with shapes and constants as literals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod

import numpy as np

from edgekit.backends.c.context import Context, comment, function
from edgekit.backends.c.conv import conv_lines
from edgekit.backends.c.data import float_literal
from edgekit.backends.c.fused import CTYPES, line_expression, needed_lines
from edgekit.backends.c.linear import linear_lines, memory_lines
from edgekit.backends.c.plastic import PLASTIC, plastic_lines
from edgekit.backends.c.program import KernelUse
from edgekit.backends.c.select import kernel_of
from edgekit.backends.c.walk import gather_sizes, walk_lines
from edgekit.ir import OPS, SPIKE, Entry, Op
from edgekit.ir.ops import body_lines, fused_types


def kernel_use(ctx: Context, entry: Entry, at: int, op: Op) -> KernelUse:
    """Which kernel runs op `at` of an entry, under which symbol."""
    kernel = ctx.kernel(op)
    return KernelUse(entry.name, at, op.kind, kernel, f"{ctx.prefix}_{entry.name}_op{at}_{kernel}", op.source)


def op_function(ctx: Context, entry: Entry, use: KernelUse, op: Op) -> str:
    """The text of the function that runs one op."""
    inputs = ", ".join(f"{n} {list(ctx.tensor(n).shape)}" for n in op.inputs)
    outputs = ", ".join(f"{n} {list(ctx.tensor(n).shape)}" for n in op.outputs)
    source = f" ({op.source})" if op.source else ""
    head = f"/* {comment(f'op {use.op}{source}: {outputs} = {op.kind} of {inputs}')} */\n"
    if op.kind == "fused":
        return head + ctx.functions.once(entry.name, use.symbol, _fused(ctx, entry, op, use.symbol))
    if op.kind == "linear":
        lines = linear_lines(ctx, entry, use.op, op)
    elif op.kind == "memory_update":
        lines = memory_lines(ctx, entry, use.op, op)
    elif op.kind in ("sum", "amax", "cumsum"):
        lines = _reduce(ctx, entry, op)
    elif op.kind == "gather":
        lines = _gather(ctx, entry, op)
    elif op.kind in PLASTIC:
        lines = plastic_lines(ctx, entry, op)
    elif op.kind == "conv":
        lines = conv_lines(ctx, entry, op)
    else:
        lines = _walk(ctx, entry, op)
    text = function(f"static EK_NOINLINE void {use.symbol}({ctx.prefix} *m)", *lines)
    return head + ctx.functions.once(entry.name, use.symbol, text)


def _fused(ctx: Context, entry: Entry, op: Op, symbol: str) -> str:
    arity, shape = len(op.inputs), ctx.tensor(op.outputs[0]).shape
    types, lines = fused_types([ctx.tensor(n) for n in op.inputs], op.attrs), body_lines(op.attrs, arity)
    results: tuple[int, ...] = op.attrs["results"]
    used = needed_lines(lines, arity, results)
    read = {o for at in used for o in lines[at][1]}
    names = [f"v{i}" for i in range(len(types))]
    # All loads come first: a result may take the place of an input.
    values = [(i, _load(ctx, entry, name, shape)) for i, name in enumerate(op.inputs) if i in read]
    values += [(arity + at, line_expression(lines[at], names)) for at in used]
    body = [f"const {CTYPES[types[i].dtype]} v{i} = {expression};" for i, expression in values]
    stores: list[str] = []
    word: list[str] = []
    for name, result in zip(op.outputs, results, strict=True):
        where = ctx.pointer(entry, name)
        if types[result].dtype is SPIKE:
            bits = f"spikes->bits[{len(word)}]"
            stores.append(f"{bits} = ek_bits_put({bits}, v{result}, k);")
            word.append(f"({where})[w] = ek_bits_word({bits}) & valid;")
        else:
            stores.append(f"ek_store({where} + i, v{result});")
    model, n = f"{ctx.prefix} *m", ctx.tensor(op.outputs[0]).size
    if not any(ctx.tensor(t).dtype is SPIKE for t in (*op.inputs, *op.outputs)):
        vector = _inline(f"{symbol}_vector", [model, "uint32_t i"], [*body, *stores])
        return f"{vector}EK_MAP({symbol}, {ctx.prefix}, {n}u)\n"
    parameters = [model, "uint32_t i", "uint32_t w", "uint32_t k", "ek_spikes *spikes"]
    vector = _inline(f"{symbol}_vector", parameters, [*body, *stores])
    store = _inline(f"{symbol}_word", [model, "uint32_t w", "uint32_t valid", "const ek_spikes *spikes"], word)
    return f"{vector}{store}EK_MAP_SPIKES({symbol}, {ctx.prefix}, {n}u)\n"


def _inline(symbol: str, parameters: Sequence[str], body: Sequence[str]) -> str:
    """An inline function; parameters that its body does not mention are marked as unused."""
    names = [re.split(r"[ *]", p)[-1] for p in parameters]
    unused = [f"(void){name};" for name in names if not any(re.search(rf"\b{name}\b", line) for line in body)]
    return function(f"EK_INLINE void {symbol}({', '.join(parameters)})", *unused, *body)


def _load(ctx: Context, entry: Entry, name: str, shape: Sequence[int]) -> str:
    data, spike = ctx.const(entry, name), ctx.tensor(name).dtype is SPIKE
    if data is not None and not spike and np.unique(data.view(np.uint32)).size == 1:
        return f"ek_set({float_literal(data.flat[0])})"
    where = ctx.pointer(entry, name) if data is None else ctx.whole(entry, name, shape)
    return f"ek_bits_get(({where})[w], k)" if spike else f"ek_load({where} + i)"


def _reduce(ctx: Context, entry: Entry, op: Op) -> list[str]:
    shape, axis = ctx.tensor(op.inputs[0]).shape, op.attrs["axis"]
    sizes = f"{prod(shape[:axis])}u, {shape[axis]}u, {prod(shape[axis + 1 :])}u"
    order = [f"{int(OPS['cumsum'].attr(op.attrs, n))}" for n in ("reverse", "exclusive")] if op.kind == "cumsum" else []
    args = [ctx.pointer(entry, op.outputs[0]), ctx.pointer(entry, op.inputs[0]), sizes, *order]
    return [*_cleared(ctx, op, args[0]), f"ek_{kernel_of(ctx.graph, op)}({', '.join(args)});"]


def _gather(ctx: Context, entry: Entry, op: Op) -> list[str]:
    indices = np.array(op.attrs["indices"], np.uint32)
    index = ctx.consts.add((op.outputs[0], "indices"), "uint32_t", lambda: indices)
    y, x = ctx.pointer(entry, op.outputs[0]), ctx.pointer(entry, op.inputs[0])
    return [*_cleared(ctx, op, y), f"ek_{kernel_of(ctx.graph, op)}({y}, {x}, {index}, {gather_sizes(ctx.graph, op)});"]


def _walk(ctx: Context, entry: Entry, op: Op) -> list[str]:
    y, xs = ctx.pointer(entry, op.outputs[0]), [ctx.pointer(entry, name) for name in op.inputs]
    return [*_cleared(ctx, op, y), *_filled(ctx, op, y), *walk_lines(ctx.graph, op, kernel_of(ctx.graph, op), y, xs)]


def _filled(ctx: Context, op: Op, y: str) -> list[str]:
    """The border of a padded value, and what the value itself then goes over."""
    tensor = ctx.tensor(op.outputs[0])
    if op.kind != "pad" or tensor.dtype is SPIKE:
        return []
    return [f"ek_fill_f32({y}, {float_literal(OPS['pad'].attr(op.attrs, 'value'))}, {tensor.size}u);"]


def _cleared(ctx: Context, op: Op, y: str) -> list[str]:
    """Single bits go into words whose unused bits must be zero."""
    tensor = ctx.tensor(op.outputs[0])
    return [f"ek_zero_spike({y}, {tensor.size}u);"] if tensor.dtype is SPIKE else []
