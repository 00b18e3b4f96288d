"""One C function per op of an integer program: a call of its kernel with shapes and constants as literals."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from edgekit.backends.c.context import comment, function
from edgekit.backends.c.integer.context import PORTS, SUFFIXES, VALUES, Context, passed_on
from edgekit.backends.c.integer.forms import Code
from edgekit.backends.c.integer.fused import fused_code
from edgekit.backends.c.integer.linear import linear_code, memory_code
from edgekit.backends.c.plastic import PLASTIC, plastic_sizes
from edgekit.backends.c.program import KernelUse
from edgekit.backends.c.walk import gather_sizes, walk_lines
from edgekit.ir import INT8, OPS, SPIKE, Entry, Op

MOVES = ("transpose", "expand", "slice", "concat", "gather", "pad", "windows")
CHANGING = frozenset({"matvec", *PLASTIC})
SUPPORTED = frozenset({"fused", "linear", "memory_update", "sum", "amax", "cumsum", "reshape", *MOVES, *CHANGING})
BORDER = frozenset({"quantize", "dequantize", "lookup"})


def op_function(ctx: Context, entry: Entry, at: int, op: Op) -> tuple[KernelUse, str]:
    """Which kernel runs op `at` of an entry, and the text of the function that does."""
    code = _code(ctx, entry, at, op)
    symbol = f"{ctx.prefix}_{entry.name}_op{at}_{code.kernel}"
    inputs = ", ".join(f"{n} {list(ctx.tensor(n).shape)}" for n in op.inputs)
    outputs = ", ".join(f"{n} {list(ctx.tensor(n).shape)}" for n in op.outputs)
    source = f" ({op.source})" if op.source else ""
    head = f"/* {comment(f'op {at}{source}: {outputs} = {op.kind} of {inputs}')} */\n"
    given = "".join(f", const {PORTS[ctx.tensor(op.inputs[0]).dtype]} *{name}" for name in given_to(entry, op))
    text = function(f"static EK_NOINLINE void {symbol}({ctx.prefix} *m{given})", *code.lines)
    text = ctx.functions.once(entry.name, symbol, text)
    return KernelUse(entry.name, at, op.kind, code.kernel, symbol, op.source), head + text


def given_to(entry: Entry, op: Op) -> list[str]:
    """The parameters of an entry that the function of an op takes, beside the model."""
    there = op.kind in ("quantize", "dequantize") and op.inputs[0] in passed_on(entry)
    return [f"in{entry.inputs.index(op.inputs[0])}"] if there else []


def _code(ctx: Context, entry: Entry, at: int, op: Op) -> Code:
    if op.kind == "linear":
        return linear_code(ctx, entry, at, op)
    if op.kind == "memory_update":
        return memory_code(ctx, entry, at, op)
    if op.kind == "fused":
        return fused_code(ctx, entry, op)
    if op.kind == "lookup" and (code := ctx.forms.lookup(ctx, entry, op)) is not None:
        return code
    kernel = _kernel_of(ctx, op)
    if op.kind in ("sum", "amax", "cumsum"):
        return Code(kernel, _reduce(ctx, entry, op))
    if op.kind in CHANGING:
        return _plastic(ctx, entry, op)
    if op.kind in BORDER:
        return Code(kernel, _border(ctx, entry, op))
    return Code(kernel, (_gather if op.kind == "gather" else _walk)(ctx, entry, op, kernel))


def _kernel_of(ctx: Context, op: Op) -> str:
    tensor = ctx.tensor(op.outputs[0] if op.kind in ("quantize", "lookup") else op.inputs[0])
    return f"{'walk' if op.kind in MOVES and op.kind != 'gather' else op.kind}_{SUFFIXES[tensor.dtype]}"


def _reduce(ctx: Context, entry: Entry, op: Op) -> list[str]:
    shape, axis = ctx.tensor(op.inputs[0]).shape, op.attrs["axis"]
    sizes = f"{prod(shape[:axis])}u, {shape[axis]}u, {prod(shape[axis + 1 :])}u"
    order = (
        [f"{int(OPS['cumsum'].attr(op.attrs, n))}u" for n in ("reverse", "exclusive")] if op.kind == "cumsum" else []
    )
    args = [ctx.pointer(entry, op.outputs[0]), ctx.pointer(entry, op.inputs[0]), sizes, *order]
    dtype = ctx.tensor(op.inputs[0]).dtype
    kernel = f"ek_{op.kind}_{'spike' if dtype is SPIKE else dtype.bits}"
    return [*_cleared(ctx, op, args[0]), f"{kernel}({', '.join(args)});"]


def _plastic(ctx: Context, entry: Entry, op: Op) -> Code:
    """A product with weights of the program, or their update."""
    y, bits = ctx.pointer(entry, op.outputs[0]), ctx.tensor(op.outputs[0]).dtype.bits
    sizes, shift = plastic_sizes(ctx.graph, op), f"{op.attrs.get('shift', 0)}u"
    xs = [ctx.pointer(entry, n) for n in op.inputs]
    if op.kind == "outer_add":
        return Code("outer_add_16", [f"ek_outer_add_16({y}, {', '.join(xs)}, {sizes}, {shift});"])
    if op.kind == "distance":
        return Code("distance_16", [f"ek_distance_16({y}, {', '.join(xs)}, {sizes});"])
    if op.kind == "matvec_t":
        kernel = f"matvec_t_{bits}"
        return Code(kernel, [f"ek_{kernel}({y}, {xs[1]}, {xs[0]}, {sizes}, {shift});"])
    spikes = ctx.tensor(op.inputs[0]).dtype is SPIKE
    kernel, lists = f"matvec_{'spike' if spikes else '16'}_{bits}", "m->row, " if spikes else ""
    c = xs[2] if len(xs) == 3 else "0"
    return Code(kernel, [f"ek_{kernel}({y}, {c}, {xs[1]}, {xs[0]}, {lists}{sizes}, {shift});"])


def _border(ctx: Context, entry: Entry, op: Op) -> list[str]:
    x, y = ctx.tensor(op.inputs[0]), ctx.tensor(op.outputs[0])
    to, n, given = ctx.pointer(entry, op.outputs[0]), x.size, given_to(entry, op)
    from_ = f"(const {VALUES[x.dtype]} *){given[0]}" if given else ctx.pointer(entry, op.inputs[0])
    if op.kind == "lookup":
        table = ctx.whole(entry, op.inputs[1], ctx.tensor(op.inputs[1]).shape)
        if x.dtype is INT8:
            return [f"ek_lookup_8_{y.dtype.bits}({to}, {from_}, {table}, {n}u);"]
        fraction = 16 - (ctx.tensor(op.inputs[1]).size - 1).bit_length() + 1
        return [f"ek_lookup_16_16({to}, {from_}, {table}, {n}u, {fraction}u);"]
    row = _row(ctx, op, x.shape) if op.kind == "quantize" else n
    factors = ", ".join(_floats(ctx, name, x.shape, row) for name in op.inputs[1:])
    if op.kind == "quantize" and row < n:
        return [f"m->nonfinite[0] += ek_quantize_rows_{y.dtype.bits}({to}, {from_}, {factors}, {row}u, {n // row}u);"]
    if op.kind == "quantize":
        return [f"m->nonfinite[0] += ek_quantize_{y.dtype.bits}({to}, {from_}, {factors}, {n}u);"]
    return [f"ek_dequantize_{x.dtype.bits}({to}, {from_}, {factors}, {n}u);"]


def _row(ctx: Context, op: Op, shape: Sequence[int]) -> int:
    """After how many elements the offsets and gains of a border repeat: those of a flat window do with its channels."""
    both = np.stack([np.broadcast_to(ctx.data(name), shape).reshape(-1) for name in op.inputs[1:]])
    n = int(both.shape[1])
    if (both == both[:, :1]).all():
        return n
    return next(p for p in range(1, n + 1) if n % p == 0 and (both == np.tile(both[:, :p], n // p)).all())


def _floats(ctx: Context, name: str, shape: Sequence[int], row: int) -> str:
    """A constant of the border and how far it moves from element to element: not at all where it is one number.

    Of one that repeats after `row` elements those are stored.
    """
    data = ctx.data(name)
    if np.unique(data).size == 1:
        return f"{ctx.consts.add((name, 'one'), 'float', lambda: data.reshape(-1)[:1])}, 0u"
    wide = np.broadcast_to(data, shape)
    return f"{ctx.consts.add((name, f'as {list(shape)}'), 'float', lambda: wide.reshape(-1)[:row])}, 1u"


def _gather(ctx: Context, entry: Entry, op: Op, kernel: str) -> list[str]:
    indices = np.array(op.attrs["indices"], np.uint32)
    index = ctx.consts.add((op.outputs[0], "indices"), "uint32_t", lambda: indices)
    y, x = ctx.pointer(entry, op.outputs[0]), ctx.pointer(entry, op.inputs[0])
    return [*_cleared(ctx, op, y), f"ek_{kernel}({y}, {x}, {index}, {gather_sizes(ctx.graph, op)});"]


def _walk(ctx: Context, entry: Entry, op: Op, kernel: str) -> list[str]:
    y, xs = ctx.pointer(entry, op.outputs[0]), [ctx.pointer(entry, name) for name in op.inputs]
    return [*_cleared(ctx, op, y), *_filled(ctx, op, y), *walk_lines(ctx.graph, op, kernel, y, xs)]


def _filled(ctx: Context, op: Op, y: str) -> list[str]:
    """The border of a padded value, and what the value itself then goes over."""
    tensor = ctx.tensor(op.outputs[0])
    if op.kind != "pad" or tensor.dtype is SPIKE:
        return []
    return [f"ek_fill_{SUFFIXES[tensor.dtype]}({y}, {int(OPS['pad'].attr(op.attrs, 'value'))}, {tensor.size}u);"]


def _cleared(ctx: Context, op: Op, y: str) -> list[str]:
    """Single bits go into words whose unused bits must be zero."""
    tensor = ctx.tensor(op.outputs[0])
    return [f"ek_zero_spike({y}, {tensor.size}u);"] if tensor.dtype is SPIKE else []
