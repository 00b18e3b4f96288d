"""Calls of the convolution kernels: which inputs a place sees, and weights packed group by group."""

from __future__ import annotations

from math import prod

import numpy as np

from edgekit.backends.c.context import Context
from edgekit.backends.c.data import PAD_I8, Array, pack_panels, padded
from edgekit.backends.c.select import taps_run
from edgekit.ir import FLOAT32, OPS, SPIKE, Entry, Op
from edgekit.ir.graph import Shape

NEAR = 2**16  # taps that lie nearer than this are numbers of 16 bits


def conv_lines(ctx: Context, entry: Entry, op: Op) -> list[str]:
    """y = conv(x, w) (+ bias): the table of its sizes, and the call of its kernel."""
    x, w, *bias = op.inputs
    shape, weights, out = (ctx.tensor(n).shape for n in (x, w, op.outputs[0]))
    groups, dilation = OPS["conv"].attr(op.attrs, "groups"), op.attrs["dilation"]
    taps = _taps(shape, weights, dilation)
    places, step = _places(shape, out, op.attrs["stride"])
    run = taps_run(ctx.graph, op)
    sizes = [groups, taps.size, weights[0] // groups, shape[0] // groups * prod(shape[1:])]
    axes = [f"{{{', '.join(f'{n}u' for n in axis)}}}" for axis in (places, step)]
    far = int(taps.max(initial=0)) >= NEAR
    where = ctx.consts.add(
        (w, "taps"), f"uint{32 if far else 16}_t", lambda: taps.astype(np.uint32 if far else np.uint16)
    )
    c = ctx.whole(entry, bias[0], weights[:1]) if bias else "0"
    scale = "0" if ctx.tensor(w).dtype is FLOAT32 else ctx.scales(w)
    args = [ctx.pointer(entry, op.outputs[0]), c, _packed(ctx, op), scale, ctx.pointer(entry, x), where]
    args += ["m->seen", "m->row"] if ctx.tensor(x).dtype is SPIKE else []
    return [
        f"static const ek_conv conv = {{{', '.join([*(f'{n}u' for n in sizes), *axes, f'{run}u'])}}};",
        f"ek_{ctx.kernel(op)}{'_far' if far else ''}({', '.join([*args, '&conv'])});",
    ]


def _taps(shape: Shape, weights: Shape, dilation: Shape) -> Array:
    """Where the inputs of the first place of a group lie in x, in the order of a row of weights [in, *taps]."""
    numbers = np.arange(prod(shape), dtype=np.int64).reshape(shape)[: weights[1]]
    seen = tuple(slice(0, (k - 1) * d + 1, d) for k, d in zip(weights[2:], dilation, strict=True))
    return numbers[(slice(None), *seen)].reshape(-1)


def _places(shape: Shape, out: Shape, stride: Shape) -> tuple[Shape, Shape]:
    """How many places there are along three axes, and how far apart they lie in x."""
    missing = (1,) * (4 - len(out))
    apart = [s * prod(shape[axis + 2 :]) for axis, s in enumerate(stride)]
    return (*missing, *out[1:]), (*(0 for _ in missing), *apart)


def _packed(ctx: Context, op: Op) -> str:
    """The weights as their kernel reads them: row-major, or in panels for each group."""
    w = op.inputs[1]
    tensor, groups = ctx.tensor(w), OPS["conv"].attr(op.attrs, "groups")
    ctype, pad = ("float", ctx.pad) if tensor.dtype is FLOAT32 else ("int8_t", PAD_I8)
    rows = ctx.data(w).reshape(groups, tensor.shape[0] // groups, -1)
    if "_wide_" in ctx.kernel(op):
        return ctx.consts.add((w, "rows"), ctype, lambda: padded(rows))
    return ctx.consts.add((w, "panels"), ctype, lambda: np.concatenate([pack_panels(r, pad) for r in rows]))
