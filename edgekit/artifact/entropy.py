"""Entropy-coded integers: bytes with their form, their tables of frequencies and their stream, as short as they go.

A coded block is, in bits, least significant first: 1 whether symbols are half bytes, 1 whether what follows a zero has
tables of its own, 2 the logarithm of the planes, 3 the number of the span in SPANS; then the tables, then 1 for each
span, its class; then, from the next whole byte, the words of the
stream (rans.py), little endian. A table is 8 bits the first and 8 the last symbol that occurs (a symbol is a byte xor
128, or a half byte xor 8), and, where these differ, 4 bits an order k, 12 bits the first frequency less 1
and each further one but the last as its difference from the one before, folded (0, -1, 1, -2 …) and in Exp-Golomb code
of order k. A first symbol above the last stands for a flat table of all symbols alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgekit.artifact.bits import BitReader, BitWriter
from edgekit.artifact.classes import LEAST, classes_of
from edgekit.artifact.rans import TOTAL, Bytes, Counts, Form, Model, Words, decode, encode, normalised
from edgekit.errors import ArtifactError

MAX_SYMBOLS = 1 << 22  # of one block: reading takes about half a microsecond each
TABLE = 1 << 10  # symbols that take as long to read as a table does
ORDERS = range(8)
HALVES = 1.03
SPANS = (0, 16, 64, 256, 1024)  # symbols
MOST_SPANNED = 1 << 20  # symbols: with more, looking for classes takes too long


@dataclass(frozen=True, eq=False)
class Coded:
    """Bytes in coded form: how many symbols, what they are coded with, and the words of their stream."""

    count: int
    model: Model
    words: Words

    @property
    def effort(self) -> int:
        """How long reading takes, in symbols: each table counts as many."""
        return self.count + TABLE * self.model.form.contexts

    def decoded(self, where: str = "coded bytes") -> Bytes:
        """The bytes; ArtifactError when the stream does not hold exactly them."""
        return self.model.form.joined(decode(self.words, self.count, self.model, where))

    def to_bytes(self) -> bytes:
        """The block, without the count, which is known from elsewhere."""
        out, form = BitWriter(), self.model.form
        out.put(form.bits == 4, 1)
        out.put(form.zeros, 1)
        out.put(form.planes.bit_length() - 1, 2)
        out.put(SPANS.index(form.span), 3)
        for table in self.model.tables:
            _put_table(out, table)
        for group in self.model.classes.tolist():
            out.put(group, 1)
        return out.to_bytes() + self.words.astype("<u2").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes, nbytes: int, where: str = "coded bytes") -> Coded:
        """The block of `nbytes` bytes in `data`; ArtifactError for anything malformed."""
        bits = BitReader(data, where)
        form = Form(4 if bits.take(1) else 8, zeros=bool(bits.take(1)), planes=1 << bits.take(2))
        span = bits.take(3)
        if span >= len(SPANS):
            raise ArtifactError(where, "has spans of a length that is not known")
        form = replace(form, span=SPANS[span])
        count = nbytes * (8 // form.bits)
        if not 0 < count <= MAX_SYMBOLS:
            raise ArtifactError(where, f"holds {count:,} symbols, which is none or more than {MAX_SYMBOLS:,}")
        tables = tuple(_take_table(bits, 1 << form.bits, where) for _ in range(form.contexts))
        classes = np.array([bits.take(1) for _ in range(form.spans(count))], np.uint8)
        rest = bits.rest()
        if len(rest) % 2:
            raise ArtifactError(where, "has half a word at its end")
        return cls(count, Model(form, classes, tables), np.frombuffer(rest, "<u2").astype(np.uint16))


def table_bits(table: Counts) -> int:
    """How many bits a table takes in a block."""
    out = BitWriter()
    _put_table(out, table)
    return out.count


def coded(
    data: Bytes,
    planes: Sequence[int] = (1,),
    *,
    nibbles: bool = False,
    cost: Callable[[Counts], int] = table_bits,
) -> Coded | None:
    """The shortest block of some bytes over the forms with so many `planes`; None for too few or too many of them.

    `cost` tells the bits that a table takes, where that is not in a block.
    """
    forms = [Form(8, p, z) for p in planes for z in (False, True)]
    forms += [Form(4, 1, z) for z in (False, True)] if nibbles else []
    forms = [f for f in forms if 0 < data.size * (8 // f.bits) <= MAX_SYMBOLS]
    if not forms:
        return None
    none = np.zeros(0, np.uint8)
    plans = [_plan(form.symbols(data), form, none, cost) for form in forms]
    form = min(plans, key=_bits)[0].form
    symbols = form.symbols(data)
    if LEAST <= symbols.size <= MOST_SPANNED:
        spanned = [replace(form, span=span) for span in SPANS[1:] if symbols.size > 2 * span]
        plans += [_plan(symbols, f, classes_of(symbols, f), cost) for f in spanned]
    model, _ = min(plans, key=_bits)
    return Coded(symbols.size, model, encode(symbols, model))


def _bits(plan: tuple[Model, float]) -> float:
    """Bits of a plan; half bytes, which take twice as long to read, have to save something."""
    model, bits = plan
    return bits * HALVES if model.form.bits == 4 else bits


def _plan(symbols: Bytes, form: Form, classes: Bytes, cost: Callable[[Counts], int]) -> tuple[Model, float]:
    """What symbols of these classes are coded with, and how many bits all of it takes."""
    size = 1 << form.bits
    context = form.context(symbols, classes).astype(np.int64)
    counts = np.bincount(context * size + symbols, minlength=form.contexts * size)
    tables, total = [], float(classes.size)
    for seen in counts.reshape(form.contexts, size):
        table, flat = normalised(seen), np.full(size, TOTAL // size)
        costs = [cost(t) + _stream_bits(seen, t) for t in (table, flat)]
        tables.append(table if costs[0] <= costs[1] else flat)
        total += min(costs)
    return Model(form, classes, tuple(tables)), total


def _stream_bits(counts: Counts, table: Counts) -> float:
    there = counts > 0
    return float((counts[there] * np.log2(TOTAL / table[there])).sum())


def _put_table(out: BitWriter, values: Counts) -> None:
    there = np.nonzero(values)[0]
    if (values == TOTAL // values.size).all():
        out.put(1, 8)
        out.put(0, 8)
        return
    low, high = int(there[0]), int(there[-1])
    out.put(low, 8)
    out.put(high, 8)
    if low == high:
        return
    steps = np.diff(values[low:high])
    folded = np.where(steps < 0, -2 * steps - 1, 2 * steps).tolist()
    order = min(ORDERS, key=lambda k: sum(_golomb_bits(v, k) for v in folded))
    out.put(order, 4)
    out.put(int(values[low]) - 1, 12)
    for v in folded:
        out.put_golomb(v, order)


def _golomb_bits(value: int, order: int) -> int:
    return 2 * ((value >> order) + 1).bit_length() - 1 + order


def _take_table(bits: BitReader, size: int, where: str) -> Counts:
    low, high = bits.take(8), bits.take(8)
    if low > high:
        if (low, high) != (1, 0):
            raise ArtifactError(where, "has a table from a symbol to one before it")
        return np.full(size, TOTAL // size, np.int64)
    if high >= size:
        raise ArtifactError(where, f"has a table of more than {size} symbols")
    values = np.zeros(size, np.int64)
    if low == high:
        values[low] = TOTAL
        return values
    order = bits.take(4)
    if order not in ORDERS:
        raise ArtifactError(where, f"has a table in a code of order {order}")
    value = values[low] = bits.take(12) + 1
    for at in range(low + 1, high):
        folded = bits.take_golomb(order)
        value += -(folded + 1) // 2 if folded & 1 else folded // 2
        values[at] = value
        if value < 0:
            break
    values[high] = TOTAL - values.sum()
    if (values < 0).any() or values[high] == 0:
        raise ArtifactError(where, f"has frequencies that do not add up to {TOTAL}")
    return values
