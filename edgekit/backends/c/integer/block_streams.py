"""Blocks of weights as a stream of words, for cores with two int16 in a register: see kernels/int_blocks_pairs.h."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer.context import Context, weight_bits
from edgekit.backends.c.integer.covering import Cover, cover
from edgekit.backends.c.integer.forms import Code, Product
from edgekit.ir import INT8, Tensor

PER = 4  # weights of a block
PAIRS_UNROLLED = 4
NEIGHBOURS = [0, 2, 1, 3]  # bytes of a word, of which SXTB16 makes pairs of neighbours
# bytes of code of one pair of blocks, four times each in a round of a kernel: a stream says where its blocks enter
CODE_BYTES: Mapping[str, int] = {
    **{"x8_w8": 44, "plain_x8_w8": 68, "x16_w8": 52, "x16_w16": 36},
    **{"w8_a16": 44, "w16_a16": 48, "w8_a32": 60, "w16_a32": 64},
}
WIDENED, PLAIN = 7, 3  # instructions of four inputs that are widened, and of each block more where they are not
MOST_BY_BYTES = 2**23 // 128 - 1  # weights of one output whose sum with int8 inputs stays below 2^23


def fits_bytes(weights: Tensor) -> bool:
    """Whether pairs of int8 weights fit int16, and sums of 256 times as much int32."""
    data = np.zeros((1, 1)) if weights.data is None else weights.data.astype(np.int64)
    return bool(data.min(initial=0) > INT8.limits[0] and np.abs(data).sum(axis=1).max(initial=0) <= MOST_BY_BYTES)


def dense(ctx: Context, product: Product) -> Code | None:
    """Blocks of four inputs, where rows of x begin at whole words."""
    p, x, w = product, ctx.tensor(product.x), ctx.tensor(product.w)
    (n_out, n_in), bits = w.shape, max(8, weight_bits(w))
    rows = x.size // n_in
    if rows > 1 and n_in % PER:
        return None
    data = np.pad(ctx.data(p.w), ((0, 0), (0, -n_in % PER)))
    blocks = cover(data, PER, PER if x.dtype is INT8 else 2)
    bytes_alone = x.dtype is INT8 and bits == 8
    plain = bytes_alone and PLAIN * blocks.row.size < WIDENED * n_in // PER
    by_bytes = bytes_alone and not plain and fits_bytes(w)
    widened = "plain_" if plain else "wide_" if x.dtype is INT8 and not by_bytes else ""
    code = "plain_x8_w8" if plain else "x8_w8" if by_bytes else f"x16_w{bits}"

    def make() -> Array:
        first = -127 * data[:, 0::2].astype(np.int64).sum(axis=1) if by_bytes else None
        # x in int16 is as it is, x of bytes in the order that SXTB16 makes of them
        values = blocks.values if (x.dtype is INT8) == (bits == 8) else blocks.values[:, NEIGHBOURS]
        return stream(
            blocks, n_out, _words(values, bits, by_bytes=by_bytes), unit=1 if plain else 2, code=code, first=first
        )[0]

    words = f"(const ek_word *){ctx.consts.add((p.w, f'stream of blocks, {code}'), 'uint32_t', make)}"
    kernel = f"pair_blocks_{widened}x{x.dtype.bits}_w{bits}_a{p.bits}"
    wide = "m->wide" if x.dtype is INT8 and not plain else "0"
    values = f"{ctx.pointer(p.entry, p.y)}, {p.c}, {p.step}u, {words}, {ctx.pointer(p.entry, p.x)}, {wide}"
    return Code(kernel, [f"ek_{kernel}({values}, {rows}u, {n_in}u, {n_out}u);"])


def rows_stream(ctx: Context, w: str, form: str) -> tuple[Array, Array]:
    """The stream of the rows of a matrix, and how many bytes into it each begins; that is the same in every form."""
    bits, columns = max(8, weight_bits(ctx.tensor(w))), ctx.data(w).T
    blocks = cover(np.pad(columns, ((0, 0), (0, -columns.shape[1] % ctx.flavour.lanes))), PER, 2)
    bytes_of_sum = 4 if form.endswith("a32") else 2
    words = _words(blocks.values[:, NEIGHBOURS] if bits == 8 else blocks.values, bits)
    return stream(blocks, len(columns), words, unit=bytes_of_sum, code=form)


def _words(values: Array, bits: int, *, by_bytes: bool = False) -> Array:
    """The words of each block, [blocks][1 or 2]."""
    whole = values.astype(np.int64).reshape(-1, PER)
    if by_bytes:  # 256 w1 + w0 and 256 w3 + w2
        halves = (256 * whole[:, 1::2] + whole[:, 0::2]) & 0xFFFF
        return np.asarray((halves[:, :1] | halves[:, 1:] << 16).astype(np.uint32))
    if bits == 8:
        return np.asarray(np.ascontiguousarray(whole.astype(np.int8)).view("<u4").astype(np.uint32))
    return np.asarray(np.ascontiguousarray(whole.astype("<i2")).view("<u4").astype(np.uint32))


def stream(
    blocks: Cover, rows: int, words: Array, *, unit: int, code: str, first: Array | None = None
) -> tuple[Array, Array]:
    """The words of all rows, and at which byte each begins; `unit` bytes for each place, `first` before each head."""
    parts, begins, at = list[Array](), list[int](), 0
    ends = np.cumsum(blocks.counts(rows))
    for row, end in enumerate(ends.tolist()):
        begin = int(ends[row - 1]) if row else 0
        places, weights = unit * blocks.start[begin:end], words[begin:end]
        if (end - begin) % 2:  # zeros at the place of the last block
            places, weights = np.append(places, places[-1]), np.pad(weights, ((0, 1), (0, 0)))
        pairs = len(places) // 2
        skipped = (-pairs % PAIRS_UNROLLED) if pairs else PAIRS_UNROLLED
        together = (places[0::2] | places[1::2] << 16)[:, None]
        body = np.concatenate([together, weights.reshape(pairs, -1)], axis=1).reshape(-1) if pairs else places
        head = [4 * body.size | skipped * CODE_BYTES[code] << 16]
        lead = [] if first is None else [int(first[row]) & 0xFFFFFFFF]
        parts.append(np.concatenate([np.array([*lead, *head], np.int64), body]))
        begins.append(4 * at)
        at += parts[-1].size
    return np.concatenate(parts).astype(np.uint32), np.array(begins, np.int64)
