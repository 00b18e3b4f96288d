"""Forms for A-class cores and x86: sums in whole registers, over weights in blocks and in rows of whole registers."""

from __future__ import annotations

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer.context import Context, weight_bits
from edgekit.backends.c.integer.forms import Code, Forms, Product
from edgekit.backends.c.integer.portable import fired_list, is_listed
from edgekit.backends.c.integer.weights import CTYPES, stored
from edgekit.backends.c.integer.wide_fused import fused

FEWEST = 4  # outputs; fewer are faster one by one
UNIT, BLOCK = 8, 32  # outputs that are summed side by side; of a block of weights
GROUP_BYTES = 4  # weights of one output that lie together
EVENT_UNIT = 16  # outputs of one register of event weights
LIFT = 128  # what products of bytes are moved by where one factor has to be unsigned


def dense(ctx: Context, product: Product) -> Code | None:
    """Blocks of outputs; rows of x have to begin at whole groups, and end at them."""
    p, x, w = product, ctx.tensor(product.x), ctx.tensor(product.w)
    bits, (n_out, n_in) = weight_bits(w), w.shape
    rows = x.size // n_in
    if bits == 4 or n_out < FEWEST or (rows > 1 and n_in % (8 * GROUP_BYTES // bits)):
        return None
    kernel = f"wide_x{x.dtype.bits}_w{bits}_a{p.bits}"
    data = ctx.data(p.w)
    weights = ctx.consts.add((p.w, "blocks of outputs"), CTYPES[bits], lambda: stored(blocks(data, bits), bits))
    lift = ctx.consts.add((p.w, "lift"), "int32_t", lambda: lifts(data)) if bits == 8 else "0"
    to, from_ = ctx.pointer(p.entry, p.y), ctx.pointer(p.entry, p.x)
    mild = int(bits == 8 and int(data.min(initial=0)) > -LIFT)
    sizes = f"{rows}u, {n_in}u, {n_out}u, {mild}"
    return Code(kernel, [f"ek_{kernel}({to}, {p.c}, {p.step}u, {weights}, {lift}, {from_}, {sizes});"])


def blocks(w: Array, bits: int) -> Array:
    """W[out, in] in blocks of outputs, each [groups of inputs][outputs][inputs of a group], padded with zeros."""
    per = 8 * GROUP_BYTES // bits
    rows = np.pad(w, ((0, -w.shape[0] % UNIT), (0, -w.shape[1] % per)))
    parts = [rows[at : at + BLOCK] for at in range(0, rows.shape[0], BLOCK)]
    return np.concatenate([part.reshape(len(part), -1, per).swapaxes(0, 1).reshape(-1) for part in parts])


def lifts(w: Array) -> Array:
    """What each output's weights add when every input is moved by 128, in whole units."""
    sums = LIFT * w.astype(np.int64).sum(axis=1)
    return np.pad(sums, (0, -sums.size % UNIT)).astype(np.int32)


def events(ctx: Context, product: Product) -> Code | None:
    """Rows of whole registers, for spikes that are listed for the whole entry."""
    p, w = product, ctx.tensor(product.w)
    bits, n_out = weight_bits(w), w.shape[0]
    if bits == 4 or not is_listed(ctx, p):
        return None
    stride = -(-n_out // EVENT_UNIT) * EVENT_UNIT
    fired, count, find = fired_list(ctx, p, 1)

    def make() -> Array:
        return stored(np.pad(ctx.data(p.w).T, ((0, 0), (0, stride - n_out))), bits)

    rows = ctx.consts.add((p.w, "event rows of registers"), CTYPES[bits], make)
    kernel = f"wide_event_w{bits}_a{p.bits}"
    to = ctx.pointer(p.entry, p.y)
    return Code(kernel, [*find, f"ek_{kernel}({to}, {p.c}, {rows}, {fired}, {count}, {stride}u, {n_out}u);"])


WIDE = Forms(dense=dense, events=events, fused=fused)
