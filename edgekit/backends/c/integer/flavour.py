"""What differs between instruction sets: how values are laid out, and which verbs a fused op is written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.ir.plan import ALIGN, LANES


@dataclass(frozen=True)
class Flavour:
    """One way to lay out an integer program.

    Buffers are padded to `lanes` elements and places to `align` bytes, rows of dense weights to `row` bytes. `define`
    is the macro that its kernels are chosen by, beside what the compiler says of the core. `pairs`: two int16 in a
    register (Armv7E-M DSP); `vectors`: eight in one (MVE).
    """

    name: str
    lanes: int = LANES
    align: int = ALIGN
    row: int = 16
    define: str | None = None
    pairs: bool = False
    vectors: bool = False

    def slots(self) -> npt.NDArray[np.int64]:
        """The bit of each element of a group of 32 in its word of spikes: EK_SLOT of kernels/int_core.h."""
        i = np.arange(32)
        if self.pairs:
            return (i & 1) << 4 | i >> 1
        if self.vectors:
            return i & 16 | (i & 7) << 1 | i >> 3 & 1
        return i


PORTABLE = Flavour("portable")
FLAVOURS: Mapping[str, Flavour] = {
    f.name: f
    for f in (
        PORTABLE,
        Flavour("dsp", lanes=16, align=4, row=4, define="EK_PAIRS", pairs=True),
        Flavour("mve", lanes=8, align=8, row=1, define="EK_VECTORS_OF_8", vectors=True),
    )
}


def flavour_of(simd: str) -> Flavour:
    """The flavour for an instruction set; the A-class ones differ by what the compiler defines alone."""
    return FLAVOURS.get(simd, PORTABLE)
