"""Constant arrays in entropy-coded form: what lies in flash, the field of the struct that init decodes it into."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edgekit.artifact.entropy import Coded, coded
from edgekit.artifact.rans import TOTAL
from edgekit.backends.c.data import Array, c_array
from edgekit.backends.c.layout import Field, field_of

LEAST = 256  # bytes of an array that is worth a try
HINTED = 128  # of the 4096 have a hint in common at where their ranges begin: 32 bytes of them are EK_CODED_HINTS
SAVED = 32  # bytes that coding has to save at least: about what the call takes
DECODER = 600  # bytes of code of ek_decode: arrays have to save more in all
_MEMBERS = {"uint8_t": "int8_t"}  # C type -> that of the field; those that are missing are their own
_CODED = ("int8_t", "uint8_t", "int16_t", "uint16_t", "int32_t", "uint32_t")


@dataclass
class Coding:
    """The constants of a program that are coded so far: their fields, the lines of C that fill them, their bytes."""

    align: int
    fields: list[Field] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    nbytes: int = 0
    saved: int = 0
    closed: bool = False

    @property
    def pays(self) -> bool:
        """Whether the arrays save more than the code that decodes them takes."""
        return self.saved > DECODER

    def close(self) -> None:
        """Code no more: the struct is laid out now."""
        self.closed = True

    @property
    def decoded_bytes(self) -> int:
        """Bytes of RAM that the decoded arrays take."""
        return sum(f.nbytes for f in self.fields)

    def take(self, name: str, ctype: str, values: Array) -> tuple[str, str, int] | None:
        """Of a constant array: its C, the expression of its decoded form, and its bytes; None where that saves nothing.

        The array is then a `uint16_t` one: what `_tables` gives, then the stream.
        """
        data = np.frombuffer(values.tobytes(), np.uint8)
        if self.closed or ctype not in _CODED or data.size < LEAST:
            return None
        planes = tuple(dict.fromkeys((1, values.itemsize)))
        found = coded(data, planes, nibbles=True, cost=lambda table: 16 * _table(table).size)
        if found is None:
            return None
        head = _tables(found)
        code = np.concatenate([head, found.words])
        if code.nbytes + SAVED > data.size:
            return None
        member = field_of(
            _MEMBERS.get(ctype, ctype), f"decoded{len(self.fields)}", data.size, f"{name}, decoded", self.align
        )
        form = found.model.form
        shift = form.span.bit_length() - 1 if form.span else 0
        arguments = f"{found.count}u, {name}, {head.size}u, {form.planes}u, {int(form.zeros)}u, {form.zero}u, {shift}u"
        self.fields.append(member)
        self.lines.append(f"ek_decode((uint8_t *)m->{member.name}, {arguments});")
        self.nbytes += code.nbytes
        self.saved += data.size - code.nbytes - SAVED
        return c_array("uint16_t", name, code, 4), f"((const {ctype} *)m->{member.name})", code.nbytes


def _tables(found: Coded) -> Array:
    """Where the table of each context begins, then the classes of spans in words of 16, then the tables."""
    tables = [_table(frequencies) for frequencies in found.model.tables]
    classes = np.packbits(np.pad(found.model.classes, (0, -found.model.classes.size % 16)), bitorder="little").view(
        "<u2"
    )
    begins = len(tables) + classes.size + np.cumsum([0, *(t.size for t in tables[:-1])])
    return np.concatenate([begins, classes, *tables]).astype(np.uint16)


def _table(frequencies: Array) -> Array:
    """First symbol, number of symbols, hints, borders of their ranges; of a flat table, whose number is 0, no more."""
    if (frequencies == TOTAL // frequencies.size).all():
        return np.zeros(2, np.int64)
    there = np.nonzero(frequencies)[0]
    ends = np.cumsum(frequencies[there[0] : there[-1] + 1])
    hints = np.searchsorted(ends, np.arange(0, TOTAL, HINTED), side="right")
    return np.array([there[0], ends.size, *(hints[::2] | hints[1::2] << 8), 0, *ends])
