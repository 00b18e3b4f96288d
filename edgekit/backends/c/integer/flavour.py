"""What differs between instruction sets: how values are laid out, and which verbs a fused op is written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from edgekit.backends.c.integer.densities import DENSITIES, Thresholds
from edgekit.ir.plan import ALIGN, LANES


@dataclass(frozen=True)
class Flavour:
    """One way to lay out an integer program.

    Buffers are padded to `lanes` elements and places to `align` bytes, rows of dense weights to `row` bytes. `define`
    is the macro that its kernels are chosen by, beside what the compiler says of the core, `headers` its own kernels.
    `slots` is the bit of each element of a group of 32 in its word of spikes: EK_SLOT of kernels/int_core.h. `isa` is
    the instruction set, `densities` how much of a matrix its kernels of blocks may cover to be worth it.
    """

    name: str
    lanes: int = LANES
    align: int = ALIGN
    row: int = 16
    define: str | None = None
    headers: tuple[str, ...] = ()
    slots: tuple[int, ...] = tuple(range(32))
    isa: str = "portable"
    densities: Thresholds = field(default_factory=dict)


PORTABLE = Flavour("portable", headers=("int_palette", "int_blocks"), densities=DENSITIES.get("portable", {}))
WIDE = Flavour(
    "wide",
    headers=("int_wide", "int_wide_palette", "int_blocks_wide"),
    isa="neon",
    densities=DENSITIES.get("neon", {}),
)
FLAVOURS: Mapping[str, Flavour] = {
    f.name: f
    for f in (
        PORTABLE,
        WIDE,
        Flavour(
            "dsp",
            16,
            4,
            4,
            "EK_PAIRS",
            ("int_pairs", "int_pairs_dense", "int_pairs_events", "int_pairs_palette", "int_blocks_pairs"),
            tuple((i & 1) << 4 | i >> 1 for i in range(32)),
            "dsp",
            DENSITIES.get("dsp", {}),
        ),
        Flavour(
            "mve",
            16,
            8,
            1,
            "EK_VECTORS_OF_8",
            ("int_vectors", "int_vectors_dense", "int_vectors_events", "int_vectors_palette", "int_blocks_vectors"),
            tuple(i & 16 | (i & 7) << 1 | i >> 3 & 1 for i in range(32)),
            "mve",
            DENSITIES.get("mve", {}),
        ),
    )
}


A_CLASS = ("neon", "neon32", "avx2", "avx512", "vnni")  # they differ by what the compiler defines alone


def flavour_of(simd: str) -> Flavour:
    """The flavour for an instruction set."""
    if simd in A_CLASS:
        return replace(WIDE, isa=simd, densities=DENSITIES.get(simd, {}))
    return FLAVOURS.get(simd, PORTABLE)
