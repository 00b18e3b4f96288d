"""Range asymmetric numeral systems: bytes or half bytes as one whole number that grows by what each of them tells.

A symbol s of frequency f_s of 2^12, whose range begins at c_s, takes the state x to 2^12 ⌊x / f_s⌋ + c_s + x mod f_s;
16 bits at a time leave the state for the stream while it would pass 2^32. Reading undoes it, last symbol first, so that
writing begins at the end. (J. Duda, Asymmetric numeral systems, arXiv:1311.2540, 2013.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.errors import ArtifactError

PRECISION = 12
TOTAL = 1 << PRECISION
FIRST = 1 << 16  # the least state, and the one that writing begins with

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint16]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Form:
    """How bytes are symbols, and which frequencies each of them has.

    Symbols have `bits` 8, or 4, the lower half of a byte first; they count from the least signed number, so that a zero
    is the symbol `zero` in the middle. `planes` is how many bytes an element has: each has
    frequencies of its own. With `zeros` there are two of each, for what follows a zero of the same plane, and for what
    follows another: runs of zeros cost next to nothing. With a `span`, each so many symbols are of one of two classes,
    0 and 1, which have their own: of rows of small weights and of large ones, say.
    """

    bits: int = 8
    planes: int = 1
    zeros: bool = False
    span: int = 0

    @property
    def zero(self) -> int:
        """The symbol of a zero: 128, or 8."""
        return 1 << self.bits - 1

    @property
    def alike(self) -> int:
        """How many tables of frequencies a class has: plane · 2 + (the one before is zero), or just plane."""
        return self.planes * (2 if self.zeros else 1)

    @property
    def contexts(self) -> int:
        """How many tables there are, those of class 0 first."""
        return self.alike * (2 if self.span else 1)

    def spans(self, count: int) -> int:
        """How many spans so many symbols have."""
        return -(-count // self.span) if self.span else 0

    def symbols(self, data: Bytes) -> Bytes:
        """The bytes as symbols."""
        parts = data if self.bits == 8 else np.stack([data & 15, data >> 4], axis=1).reshape(-1)
        return np.asarray(parts ^ self.zero, np.uint8)

    def joined(self, symbols: Bytes) -> Bytes:
        """The symbols as bytes again."""
        parts = symbols ^ np.uint8(self.zero)
        return parts if self.bits == 8 else np.asarray(parts[::2] | parts[1::2] << 4, np.uint8)

    def context(self, symbols: Bytes, classes: Bytes) -> Bytes:
        """The table that each symbol is coded with; before the first of a plane there was a zero."""
        found = np.resize(np.arange(self.planes, dtype=np.uint8), symbols.size)
        if self.zeros:
            before = np.concatenate([np.full(self.planes, self.zero, np.uint8), symbols])[: symbols.size]
            found = found * 2 + (before == self.zero)
        if self.span:
            found = found + np.repeat(classes, self.span)[: symbols.size] * self.alike
        return np.asarray(found, np.uint8)


@dataclass(frozen=True, eq=False)
class Model:
    """What symbols are coded with: their form, the class of each span, and the frequencies of each context, of 2^12."""

    form: Form
    classes: Bytes
    tables: tuple[Counts, ...]


def normalised(counts: Counts) -> Counts:
    """Frequencies that add up to 2^12, none of a symbol that occurs 0; all alike where nothing was counted."""
    total = counts.sum()
    if total == 0:
        return np.full(counts.size, TOTAL // counts.size)
    whole = np.where(counts > 0, np.maximum(np.floor(counts * (TOTAL / total) + 0.5), 1), 0).astype(np.int64)
    while (left := TOTAL - int(whole.sum())) != 0:  # from, or to, those whose codes it changes least
        way = 1 if left > 0 else -1
        after = np.maximum(whole + way, 1)
        cost = np.where(whole + way > 0, -way * counts * np.log2(after / np.maximum(whole, 1)), np.inf)
        cost[counts == 0] = np.inf
        best = np.argsort(cost, kind="stable")[: max(1, min(abs(left), int((whole > 1).sum()) // 2))]
        whole[best] += way
    return whole


def encode(symbols: Bytes, model: Model) -> Words:
    """The stream of symbols: the state after the last, upper half first, then the words in the order of reading."""
    starts = [(np.cumsum(f) - f).tolist() for f in model.tables]
    frequencies = [f.tolist() for f in model.tables]
    contexts = model.form.context(symbols, model.classes)
    state, words = FIRST, list[int]()
    for s, c in zip(symbols[::-1].tolist(), contexts[::-1].tolist(), strict=True):
        f = frequencies[c][s]
        if state >= f << 32 - PRECISION:
            words.append(state & 0xFFFF)
            state >>= 16
        more, rest = divmod(state, f)
        state = (more << PRECISION) + starts[c][s] + rest
    words += [state & 0xFFFF, state >> 16]
    return np.array(words[::-1], np.uint16)


def decode(words: Words, count: int, model: Model, where: str) -> Bytes:
    """So many symbols of a stream; ArtifactError unless it holds exactly them."""
    if any(f.sum() != TOTAL or (f < 0).any() for f in model.tables):
        raise ArtifactError(where, f"has frequencies that do not add up to {TOTAL}")
    if words.size < 2:
        raise ArtifactError(where, "has a stream that is cut short")
    form, by_slot = model.form, [_by_slot(f) for f in model.tables]
    stream = words.tolist()
    state, at, planes, zeros, zero = stream[0] << 16 | stream[1], 2, form.planes, form.zeros, form.zero
    found = bytearray(count)
    span = form.span or count
    context, wide = list(range(planes)) if not zeros else [2 * p + 1 for p in range(planes)], planes > 1
    c = context[0]
    try:
        for start, group in zip(range(0, count, span), model.classes.tolist() or [0], strict=True):
            known = by_slot[group * form.alike :][: form.alike]
            for i in range(start, min(start + span, count)):
                if wide:
                    c = context[i % planes]
                names, frequencies, starts = known[c]
                slot = state & TOTAL - 1
                s = names[slot]
                state = frequencies[s] * (state >> PRECISION) + slot - starts[s]
                if state < FIRST:
                    state = state << 16 | stream[at]
                    at += 1
                found[i] = s
                if zeros:
                    c = c | 1 if s == zero else c & ~1
                    if wide:
                        context[i % planes] = c
    except IndexError:
        raise ArtifactError(where, "has a stream that is cut short") from None
    if at != len(stream) or state != FIRST:
        raise ArtifactError(where, "has a stream that does not end where its symbols do")
    return np.frombuffer(found, np.uint8)


def _by_slot(frequencies: Counts) -> tuple[bytes, list[int], list[int]]:
    """Of each number below 2^12 its symbol; of each symbol its frequency, and where its range begins."""
    names = np.repeat(np.arange(frequencies.size, dtype=np.uint8), frequencies)
    return names.tobytes(), frequencies.tolist(), (np.cumsum(frequencies) - frequencies).tolist()
