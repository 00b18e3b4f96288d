"""Products with weights that are zero but for blocks: only the blocks are kept, with where each begins.

Zeros alone do not make that worth it: a kernel of blocks takes more instructions for a weight than a dense one, so that
the blocks have to cover little enough of the matrix. How little was measured for each instruction set. Blocks have to
take less flash too: than the whole matrix, and than one of few values as numbers of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer import block_streams
from edgekit.backends.c.integer.context import Context, weight_bits
from edgekit.backends.c.integer.covering import Cover, cover, tiles
from edgekit.backends.c.integer.event_groups import group_of
from edgekit.backends.c.integer.flavour import Flavour
from edgekit.backends.c.integer.forms import Code, Product, no_groups
from edgekit.backends.c.integer.levels import levels_of, pays
from edgekit.backends.c.integer.portable import is_listed
from edgekit.backends.c.integer.weights import CTYPES, stored
from edgekit.backends.c.integer.wide_layout import UNIT, lifts
from edgekit.ir import SPIKE, Tensor

MOST = 2**16 - 1  # places, counts and numbers of blocks have 16 bits
PAIRS = "dsp"  # the flavour whose blocks come in a stream
KERNELS: Mapping[str, str] = {"portable": "", "wide": "wide_", "mve": "eight_", PAIRS: "pair_"}
LINES: Mapping[str, int] = {"portable": 4, "dsp": 4, "mve": 16, "wide": 16}  # weights of a block in a line
TILE_BITS = 32  # of the weights of each output of a tile
TILE = "_tile"  # at the end of the name of a form of tiles


@dataclass(frozen=True)
class Layout:
    """How a matrix is kept: in lines or tiles of so many weights of one row, which begin at multiples of `step`."""

    per: int
    step: int = 1
    outputs: int = 1

    def cover(self, rows: Array) -> Cover:
        """The blocks of W[rows, width] that are not all zero."""
        return cover(rows, self.per, self.step) if self.outputs == 1 else tiles(rows, self.per, self.outputs)


def layout_of(flavour: Flavour, w: Tensor, *, spikes: bool, bits: int = 0) -> Layout | None:
    """How a matrix is kept in blocks, over spikes or over x of so many bits; None where it is better kept whole.

    Densities above 1, which no measurement gives, mean blocks in any case.
    """
    if w.data is None or max(w.shape) > MOST // 4:
        return None
    form, length = (f"event_w{weight_bits(w)}", w.shape[0]) if spikes else (f"x{bits}_w{weight_bits(w)}", w.shape[1])
    step = (2 if spikes or bits == 16 else 4) if flavour.name == PAIRS else 1
    layouts = {form: Layout(LINES[flavour.name], step)}
    if flavour.name == "wide" and not spikes:
        layouts[form + TILE] = Layout(TILE_BITS // max(8, weight_bits(w)), 1, UNIT)
    nonzero, best, least = np.count_nonzero(w.data), None, 1.0
    for name, layout in layouts.items():
        most = _most(flavour, name, length) * w.size
        if not most or nonzero > most or length < 2 * layout.per:
            continue
        rows = rows_of(flavour, w.data, spikes=spikes)
        covered = layout.cover(rows)
        blocks = covered.counts(len(rows)) if spikes else covered.row
        # neurons with many weights fire more often than those with few: rows count for as much as they hold
        size = len(rows) * float(np.square(blocks).sum()) / max(1, blocks.sum()) if spikes else blocks.size
        share = size * layout.per * layout.outputs / most
        if covered.row.size <= MOST and share <= least and (most > w.size or _saves(flavour, w, covered)):
            best, least = layout, share
    return best


def _saves(flavour: Flavour, w: Tensor, blocks: Cover) -> bool:
    """Whether blocks take less flash than the whole matrix, or than numbers of its values where there are few."""
    wide = flavour.name == "wide"
    bits = max(8, weight_bits(w))
    taken = blocks.values.size * bits // 8 + 2 * blocks.row.size
    levels = None if wide else levels_of(w)
    if levels is not None and pays(taken, w.size * levels.bits // 8):
        return False
    return taken < w.size * (bits if wide else weight_bits(w)) // 8


def _most(flavour: Flavour, form: str, length: int) -> float:
    """The share that blocks may cover: what was measured at the longest row that is no longer than this one."""
    measured = flavour.densities.get(form, {})
    return max(((n, share) for n, share in measured.items() if n <= length), default=(0, 0.0))[1]


def rows_of(flavour: Flavour, w: Array, *, spikes: bool) -> Array:
    """W[out, in] as its blocks lie in it: of outputs over spikes, whose sums lie in whole registers, else of inputs."""
    rows, whole = (w.T, flavour.lanes) if spikes else (w, 4 if flavour.name == PAIRS else 1)
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % whole)))


def block_code(ctx: Context, product: Product) -> Code | None:
    """y = W x + c of weights in blocks; None where another form is better or there is none for the case."""
    p, x, w = product, ctx.tensor(product.x), ctx.tensor(product.w)
    if x.dtype is SPIKE:
        if ctx.flavour.name == PAIRS or not is_listed(ctx, p):  # in the former rows of a group tell where blocks are
            return None
        if ctx.forms.groups is not no_groups and group_of(ctx, p) is None:
            return None
        layout = layout_of(ctx.flavour, w, spikes=True)
        return None if layout is None else _events(ctx, p, layout)
    layout = layout_of(ctx.flavour, w, spikes=False, bits=x.dtype.bits)
    if layout is None or ctx.forms.in_spans(ctx, p):
        return None
    if ctx.flavour.name == PAIRS:
        return block_streams.dense(ctx, p)
    return _tiles(ctx, p, layout) if layout.outputs > 1 else _lines(ctx, p, layout)


def _lines(ctx: Context, product: Product, layout: Layout) -> Code:
    p, x, w = product, ctx.tensor(product.x), ctx.tensor(product.w)
    bits, data = max(8, weight_bits(w)), ctx.data(product.w)
    blocks = layout.cover(data)
    arrays = f"{_arrays(ctx, p.w, blocks, bits)}, {_counts(ctx, p.w, blocks, -(-w.shape[0] // 8) * 8)}"
    mild = f", {int(bits == 8 and int(data.min(initial=0)) > -128)}" if ctx.flavour.name == "wide" else ""
    kernel = f"{KERNELS[ctx.flavour.name]}blocks_x{x.dtype.bits}_w{bits}_a{p.bits}"
    return _dense(ctx, p, kernel, arrays, mild)


def _tiles(ctx: Context, product: Product, layout: Layout) -> Code:
    p, x, w = product, ctx.tensor(product.x), ctx.tensor(product.w)
    bits, data = max(8, weight_bits(w)), ctx.data(product.w)
    blocks = layout.cover(data)
    arrays = f"{_arrays(ctx, p.w, blocks, bits)}, {_counts(ctx, p.w, blocks, -(-w.shape[0] // layout.outputs))}"
    arrays += f", {ctx.consts.add((p.w, 'lift'), 'int32_t', lambda: lifts(data))}" if bits == 8 else ", 0"
    return _dense(ctx, p, f"wide_tiles_x{x.dtype.bits}_w{bits}_a{p.bits}", arrays, "")


def _dense(ctx: Context, product: Product, kernel: str, arrays: str, more: str) -> Code:
    p, x, (n_out, n_in) = product, ctx.tensor(product.x), ctx.tensor(product.w).shape
    to, from_ = ctx.pointer(p.entry, p.y), ctx.pointer(p.entry, p.x)
    sizes = f"{x.size // n_in}u, {n_in}u, {n_out}u{more}"
    return Code(kernel, [f"ek_{kernel}({to}, {p.c}, {p.step}u, {arrays}, {from_}, {sizes});"])


def _events(ctx: Context, product: Product, layout: Layout) -> Code:
    p, w = product, ctx.tensor(product.w)
    bits, rows = max(8, weight_bits(w)), ctx.forms.by_list(ctx, rows_of(ctx.flavour, ctx.data(p.w), spikes=True))
    blocks = layout.cover(rows)
    begin = np.concatenate([[0], np.cumsum(blocks.counts(len(rows)))]).astype(np.uint16)
    first = ctx.consts.add((p.w, "first blocks of rows"), "uint16_t", lambda: begin)
    kernel = f"{KERNELS[ctx.flavour.name]}block_rows_w{bits}_a{p.bits}"
    fired, count, find = ctx.forms.fired(ctx, p)
    arrays = f"{_arrays(ctx, p.w, blocks, bits)}, {first}"
    call = f"ek_{kernel}({ctx.pointer(p.entry, p.y)}, {p.c}, {arrays}, {fired}, {count}, {w.shape[0]}u);"
    return Code(kernel, [*find, call])


def _arrays(ctx: Context, w: str, blocks: Cover, bits: int) -> str:
    """The arguments of a kernel for the weights of blocks and for where they begin, of which there is at least one."""

    def some(values: Array) -> Array:
        return values if len(values) else np.zeros((1, *values.shape[1:]), values.dtype)

    weights = ctx.consts.add((w, "blocks"), CTYPES[bits], lambda: stored(some(blocks.values), bits))
    places = ctx.consts.add((w, "where blocks begin"), "uint16_t", lambda: some(blocks.start).astype(np.uint16))
    return f"{weights}, {places}"


def _counts(ctx: Context, w: str, blocks: Cover, rows: int) -> str:
    """How many blocks each row has."""
    return ctx.consts.add((w, "blocks of each row"), "uint16_t", lambda: blocks.counts(rows).astype(np.uint16))
