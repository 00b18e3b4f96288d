"""Constants as C text: number formatting, panel packing, spike words, and the table of a memory update."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.ir.plan import ALIGN, LANES

Array = npt.NDArray[Any]
PANEL = 64  # outputs of a full weight panel: as many sums as fit the registers of every target
DOT_BLOCK = 32  # outputs of a block of int8 weights for dot products
PAD_I8 = 16  # outputs of int8 weights are padded to one 16-byte load


def float_literal(value: float) -> str:
    """A float32 as a C literal that reads back exactly."""
    text = f"{float(np.float32(value)):.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _rows(items: list[str], per_line: int) -> str:
    lines = (", ".join(items[at : at + per_line]) for at in range(0, len(items), per_line))
    return "".join(f"    {line},\n" for line in lines)


def c_array(ctype: str, name: str, values: Array, align: int = ALIGN) -> str:
    """A constant array, aligned to a cache line unless told. Nine significant digits give a float32 back exactly."""
    if values.dtype.kind == "f":
        items = [f"{v:.9g}" if v or not np.signbit(v) else "-0.0" for v in values.reshape(-1).tolist()]
        per_line = 8
    else:
        items = [f"{v}u" if values.dtype.kind == "u" and values.itemsize > 1 else str(v) for v in values.tolist()]
        per_line = 32 if values.itemsize == 1 else 8
    return f"static const {ctype} EK_ALIGNED({align}) {name}[{values.size}] = {{\n{_rows(items, per_line)}}};\n"


def padded(values: Array, multiple: int = LANES) -> Array:
    """A flat copy with zeros up to a multiple of so many elements: whole vectors may be read."""
    flat = values.reshape(-1)
    return np.pad(flat, (0, -flat.size % multiple))


def spike_words(values: Array) -> npt.NDArray[np.uint32]:
    """Spikes as 32-bit words, element i in bit i % 32 of word i / 32."""
    bits = padded(values.astype(np.uint8)).reshape(-1, LANES).astype(np.uint64)
    words: npt.NDArray[np.uint32] = (bits << np.arange(LANES, dtype=np.uint64)).sum(axis=1).astype(np.uint32)
    return words


def pack_panels(weights: Array, pad: int) -> Array:
    """Weights [out, in] as panels of 64 outputs (the last one narrower, padded to `pad`), each stored [in][panel]."""
    rows = np.pad(weights, ((0, -weights.shape[0] % pad), (0, 0)))
    panels = [rows[at : at + PANEL].T.reshape(-1) for at in range(0, rows.shape[0], PANEL)]
    return np.concatenate(panels)


def pack_dot(weights: Array) -> Array:
    """int8 weights [out, in] for dot products of four: blocks of 32 outputs (the last one 16 or 32), each
    [in / 4][block][4]; inputs are padded to 4.
    """
    rows = np.pad(weights, ((0, -weights.shape[0] % PAD_I8), (0, -weights.shape[1] % 4)))
    blocks = [rows[at : at + DOT_BLOCK] for at in range(0, rows.shape[0], DOT_BLOCK)]
    return np.concatenate([b.reshape(len(b), -1, 4).swapaxes(0, 1).reshape(-1) for b in blocks])


def memory_table(a: Array, b: Array) -> Array:
    """Every result of A m + B u for one channel of spikes, [2^(d + k), d padded to 4], float32.

    a[d, d] and b[d, k] are real weights; row r is for m = bits 0 … d-1 of r and u = the bits above.
    """
    order, inputs = b.shape
    index = np.arange(2 ** (order + inputs))

    def total(weights: Array, first: int) -> Array:
        sums = np.zeros((index.size, order), np.float32)
        for j in range(weights.shape[1]):  # one after the other, as an event-driven sum adds them
            fired = (index >> (first + j) & 1).astype(bool)
            sums[fired] += weights[:, j].astype(np.float32)
        return sums

    table = total(a, 0) + total(b, order)
    return np.pad(table, ((0, 0), (0, -order % 4)))


def memory_columns(a: Array, b: Array) -> Array:
    """The columns of [A B], each padded to a multiple of 4, and room for a vector to be read past the last one."""
    both = np.concatenate([a, b], axis=1).astype(np.float32)
    columns = np.pad(both, ((0, -both.shape[0] % 4), (0, 0))).T
    return np.pad(columns.reshape(-1), (0, 16))
